"""Moments of a mixture, and the two moments of the variance of an ensemble."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdnjax.batching import map_examples
from mdnjax.components import Component, from_bounds
from mdnjax.mixture import Mixture
from mdnjax.types import Array, Float

MAX_SHIFT = 2.0  # standard deviations by which the rounding of the mean may be off in third and fourth moments


@jax.jit
def mean(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the mean E[y|x] = sum_k w_k m_k. Source: Bishop (1994), eq. 49."""
    return map_examples(_mean, mixture)


@jax.jit
def variance(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the variance Var[y_d|x] = sum_k w_k (v_kd + (m_kd - E[y_d])^2) of each target.

    Its digits do not depend on the size of the mean, down to scales of a hundredth of the mean's last digit.
    Source: Bishop (1994), eq. 51.
    """
    return map_examples(lambda logits, component: _central(logits, component)[0], mixture)


@jax.jit
def covariance(mixture: Mixture) -> Float[Array, "*batch D D"]:
    """Returns the covariance Cov[y|x] = sum_k w_k (C_k + (m_k - E[y]) (m_k - E[y])^T)."""
    return map_examples(_covariance, mixture)


@jax.jit
def skewness(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the skewness E[(y_d - E[y_d])^3|x] / Var[y_d|x]^(3/2) of each target; 0 for a symmetric distribution.

    It is nan if the dtype does not resolve the mixture: if the last digit of the mean is larger than two standard deviations.
    """

    def kernel(logits: Array, component: Component) -> Array:
        second, third, _ = _central(logits, component)
        return third / second**1.5

    return map_examples(kernel, mixture)


@jax.jit
def kurtosis(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the kurtosis E[(y_d - E[y_d])^4|x] / Var[y_d|x]^2 of each target; 3 for a Gaussian, so not the excess kurtosis.

    It is nan if the dtype does not resolve the mixture: see `skewness`.
    """

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
    second, rounded, rest = map_examples(_second, members)
    # Relative to the mean of one of them, the means have digits that are not those of their size.
    return jnp.mean(second, axis=0), jnp.var((rounded - rounded[:1]) + rest, axis=0)


def weighted(weight: Array, values: Array) -> Array:
    """Returns weight * value, and 0 where the weight is 0, even for an infinite value; a NaN weight or value gives NaN."""
    return jnp.where((weight == 0) & ~jnp.isnan(values), 0, weight * values)


def _weight(logits: Array) -> Float[Array, "K 1 *batch"]:
    return jax.nn.softmax(logits, axis=0)[:, None]


def _mean(logits: Array, component: Component) -> Float[Array, "D *batch"]:
    bound, from_bound = from_bounds(component)
    mean = mean_of(_weight(logits), from_bound.marginals().moments().mean)
    return mean if from_bound is component else bound + mean  # adding 0 takes a third longer


@jax.custom_jvp
def mean_of(weight: Float[Array, "K ..."], means: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """Returns the mean of the components' means; its gradient is computed from distances, which have digits far from zero."""
    return jnp.sum(weighted(weight, means), axis=0)


@mean_of.defjvp
def _mean_of_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    weight, means = primals
    value = mean_of(weight, means)
    distances = jnp.where(weight == 0, 0, means - _finite(value))
    return value, jnp.sum(tangents[0] * distances + weight * tangents[1], axis=0)


def _finite(value: Array) -> Array:
    return jax.lax.stop_gradient(jnp.where(jnp.isinf(value), 0, value))


def _distances(weight: Array, means: Array) -> tuple[Array, Array, Array]:
    """Returns the mean of means as rounded, the distances of the means from it, and their mean `rest`, which the rounding lost.

    The mean is rounded to the last digit of its size, which may be larger than a scale; the distances have all digits.
    """
    rounded = _finite(jnp.sum(weighted(weight, means), axis=0))
    distances = means - rounded
    return rounded, distances, jnp.sum(weighted(weight, distances), axis=0)


def _second(logits: Array, component: Component) -> tuple[Array, Array, Array]:
    """Returns the variance of each target, and the two parts of the mean relative to the bounds: see `_distances`."""
    weight, moments = _weight(logits), from_bounds(component)[1].marginals().moments()
    rounded, d, rest = _distances(weight, moments.mean)
    return jnp.sum(weighted(weight, moments.second + (d - rest) ** 2), axis=0), rounded, rest


def _central(logits: Array, component: Component) -> tuple[Array, Array, Array]:
    """Returns the second, third and fourth central moment of each target: those around the rounded mean, shifted by `rest`."""
    weight, moments = _weight(logits), from_bounds(component)[1].marginals().moments()
    _, d, rest = _distances(weight, moments.mean)
    second = jnp.sum(weighted(weight, moments.second + d**2), axis=0)
    third = jnp.sum(weighted(weight, moments.third + 3 * d * moments.second + d**3), axis=0)
    fourth = jnp.sum(weighted(weight, moments.fourth + 4 * d * moments.third + 6 * d**2 * moments.second + d**4), axis=0)
    fourth = fourth - 4 * rest * third + 6 * rest**2 * second - 3 * rest**4
    infinite = jnp.any(jnp.isinf(moments.fourth) & (weight > 0), axis=0)  # also where third moments, of both signs, do not exist
    fourth = jnp.where(infinite & ~jnp.isnan(second), jnp.inf, fourth)
    variance, third = second - rest**2, third - 3 * rest * second + 2 * rest**3
    resolved = rest**2 <= MAX_SHIFT**2 * variance
    return variance, jnp.where(resolved, third, jnp.nan), jnp.where(resolved, fourth, jnp.nan)


def _covariance(logits: Array, component: Component) -> Float[Array, "D D *batch"]:
    weight, (_, component) = _weight(logits), from_bounds(component)
    means = component.marginals().moments().mean
    _, d, rest = _distances(weight, means)
    second = weighted(weight[:, None], component.covariances() + d[:, :, None] * d[:, None])
    return jnp.sum(second, axis=0) - rest[:, None] * rest
