"""The recurrent network over points of drawings: its distribution of the next point, its training, and sampling."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pen_strokes.schema import PenModel, PenTrain
from mdnjax.components import FAMILIES, Component, Sizes
from mdnjax.mixture import Mixture, from_batch_last, mixture_log_prob
from mdnjax.recurrent import Memory, Recurrent, make_recurrent
from mdnjax.sequences import Rows, masked_sum, previous_steps
from mdnjax.statistics import sample, temper
from mdnjax.training.functions import INIT, TRAIN, TrainingFunctions, first_state, step_of
from mdnjax.training.minibatches import minibatch
from mdnjax.training.steps import TrainState
from mdnjax.types import AnyArray, Array, Bool, Float, Params, PRNGKey

FAMILY, NUM_COLUMNS = "full", 3  # columns of a point: dx, dy, pen lifted after it
START = np.array([0, 0, 1], np.float32)  # input of the first step; the pen is up before the first point


class PointDistribution(NamedTuple):
    """Distribution of the next point, batch-last: a mixture over its offset, and the logits of two Bernoulli variables.

    The pen is lifted after the point with probability sigmoid(lift). If it is, the drawing ends with probability sigmoid(end).
    """

    logits: Float[Array, "K *batch"]
    component: Component
    lift: Float[Array, "*batch"]
    end: Float[Array, "*batch"]


class Terms(NamedTuple):
    """Negative log-likelihood of each step in nats, with offsets in units of training; 0 at steps without a point."""

    offset: Float[Array, "T N"]
    lift: Float[Array, "T N"]
    end: Float[Array, "T N"]


class TrainingInputs(NamedTuple):
    """Key, rows of points in units of the offsets' sd, and the step to which offsets are rounded in that unit (0: none)."""

    key: PRNGKey
    train: Rows
    validation: Rows
    rounding: Float[Array, ""]


@functools.cache
def make_network(model: PenModel) -> Recurrent:
    """Returns the recurrent network; its outputs are the logits `lift` and `end`, then the raw outputs of the mixture."""
    blocks = (1, 1, model.num_components, *FAMILIES[FAMILY].raw_sizes(_sizes(model)))
    return make_recurrent(NUM_COLUMNS, blocks, cell=model.cell, hidden_sizes=model.hidden_sizes)


def distribution_of(model: PenModel, raw: Float[Array, "P *batch"]) -> PointDistribution:
    """Returns the distribution that the network's outputs parameterise."""
    lift, end, raw = raw[0], raw[1], raw[2:]
    component = FAMILIES[FAMILY].from_raw(raw[model.num_components :], _sizes(model), model.scale_floor)
    return PointDistribution(raw[: model.num_components], component, lift, end)


def point_distributions(model: PenModel, params: Params, rows: Rows) -> PointDistribution:
    """Predicts each point from those before it in its drawing."""
    network = make_network(model)
    memory = network.start(rows.first.shape[1:])
    return distribution_of(model, network.apply(params, memory, previous_steps(rows, START), rows.first)[1])


def nll(model: PenModel, params: Params, rows: Rows) -> Terms:
    """Returns -log p(offset, lift, end | points before) of each step.

    -log sum_k w_k N(offset; loc_k, cov_k) - log Bernoulli(lift), and at a lift -log Bernoulli(end).
    Source: Graves (2013), eq. 26. Ha & Eck (2017), section 3.2, have three states of the pen instead of lift and end.
    """
    points = point_distributions(model, params, rows)
    lifted = rows.values[2] > 0.5
    offset = -mixture_log_prob(points.logits, points.component, rows.values[:2])
    terms = (offset, _bernoulli_nll(points.lift, lifted), jnp.where(lifted, _bernoulli_nll(points.end, rows.last), 0))
    return Terms(*(jnp.where(rows.mask, term, 0) for term in terms))


def dequantised(noise_key: PRNGKey, rows: Rows, rounding: float | Float[AnyArray, ""]) -> Rows:
    """Adds U(-1/2, 1/2) times `rounding` to offsets: on rounded offsets the density of a mixture could grow without bound."""
    noise = jax.random.uniform(noise_key, (2, *rows.first.shape), jnp.float32, -0.5, 0.5) * rounding
    values = jnp.concatenate([rows.values[:2] + noise, rows.values[2:]])
    return rows._replace(values=jnp.where(rows.mask, values, 0))


@functools.cache
def make_training_functions(model: PenModel, train: PenTrain) -> TrainingFunctions:
    """Returns the functions that train the network by the mean NLL of a point."""

    def mean_nll(params: Params, rows: Rows) -> Float[Array, ""]:
        return masked_sum(rows, sum(nll(model, params, rows), jnp.zeros(()))) / jnp.maximum(jnp.sum(rows.mask), 1)

    def init(inputs: TrainingInputs) -> TrainState:
        params = make_network(model).init(jax.random.fold_in(inputs.key, INIT))
        return first_state(train, params, jnp.asarray(jnp.inf))

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        def loss(params: Params, noise_key: PRNGKey, rows: Rows) -> Float[Array, ""]:
            return mean_nll(params, dequantised(noise_key, rows, inputs.rounding))

        key = jax.random.fold_in(inputs.key, TRAIN)
        return step_of(train, loss)(state, key, minibatch(train.batch_size, key, state.step, inputs.train))

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        return mean_nll(params, inputs.validation)

    return TrainingFunctions(jax.jit(init), train_step, validation_score)


@partial(jax.jit, static_argnums=0)
def memory_after(model: PenModel, params: Params, points: Float[AnyArray, "S L 3"]) -> Memory:
    """Returns memories after all points but the last, which is the input of the next step: `draw` continues from there."""
    num, length, _ = points.shape
    start = jnp.broadcast_to(jnp.asarray(START), (num, 1, NUM_COLUMNS))
    inputs = jnp.concatenate([start, points[:, :-1]], axis=1)
    network, first = make_network(model), jnp.zeros((length, num), bool)
    return network.apply(params, network.start((num,)), jnp.moveaxis(inputs, 0, -1).swapaxes(0, 1), first)[0]


@partial(jax.jit, static_argnames=("model", "num_steps"))
def draw(
    keys: PRNGKey,
    model: PenModel,
    params: Params,
    memories: Memory,
    points: Float[AnyArray, "S 3"],
    temperature: float | Float[Array, ""],
    *,
    num_steps: int,
) -> tuple[Float[Array, "S T 3"], Bool[Array, "S T"]]:
    """Samples a drawing for each key, from a memory and the last point: its points, and a mask of those up to its end.

    A drawing depends on its own key only. A temperature below 1 sharpens weights, scales, lift and end.
    """

    def draw_one(key: PRNGKey, memory: Memory, point: Array) -> tuple[Array, Array]:
        def step(carry: Any, number: Array) -> tuple[Any, tuple[Array, Array]]:
            memory, point, unfinished = carry
            memory, drawn, ends = next_point(jax.random.fold_in(key, number), model, params, memory, point, temperature)
            return (memory, drawn, unfinished & ~ends), (drawn, unfinished)

        start = (memory, jnp.asarray(point, jnp.result_type(float)), jnp.array(True))
        return jax.lax.scan(step, start, jnp.arange(num_steps))[1]

    return jax.vmap(draw_one)(keys, memories, jnp.asarray(points))


def next_point(
    key: PRNGKey,
    model: PenModel,
    params: Params,
    memory: Memory,
    point: Float[AnyArray, " 3"],
    temperature: float | Float[Array, ""],
) -> tuple[Memory, Float[Array, " 3"], Bool[Array, ""]]:
    """Returns the memory after `point`, a point sampled to follow it, and whether the drawing ends with that point."""
    memory, raw = make_network(model).step(params, memory, jnp.asarray(point))
    following = distribution_of(model, raw)
    offset_key, lift_key, end_key = jax.random.split(key, 3)
    mixture = temper(Mixture(following.logits, following.component), weights=temperature, scales=temperature)
    lifted = jax.random.bernoulli(lift_key, jax.nn.sigmoid(following.lift / temperature))
    ends = lifted & jax.random.bernoulli(end_key, jax.nn.sigmoid(following.end / temperature))
    return memory, jnp.concatenate([sample(offset_key, mixture), lifted[None].astype(raw.dtype)]), ends


@partial(jax.jit, static_argnums=0)
def mixtures(model: PenModel, params: Params, rows: Rows) -> Mixture:
    """Returns the mixtures over the offsets of all steps, `[T, N]`."""
    points = point_distributions(model, params, rows)
    return from_batch_last(points.logits, points.component)


def _bernoulli_nll(logit: Array, outcome: Array) -> Array:
    """Returns -log Bernoulli(outcome; sigmoid(logit))."""
    return jax.nn.softplus(jnp.where(outcome, -logit, logit))


def _sizes(model: PenModel) -> Sizes:
    return Sizes(model.num_components, 2)
