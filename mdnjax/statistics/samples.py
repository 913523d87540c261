"""Samples by the Gumbel-max trick, temperatures, and samples with gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mdnjax.batching import batch_to_end, check_mixture, map_batch, with_axes
from mdnjax.components import Component
from mdnjax.mixture import Mixture
from mdnjax.types import Array, Float, Int, PRNGKey


@partial(jax.jit, static_argnames="shape")
def sample(key: PRNGKey, mixture: Mixture, shape: tuple[int, ...] = ()) -> Float[Array, "*shape *batch D"]:
    """Returns independent samples by the Gumbel-max trick, `shape` of them for every element of the batch.

    k = argmax_k(logits_k + g_k) with g_k = -log(-log(u_k)), u uniform, is distributed as softmax(logits); then y ~ p_k is drawn
    from the chosen component only. The argmax is found sequentially and without logarithms: see `_choose_component`.
    A sample is nan if a logit or a parameter of the chosen component is nan; other components do not count.
    Source: Gumbel (1954); Maddison et al. (2014), A* sampling, sections 2 and 3.
    """
    check_mixture(mixture)
    choice_key, noise_key = jax.random.split(key)
    num_batch = mixture.logits.ndim - 1
    logits, component = jax.tree.map(lambda leaf: batch_to_end(leaf, num_batch), (mixture.logits, mixture.component))
    batch = logits.shape[1:]
    chosen = _choose_component(choice_key, logits, shape)
    valid = ~jnp.any(jnp.isnan(logits), axis=0)

    def of_chosen(leaf: Array) -> Array:  # [K, *event, *batch] -> [1, *event, *shape, *batch]
        num_event = leaf.ndim - 1 - len(batch)
        return jnp.take_along_axis(with_axes(leaf, 1 + num_event, len(shape)), with_axes(chosen[None], 1, num_event), 0)

    drawn = jnp.where(valid, jax.tree.map(of_chosen, component).draw(noise_key)[0], jnp.nan)
    return jnp.moveaxis(drawn, 0, -1)


def _choose_component(choice_key: PRNGKey, logits: Float[Array, "K *batch"], shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Returns the component of each sample.

    The maximum of logits_j + g_j over j < k is a Gumbel variable with location log W_k, W_k = sum_(j<k) w_j, and independent of
    its argmax. So component k exceeds that maximum with probability w_k / (W_k + w_k), for which one uniform number suffices.
    """
    weight = jax.nn.softmax(logits, axis=0)
    total = jnp.cumsum(weight, axis=0)
    exceeds_prob = jnp.where(total > 0, weight / jnp.where(total > 0, total, 1), 0)
    keys = jax.random.split(choice_key, logits.shape[0])
    sample_shape = (*shape, *logits.shape[1:])

    def step(k: Any, chosen: Array) -> Array:
        return jnp.where(jax.random.uniform(keys[k], sample_shape, logits.dtype) < exceeds_prob[k], k, chosen)

    return jax.lax.fori_loop(1, logits.shape[0], step, jnp.zeros(sample_shape, jnp.int32))


def temper(mixture: Mixture, *, weights: float | Float[Array, ""] = 1.0, scales: float | Float[Array, ""] = 1.0) -> Mixture:
    """Returns the mixture at other temperatures of weights and scales; below 1 it is more concentrated, above 1 less.

    w_k becomes w_k^(1 / weights), normalised: towards 0 the largest weight becomes 1, towards inf all weights become equal.
    Scales are multiplied by sqrt(scales), so variances by `scales`. Locations do not change. Source: Ha and Eck (2017), eq. 8.
    Raises: ValueError if a temperature is not positive; the value of a traced temperature cannot be checked.
    """
    check_mixture(mixture)
    for name, value in (("weights", weights), ("scales", scales)):
        if isinstance(value, float | int) and not value > 0:
            raise ValueError(f"temper: got {name}={value}, expected a positive temperature")
    return Mixture(mixture.logits / weights, mixture.component.stretch(scales**0.5))


@partial(jax.jit, static_argnames="shape")
def sample_with_gradient(key: PRNGKey, mixture: Mixture, shape: tuple[int, ...] = ()) -> Float[Array, "*shape *batch D"]:
    """Returns the samples of `sample`, with gradients with respect to every parameter, including the logits.

    The derivative of a sample leaves T_d(y) = F(y_d | the targets after d), which are uniform and independent, unchanged:
    dy = -(dT/dy)^-1 dT/dparameters. First derivatives are exact; second derivatives are not.
    Source: Figurnov et al. (2018), Implicit reparameterization gradients, section 3; Graves (2016) for mixtures.
    """
    y = jax.lax.stop_gradient(sample(key, mixture, shape))
    fixed = jax.lax.stop_gradient(mixture)
    conditional_cdfs = map_batch(_conditional_cdfs, mixture, y)
    slopes = jnp.stack([_slope(fixed, y, d) for d in range(y.shape[-1])], axis=-1)  # [..., d of T, d of y]
    zero = conditional_cdfs - jax.lax.stop_gradient(conditional_cdfs)  # its derivative is not zero
    # Row d of dT/dy has entries for target d and those after it, so dT/dy is upper triangular.
    shift = jax.scipy.linalg.solve_triangular(slopes, zero[..., None], lower=False)[..., 0]
    return y - shift


def _slope(mixture: Mixture, y: Array, d: int) -> Float[Array, "... D"]:
    """Returns dT/dy_d."""
    direction = jnp.zeros_like(y).at[..., d].set(1)
    return jax.jvp(lambda y: map_batch(_conditional_cdfs, mixture, y), (y,), (direction,))[1]


def _conditional_cdfs(logits: Array, component: Component, y: Array) -> Float[Array, "D ..."]:
    """Returns T_d(y) = P(Y_d <= y_d | the targets after d), for each target."""
    cdfs, log_probs = component.conditionals(y)
    after = jnp.flip(jnp.cumsum(jnp.flip(log_probs, 1), axis=1), 1) - log_probs
    return jnp.sum(jax.nn.softmax((logits - jnp.max(logits, axis=0))[:, None] + after, axis=0) * cdfs, axis=0)
