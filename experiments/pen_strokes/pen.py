"""The network over points: its density of the next one, its training, and drawing with it."""

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
from mdnjax.sequences import Rows, before, masked_sum
from mdnjax.statistics import sample, temper
from mdnjax.training.functions import INIT, TRAIN, TrainingFunctions, first_state, step_of
from mdnjax.training.minibatches import minibatch
from mdnjax.training.steps import TrainState
from mdnjax.types import AnyArray, Array, Bool, Float, Params, PRNGKey

FAMILY, NUM_COLUMNS = "full", 3
START = np.array([0, 0, 1], np.float32)  # before the first point the pen is up


class Pen(NamedTuple):
    """What the network says of the next point, batch-last: a mixture over its offset, and the logits of two coins.

    The pen is lifted after it with probability sigmoid(lift); a drawing ends at a lift with probability sigmoid(end).
    """

    logits: Float[Array, "K *batch"]
    component: Component
    lift: Float[Array, "*batch"]
    end: Float[Array, "*batch"]


class Terms(NamedTuple):
    """Negative log-likelihood of each step, in nats, of offsets in units of training; 0 where there is none."""

    offset: Float[Array, "T N"]
    lift: Float[Array, "T N"]
    end: Float[Array, "T N"]


class TrainingInputs(NamedTuple):
    """All that training reads: key, rows of points in units of the offsets' sd, and what offsets were rounded to in that unit."""

    key: PRNGKey
    train: Rows
    validation: Rows
    rounding: Float[Array, ""]


@functools.cache
def make_network(model: PenModel) -> Recurrent:
    """The recurrent network: two coins, then a mixture's raw outputs."""
    blocks = (1, 1, model.num_components, *FAMILIES[FAMILY].raw_sizes(_sizes(model)))
    return make_recurrent(NUM_COLUMNS, blocks, cell=model.cell, hidden_sizes=model.hidden_sizes)


def read(model: PenModel, raw: Float[Array, "P *batch"]) -> Pen:
    """What the network's outputs mean."""
    lift, end, raw = raw[0], raw[1], raw[2:]
    component = FAMILIES[FAMILY].from_raw(raw[model.num_components :], _sizes(model), model.scale_floor)
    return Pen(raw[: model.num_components], component, lift, end)


def pens(model: PenModel, params: Params, rows: Rows) -> Pen:
    """What is said of each point from those before it in its drawing."""
    network = make_network(model)
    memory = network.start(rows.first.shape[1:])
    return read(model, network.apply(params, memory, before(rows, START), rows.first)[1])


def nll(model: PenModel, params: Params, rows: Rows) -> Terms:
    """-log p(offset, lift, end | points before) of each step.

    -log sum_k w_k N(offset; loc_k, cov_k) - log Bernoulli(lift), and at a lift -log Bernoulli(end).
    Source: Graves (2013), eq. 26; the end as a coin of its own: Ha & Eck (2017), section 3.2, has three states of the pen.
    """
    pen = pens(model, params, rows)
    lifted = rows.values[2] > 0.5
    offset = -mixture_log_prob(pen.logits, pen.component, rows.values[:2])
    terms = (offset, _coin(pen.lift, lifted), jnp.where(lifted, _coin(pen.end, rows.last), 0))
    return Terms(*(jnp.where(rows.mask, term, 0) for term in terms))


def dequantised(noise_key: PRNGKey, rows: Rows, rounding: float | Float[AnyArray, ""]) -> Rows:
    """Offsets plus U(-1/2, 1/2) of what they were rounded to: whole numbers have no density, as a mixture would find out."""
    noise = jax.random.uniform(noise_key, (2, *rows.first.shape), jnp.float32, -0.5, 0.5) * rounding
    values = jnp.concatenate([rows.values[:2] + noise, rows.values[2:]])
    return rows._replace(values=jnp.where(rows.mask, values, 0))


@functools.cache
def make_training_functions(model: PenModel, train: PenTrain) -> TrainingFunctions:
    """Training of the network by the mean NLL of a point."""

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
def remember(model: PenModel, params: Params, points: Float[AnyArray, "S L 3"]) -> Memory:
    """Memories after all points but the last, which the next step reads: `draw` goes on from there."""
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
    """A drawing for each key, from its memory and the point that was last: its points, and which of them are before its end.

    A drawing depends on its own key alone. A temperature below 1 takes surprise out of weights, scales and coins alike.
    """

    def one(key: PRNGKey, memory: Memory, point: Array) -> tuple[Array, Array]:
        def step(carry: Any, number: Array) -> tuple[Any, tuple[Array, Array]]:
            memory, point, alive = carry
            memory, drawn, ends = next_point(jax.random.fold_in(key, number), model, params, memory, point, temperature)
            return (memory, drawn, alive & ~ends), (drawn, alive)

        start = (memory, jnp.asarray(point, jnp.result_type(float)), jnp.array(True))
        return jax.lax.scan(step, start, jnp.arange(num_steps))[1]

    return jax.vmap(one)(keys, memories, jnp.asarray(points))


def next_point(
    key: PRNGKey,
    model: PenModel,
    params: Params,
    memory: Memory,
    point: Float[AnyArray, " 3"],
    temperature: float | Float[Array, ""],
) -> tuple[Memory, Float[Array, " 3"], Bool[Array, ""]]:
    """One step of a drawing: the memory after `point`, a point drawn after it, and whether the drawing ends there."""
    memory, raw = make_network(model).step(params, memory, jnp.asarray(point))
    pen = read(model, raw)
    offset_key, lift_key, end_key = jax.random.split(key, 3)
    mixture = temper(Mixture(pen.logits, pen.component), weights=temperature, scales=temperature)
    lifted = jax.random.bernoulli(lift_key, jax.nn.sigmoid(pen.lift / temperature))
    ends = lifted & jax.random.bernoulli(end_key, jax.nn.sigmoid(pen.end / temperature))
    return memory, jnp.concatenate([sample(offset_key, mixture), lifted[None].astype(raw.dtype)]), ends


@partial(jax.jit, static_argnums=0)
def mixtures(model: PenModel, params: Params, rows: Rows) -> Mixture:
    """Mixtures over the offsets of all steps, `[T, N]`."""
    pen = pens(model, params, rows)
    return from_batch_last(pen.logits, pen.component)


def _coin(logit: Array, heads: Array) -> Array:
    """-log Bernoulli(heads; sigmoid(logit))."""
    return jax.nn.softplus(jnp.where(heads, -logit, logit))


def _sizes(model: PenModel) -> Sizes:
    return Sizes(model.num_components, 2)
