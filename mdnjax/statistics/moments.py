"""Moments of a mixture, and the two moments of the variance of an ensemble."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdnjax.batching import map_examples
from mdnjax.components import Component
from mdnjax.mixture import Mixture
from mdnjax.types import Array, Float


@jax.jit
def mean(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the mean E[y|x] = sum_k w_k m_k. Source: Bishop (1994), eq. 49."""
    return map_examples(lambda logits, component: _mean(jax.nn.softmax(logits, axis=0), component), mixture)


@jax.jit
def variance(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the variance Var[y_d|x] = sum_k w_k (v_kd + (m_kd - E[y_d])^2) of each target. Source: Bishop (1994), eq. 51."""
    return map_examples(lambda logits, component: _central(logits, component)[0], mixture)


@jax.jit
def covariance(mixture: Mixture) -> Float[Array, "*batch D D"]:
    """Returns the covariance Cov[y|x] = sum_k w_k (C_k + (m_k - E[y]) (m_k - E[y])^T)."""
    return map_examples(_covariance, mixture)


@jax.jit
def skewness(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the skewness E[(y_d - E[y_d])^3|x] / Var[y_d|x]^(3/2) of each target; 0 for a symmetric distribution."""

    def kernel(logits: Array, component: Component) -> Array:
        second, third, _ = _central(logits, component)
        return third / second**1.5

    return map_examples(kernel, mixture)


@jax.jit
def kurtosis(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the kurtosis E[(y_d - E[y_d])^4|x] / Var[y_d|x]^2 of each target; 3 for a Gaussian, so not the excess kurtosis."""

    def kernel(logits: Array, component: Component) -> Array:
        second, _, fourth = _central(logits, component)
        return fourth / second**2

    return map_examples(kernel, mixture)


@jax.jit
def split_variance(members: Mixture) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch D"]]:
    """Returns the aleatoric and the epistemic part of the variance of an ensemble; the sum is the variance of `pool(members)`.

    The members are the first batch axis.

    Var[y] = E_m[Var[y|m]] + Var_m[E[y|m]].
    Raises: ValueError if there is no batch axis. Source: Depeweg et al. (2018), eq. 8.
    """
    if not members.shape:
        raise ValueError("split_variance: got a single mixture, expected an ensemble, whose members are the first batch axis")
    return jnp.mean(variance(members), axis=0), jnp.var(mean(members), axis=0)


def _mean(weight: Array, component: Component) -> Float[Array, "D *batch"]:
    return jnp.sum(weighted(weight[:, None], component.marginals().moments().mean), axis=0)


def weighted(weight: Array, values: Array) -> Array:
    """Returns weight * value, and 0 where the weight is 0, even for an infinite value; a NaN weight gives NaN."""
    return jnp.where(weight == 0, 0, weight * values)


def _central(logits: Array, component: Component) -> tuple[Array, Array, Array]:
    """Returns the second, third and fourth central moment of each target."""
    weight, moments = jax.nn.softmax(logits, axis=0)[:, None], component.marginals().moments()
    d = moments.mean - jnp.sum(weighted(weight, moments.mean), axis=0)
    second = weighted(weight, moments.second + d**2)
    third = weighted(weight, moments.third + 3 * d * moments.second + d**3)
    fourth = weighted(weight, moments.fourth + 4 * d * moments.third + 6 * d**2 * moments.second + d**4)
    return jnp.sum(second, axis=0), jnp.sum(third, axis=0), jnp.sum(fourth, axis=0)


def _covariance(logits: Array, component: Component) -> Float[Array, "D D *batch"]:
    weight, means = jax.nn.softmax(logits, axis=0)[:, None], component.marginals().moments().mean
    d = means - jnp.sum(weighted(weight, means), axis=0)
    return jnp.sum(weighted(weight[:, None], component.covariances() + d[:, :, None] * d[:, None]), axis=0)
