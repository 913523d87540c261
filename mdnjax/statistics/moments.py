"""Moments of a mixture, and where its variance comes from."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdnjax.batching import map_examples
from mdnjax.components import Component
from mdnjax.mixture import Mixture
from mdnjax.types import Array, Float


@jax.jit
def mean(mixture: Mixture) -> Float[Array, "*batch D"]:
    """E[y|x] = sum_k w_k m_k. Source: Bishop (1994), eq. 49."""
    return map_examples(lambda logits, component: _mean(jax.nn.softmax(logits, axis=0), component), mixture)


@jax.jit
def variance(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Var[y_d|x] = sum_k w_k (v_kd + (m_kd - E[y_d])^2), for each target. Source: Bishop (1994), eq. 51."""
    return map_examples(lambda logits, component: _central(logits, component)[0], mixture)


@jax.jit
def covariance(mixture: Mixture) -> Float[Array, "*batch D D"]:
    """Cov[y|x] = sum_k w_k (C_k + (m_k - E[y]) (m_k - E[y])^T)."""
    return map_examples(_covariance, mixture)


@jax.jit
def skewness(mixture: Mixture) -> Float[Array, "*batch D"]:
    """E[(y_d - E[y_d])^3|x] / Var[y_d|x]^(3/2), for each target: 0 for a symmetric one."""

    def kernel(logits: Array, component: Component) -> Array:
        second, third, _ = _central(logits, component)
        return third / second**1.5

    return map_examples(kernel, mixture)


@jax.jit
def kurtosis(mixture: Mixture) -> Float[Array, "*batch D"]:
    """E[(y_d - E[y_d])^4|x] / Var[y_d|x]^2, for each target: 3 for a Gaussian (not the excess over it)."""

    def kernel(logits: Array, component: Component) -> Array:
        second, _, fourth = _central(logits, component)
        return fourth / second**2

    return map_examples(kernel, mixture)


@jax.jit
def split_variance(members: Mixture) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch D"]]:
    """Aleatoric and epistemic part of the variance of an ensemble (members first), which add up to that of `pool`.

    Var[y] = E_m[Var[y|m]] + Var_m[E[y|m]]. Source: Depeweg et al. (2018), eq. 8.
    """
    return jnp.mean(variance(members), axis=0), jnp.var(mean(members), axis=0)


def _mean(weight: Array, component: Component) -> Float[Array, "D *batch"]:
    return jnp.sum(_weighted(weight[:, None], component.marginals().moments().mean), axis=0)


def _weighted(weight: Array, values: Array) -> Array:
    """weight x value, and 0 of an infinite value without weight; a weight that is NaN stays one."""
    return jnp.where(weight == 0, 0, weight * values)


def _central(logits: Array, component: Component) -> tuple[Array, Array, Array]:
    """Second, third and fourth central moments of each target."""
    weight, of = jax.nn.softmax(logits, axis=0)[:, None], component.marginals().moments()
    d = of.mean - jnp.sum(_weighted(weight, of.mean), axis=0)
    second = _weighted(weight, of.second + d**2)
    third = _weighted(weight, of.third + 3 * d * of.second + d**3)
    fourth = _weighted(weight, of.fourth + 4 * d * of.third + 6 * d**2 * of.second + d**4)
    return jnp.sum(second, axis=0), jnp.sum(third, axis=0), jnp.sum(fourth, axis=0)


def _covariance(logits: Array, component: Component) -> Float[Array, "D D *batch"]:
    weight, means = jax.nn.softmax(logits, axis=0)[:, None], component.marginals().moments().mean
    d = means - jnp.sum(_weighted(weight, means), axis=0)
    return jnp.sum(_weighted(weight[:, None], component.covariances() + d[:, :, None] * d[:, None]), axis=0)
