"""Samples: by the Gumbel-max trick, with temperature, and with gradients through them."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mdnjax.batching import batch_to_end, map_batch, with_axes
from mdnjax.components import Component
from mdnjax.mixture import Mixture
from mdnjax.types import Array, Float, Int, PRNGKey


@partial(jax.jit, static_argnames="shape")
def sample(key: PRNGKey, mixture: Mixture, shape: tuple[int, ...] = ()) -> Float[Array, "*shape *batch D"]:
    """Independent draws by the Gumbel-max trick, `shape` of them for every element of the batch.

    k = argmax_k(logits_k + g_k) with g_k = -log(-log(u_k)), u uniform, is distributed as softmax(logits); then y ~ p_k, of the
    chosen component alone. The race is run as a tournament, without its logarithms: see `_choose`.
    Source: Gumbel (1954); Maddison et al. (2014), A* sampling, sections 2 and 3.
    """
    choice_key, noise_key = jax.random.split(key)
    num_batch = mixture.logits.ndim - 1
    logits, component = jax.tree.map(lambda leaf: batch_to_end(leaf, num_batch), (mixture.logits, mixture.component))
    batch = logits.shape[1:]
    chosen = _choose(choice_key, logits, shape)
    possible = ~jnp.any(jnp.isnan(logits), axis=0)

    def of_chosen(leaf: Array) -> Array:  # [K, *event, *batch] -> [1, *event, *shape, *batch]
        num_event = leaf.ndim - 1 - len(batch)
        return jnp.take_along_axis(with_axes(leaf, 1 + num_event, len(shape)), with_axes(chosen[None], 1, num_event), 0)

    drawn = jnp.where(possible, jax.tree.map(of_chosen, component).draw(noise_key)[0], jnp.nan)
    return jnp.moveaxis(drawn, 0, -1)


def _choose(choice_key: PRNGKey, logits: Float[Array, "K *batch"], shape: tuple[int, ...]) -> Int[Array, "..."]:
    """The component of each draw.

    The largest of logits_j + g_j, j < k, is itself a Gumbel variable, around log W_k with W_k = sum_(j<k) w_j, and independent of
    which j it was. So component k beats those before it with probability w_k / (W_k + w_k): one uniform number decides, and no
    logarithm.
    """
    weight = jax.nn.softmax(logits, axis=0)
    reached = jnp.cumsum(weight, axis=0)
    chance = jnp.where(reached > 0, weight / jnp.where(reached > 0, reached, 1), 0)
    keys = jax.random.split(choice_key, logits.shape[0])
    drawn = (*shape, *logits.shape[1:])

    def step(k: Any, best: Array) -> Array:
        return jnp.where(jax.random.uniform(keys[k], drawn, logits.dtype) < chance[k], k, best)

    return jax.lax.fori_loop(1, logits.shape[0], step, jnp.zeros(drawn, jnp.int32))


def temper(mixture: Mixture, *, weights: float | Float[Array, ""] = 1.0, scales: float | Float[Array, ""] = 1.0) -> Mixture:
    """The mixture at other temperatures: 1 changes nothing, towards 0 there is less surprise, above 1 more.

    w_k becomes w_k^(1 / weights), normalised: at 0+ the heaviest component alone, at inf all alike. Scales are multiplied by
    sqrt(scales), so variances by `scales`: at 0+ the locations alone. Locations stay. Source: Ha and Eck (2017), eq. 8.
    Raises: ValueError if a temperature is not positive; one that is traced cannot be looked at.
    """
    for name, value in (("weights", weights), ("scales", scales)):
        if isinstance(value, float | int) and not value > 0:
            raise ValueError(f"temper: got {name}={value}, expected a positive temperature")
    return Mixture(mixture.logits / weights, mixture.component.stretch(scales**0.5))


@partial(jax.jit, static_argnames="shape")
def sample_with_gradient(key: PRNGKey, mixture: Mixture, shape: tuple[int, ...] = ()) -> Float[Array, "*shape *batch D"]:
    """The draws of `sample`, with gradients to every parameter, the logits too.

    Each draw is held at its place in the distribution while the parameters move: with T_d(y) = F(y_d | the targets after it),
    uniform and independent, dy = -(dT/dy)^-1 dT/dparameters. First derivatives are exact; second ones are not.
    Source: Figurnov et al. (2018), Implicit reparameterization gradients, section 3; Graves (2016) for mixtures.
    """
    y = jax.lax.stop_gradient(sample(key, mixture, shape))
    fixed = jax.lax.stop_gradient(mixture)
    place = map_batch(_places, mixture, y)
    slopes = jnp.stack([_slope(fixed, y, d) for d in range(y.shape[-1])], axis=-1)  # [..., d of T, d of y]
    held = place - jax.lax.stop_gradient(place)  # zero, with a derivative
    # row d of dT/dy has entries for d and the targets after it: an upper triangle
    moved = jax.scipy.linalg.solve_triangular(slopes, held[..., None], lower=False)[..., 0]
    return y - moved


def _slope(mixture: Mixture, y: Array, d: int) -> Float[Array, "... D"]:
    direction = jnp.zeros_like(y).at[..., d].set(1)
    return jax.jvp(lambda y: map_batch(_places, mixture, y), (y,), (direction,))[1]


def _places(logits: Array, component: Component, y: Array) -> Float[Array, "D ..."]:
    """P(Y_d <= y_d | the targets after d), for each target."""
    cdfs, log_probs = component.conditionals(y)
    after = jnp.flip(jnp.cumsum(jnp.flip(log_probs, 1), axis=1), 1) - log_probs
    return jnp.sum(jax.nn.softmax((logits - jnp.max(logits, axis=0))[:, None] + after, axis=0) * cdfs, axis=0)
