"""Training through the solver: no launch angle is given, the miss is differentiated with respect to the angle."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.projectile.flight import MAX_ANGLE, MIN_ANGLE, farthest, landing
from experiments.projectile.schema import InputRanges, Projectile
from mdnjax.components import Component, Sizes, Support
from mdnjax.data import Scaler
from mdnjax.data.lattice import no_lattice
from mdnjax.mixture import mixture_log_prob
from mdnjax.model import make_mdn
from mdnjax.training.functions import INIT, TRAIN, TrainingFunctions, first_state, step_of
from mdnjax.training.initialise import start_at_data
from mdnjax.training.minibatches import minibatch
from mdnjax.training.steps import TrainState
from mdnjax.types import Array, Float, Params, PRNGKey

SUPPORT = Support((MIN_ANGLE,), (MAX_ANGLE,))
ANNEALED_SHARE = 2 / 3  # of the steps
MAX_INIT_ANGLES = 1000  # evenly spaced; components are initialised at these


class TrainingInputs(NamedTuple):
    """Key, inputs (speed, distance, wind) `[3, N]` that are not standardised, and their means and standard deviations `[3]`."""

    key: PRNGKey
    train: Float[Array, "3 N"]
    validation: Float[Array, "3 N"]
    mean: Float[Array, " 3"]
    sd: Float[Array, " 3"]


def draw_inputs(generator: np.random.Generator, ranges: InputRanges, num: int) -> np.ndarray:
    """Draws speeds, distances and winds `[num, 3]`; the solver gives the farthest distance for a speed and wind."""
    bounds = (ranges.speed, ranges.share, ranges.wind)
    speed, share, wind = (generator.uniform(low, high, num).astype(np.float32) for low, high in bounds)
    return np.stack([speed, share * farthest(speed, wind).distance, wind], axis=1)


def scaler_of(train: np.ndarray) -> Scaler:
    """Returns the scaler that standardises inputs and maps angles from their range to the real line."""
    zero, one = np.zeros(1), np.ones(1)
    mean, sd, no_limit = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64), np.full(3, np.inf)
    return Scaler(mean, sd, zero, one, zero, one, -no_limit, no_limit, no_lattice(1), SUPPORT)


def free_energy(
    logits: Float[Array, "K B"],
    component: Component,
    noise: Float[Array, "S K B"],
    x: Float[Array, "3 B"],
    tolerance: float | Float[Array, ""],
) -> Float[Array, " B"]:
    """sum_k w_k E_k[(miss / (tolerance distance))^2 / 2 + log p(angle)]: the expected squared miss minus the mixture's entropy.

    Within component k angle = logit^-1(loc_k + scale_k noise), so that loc and scale get gradients through the solver. Up to a
    constant, this is the KL divergence from the mixture to the density proportional to exp(-(miss / (tolerance distance))^2 / 2)
    over angles. It is smallest where every angle that hits has a component.
    Source: Kingma & Welling (2014), reparameterisation; Roeder et al. (2017), mixtures by a sum over components.
    """
    speed, distance, wind = x
    loc, scale = component.loc[:, 0], component.scale[:, 0]  # pyright: ignore[reportAttributeAccessIssue]
    u = loc + scale * noise
    angle = SUPPORT.from_line(u[None])[0]
    miss = (landing(angle, speed, wind) - distance) / distance
    expanded = jax.tree.map(lambda leaf: leaf[..., None, None, :], (logits, component))  # axes of u: draw, component of the draw
    log_prob = mixture_log_prob(expanded[0], expanded[1], u[None]) + SUPPORT.log_slope(u[None])[0]
    per_component = jnp.mean(0.5 * (miss / tolerance) ** 2 + log_prob, axis=0)
    return jnp.sum(jax.nn.softmax(logits, axis=0) * per_component, axis=0)


@functools.cache
def make_training_functions(config: Projectile) -> TrainingFunctions:
    """Training by the free energy with a decreasing tolerance: large at first, so that each component reaches an arc near it."""
    model, train = config.model, config.train
    network = make_mdn(3, 1, **dict(model))

    def init(inputs: TrainingInputs) -> TrainState:
        key = jax.random.fold_in(inputs.key, INIT)
        x = _standardised(inputs, inputs.train[:, :MAX_INIT_ANGLES])
        angles = jnp.linspace(MIN_ANGLE, MAX_ANGLE, x.shape[1] + 2, dtype=x.dtype)[1:-1]
        y = SUPPORT.to_line(angles[None])
        sizes = Sizes(model.fixed_num_components, 1, model.rank)
        numbers: dict[str, Any] = {"scale_floor": model.scale_floor, "slope": 1.0, "head_scale": 0.1, "line": 0.0, "ridge": 1.0}
        params = start_at_data(network.init(key), key, (x, y), model.family, sizes, **numbers)
        return first_state(train, params, jnp.asarray(jnp.inf))

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        annealed = jnp.minimum(state.step / (ANNEALED_SHARE * train.num_steps), 1)
        tolerance = train.first_tolerance * (train.tolerance / train.first_tolerance) ** annealed

        def loss(params: Params, noise_key: PRNGKey, x: Float[Array, "3 B"]) -> Float[Array, ""]:
            logits, component = network.head(params, _standardised(inputs, x))
            noise = jax.random.normal(noise_key, (train.num_noise, *logits.shape), logits.dtype)
            return jnp.mean(free_energy(logits, component, jnp.concatenate([noise, -noise]), x, tolerance))

        key = jax.random.fold_in(inputs.key, TRAIN)
        return step_of(train, loss)(state, key, minibatch(train.batch_size, key, state.step, inputs.train))

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        """Returns the expected miss of the components' locations, as a share of the distance."""
        speed, distance, wind = inputs.validation
        logits, component = network.head(params, _standardised(inputs, inputs.validation))
        angle = SUPPORT.from_line(component.loc[:, 0][None])[0]  # pyright: ignore[reportAttributeAccessIssue]
        miss = jnp.abs(landing(angle, speed, wind) - distance) / distance
        return jnp.mean(jnp.sum(jax.nn.softmax(logits, axis=0) * miss, axis=0))

    return TrainingFunctions(jax.jit(init), train_step, validation_score)


def _standardised(inputs: TrainingInputs, x: Float[Array, "3 N"]) -> Float[Array, "3 N"]:
    return (x - inputs.mean[:, None]) / inputs.sd[:, None]
