"""Angles learnt through the solver: no answer is ever shown, a miss is differentiated by the angle."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.projectile.flight import HIGHEST, LOWEST, farthest, landing
from experiments.projectile.schema import Projectile, Questions
from mdnjax.components import Component, Sizes, Support
from mdnjax.data import Scaler
from mdnjax.mixture import mixture_log_prob
from mdnjax.model import make_mdn
from mdnjax.training.functions import INIT, TRAIN, TrainingFunctions, first_state, step_of
from mdnjax.training.initialise import start_at_data
from mdnjax.training.minibatches import minibatch
from mdnjax.training.steps import TrainState
from mdnjax.types import Array, Float, Params, PRNGKey

SUPPORT = Support((LOWEST,), (HIGHEST,))
ANNEALED = 2 / 3  # of the steps
NUM_ANGLES = 1000  # at most, all over the range: components begin there


class TrainingInputs(NamedTuple):
    """All that training reads: key, questions (speed, distance, wind) `[3, N]` as they are, and their means and sds `[3]`."""

    key: PRNGKey
    train: Float[Array, "3 N"]
    validation: Float[Array, "3 N"]
    mean: Float[Array, " 3"]
    sd: Float[Array, " 3"]


def draw_questions(generator: np.random.Generator, questions: Questions, num: int) -> np.ndarray:
    """Speeds, distances and winds `[num, 3]`; the farthest distance for a speed and wind comes from the solver."""
    ranges = (questions.speed, questions.share, questions.wind)
    speed, share, wind = (generator.uniform(*bounds, num).astype(np.float32) for bounds in ranges)
    return np.stack([speed, share * farthest(speed, wind).distance, wind], axis=1)


def scaler_of(train: np.ndarray) -> Scaler:
    """Questions of mean 0 and sd 1; angles as logits of their range."""
    zero, one = np.zeros(1), np.ones(1)
    return Scaler(train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64), zero, one, zero, one, SUPPORT)


def free_energy(
    logits: Float[Array, "K B"],
    component: Component,
    noise: Float[Array, "S K B"],
    questions: Float[Array, "3 B"],
    tolerance: float | Float[Array, ""],
) -> Float[Array, " B"]:
    """sum_k w_k E_k[(miss / (tolerance distance))^2 / 2 + log p(angle)]: the expected squared miss less the mixture's entropy.

    Within component k angle = logit^-1(loc_k + scale_k noise), so that gradients flow through the solver to loc and scale. It is
    the KL divergence from the density exp(-miss^2 / 2) over angles, but for a constant: smallest where every angle that hits
    has a component. Source: Kingma & Welling (2014), reparameterisation; Roeder et al. (2017), mixtures by a sum over components.
    """
    speed, distance, wind = questions
    loc, scale = component.loc[:, 0], component.scale[:, 0]  # pyright: ignore[reportAttributeAccessIssue]
    u = loc + scale * noise
    angle = SUPPORT.from_line(u[None])[0]
    miss = (landing(*_alike(angle, speed, wind)) - distance) / distance
    spread_logits, spread = jax.tree.map(lambda leaf: leaf[..., None, None, :], (logits, component))
    log_prob = mixture_log_prob(spread_logits, spread, u[None]) + SUPPORT.log_slope(u[None])[0]
    per_component = jnp.mean(0.5 * (miss / tolerance) ** 2 + log_prob, axis=0)
    return jnp.sum(jax.nn.softmax(logits, axis=0) * per_component, axis=0)


@functools.cache
def make_training_functions(config: Projectile) -> TrainingFunctions:
    """Training by the free energy, with a tolerance that shrinks: wide at first, so that components find the arcs near them."""
    model, train = config.model, config.train
    network = make_mdn(3, 1, **dict(model))

    def init(inputs: TrainingInputs) -> TrainState:
        key = jax.random.fold_in(inputs.key, INIT)
        x = _scaled(inputs, inputs.train[:, :NUM_ANGLES])
        angles = jnp.linspace(LOWEST, HIGHEST, x.shape[1] + 2, dtype=x.dtype)[1:-1]
        y = SUPPORT.to_line(angles[None])
        sizes = Sizes(model.fixed_num_components, 1, model.rank)
        numbers = {"scale_floor": model.scale_floor, "slope": 1.0, "head_scale": 0.1, "line": 0.0, "ridge": 1.0}
        params = start_at_data(network.init(key), key, (x, y), model.family, sizes, **numbers)
        return first_state(train, params, jnp.asarray(jnp.inf))

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        done = jnp.minimum(state.step / (ANNEALED * train.num_steps), 1)
        tolerance = train.first_tolerance * (train.tolerance / train.first_tolerance) ** done

        def loss(params: Params, noise_key: PRNGKey, questions: Float[Array, "3 B"]) -> Float[Array, ""]:
            logits, component = network.head(params, _scaled(inputs, questions))
            noise = jax.random.normal(noise_key, (train.num_noise, *logits.shape), logits.dtype)
            return jnp.mean(free_energy(logits, component, jnp.concatenate([noise, -noise]), questions, tolerance))

        key = jax.random.fold_in(inputs.key, TRAIN)
        return step_of(train, loss)(state, key, minibatch(train.batch_size, key, state.step, inputs.train))

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        """The expected miss of the components' locations, as a share of the distance."""
        speed, distance, wind = inputs.validation
        logits, component = network.head(params, _scaled(inputs, inputs.validation))
        angle = SUPPORT.from_line(component.loc[:, 0][None])[0]  # pyright: ignore[reportAttributeAccessIssue]
        miss = jnp.abs(landing(*_alike(angle, speed, wind)) - distance) / distance
        return jnp.mean(jnp.sum(jax.nn.softmax(logits, axis=0) * miss, axis=0))

    return TrainingFunctions(jax.jit(init), train_step, validation_score)


def _alike(*arrays: Array) -> list[Array]:
    return list(jnp.broadcast_arrays(*arrays))


def _scaled(inputs: TrainingInputs, questions: Float[Array, "3 N"]) -> Float[Array, "3 N"]:
    return (questions - inputs.mean[:, None]) / inputs.sd[:, None]
