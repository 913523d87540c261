"""Integrals of products of two components, which the CDE loss and the lower bound of the entropy need."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Component, Diagonal, Full, Isotropic, Laplace, LowRank, Warped, triangular
from mdnjax.components.diagonal import HALF_LOG_2PI
from mdnjax.components.laplace import mean_of_decay
from mdnjax.quadrature import integrate_near
from mdnjax.types import Array, Float


def log_overlaps(component: Component) -> Float[Array, "K K *batch"]:
    """Returns log int p_k(y) p_l(y) dy for each pair of components, batch-last.

    For Gaussians log N(m_k - m_l; 0, C_k + C_l); for the other families the sum over targets of the logarithms of one-dimensional
    integrals, which are computed by quadrature for Student's t and on a bounded support.
    Raises: ValueError for correlated targets on a bounded support.
    """
    if isinstance(component, Isotropic | Diagonal):
        marginals = component.marginals()
        difference = marginals.loc[:, None] - marginals.loc
        variance = marginals.scale[:, None] ** 2 + marginals.scale**2
        return -jnp.sum(0.5 * difference**2 / variance + 0.5 * jnp.log(variance) + HALF_LOG_2PI, axis=2)
    if isinstance(component, Laplace):
        return jnp.sum(_log_laplace_overlaps(component.loc, component.scale), axis=2)
    if isinstance(component, Full | LowRank):
        return _correlated_gaussian_overlaps(component.loc, component.covariances())
    if isinstance(component, Warped) and isinstance(component.component, Full | LowRank) and len(component.support.low) > 1:
        got = f"{len(component.support.low)} correlated targets on a bounded support"
        expected = "independent targets or a single one: use mdn.marginal(mixture, (d,)) for target d"
        raise ValueError(f"overlaps of components: got {got}, expected {expected}")
    overlaps = _overlaps_by_quadrature(component.marginals())
    none = overlaps == 0  # the gradient of the logarithm of 0 would be nan
    return jnp.sum(jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, overlaps))), axis=2)


def _log_laplace_overlaps(loc: Array, scale: Array) -> Float[Array, "K K D *batch"]:
    """Returns log int p_k p_l dy = log((a exp(-d / a) - b exp(-d / b)) / (2 (a^2 - b^2))) for locations that are d apart.

    With a the larger scale and h = d (1 / b - 1 / a), it is log((1 + d / a (1 - exp(-h)) / h) / (2 (a + b))) - d / a, where
    nothing cancels if the scales are nearly equal.
    """
    d = jnp.abs(loc[:, None] - loc)
    a, b = jnp.maximum(scale[:, None], scale), jnp.minimum(scale[:, None], scale)
    largest = jnp.sqrt(jnp.finfo(d.dtype).max)  # a larger ratio would be an infinite one, times 0
    near, far = jnp.minimum(d / a, largest), jnp.minimum(d / b, largest)
    return jnp.log1p(near * mean_of_decay(far * (1 - b / a))) - jnp.log(2 * (a + b)) - near


def _correlated_gaussian_overlaps(loc: Array, covariances: Array) -> Array:
    num_components, num_targets = loc.shape[:2]
    difference = (loc[:, None] - loc).reshape(-1, *loc.shape[1:])
    covariance = (covariances[:, None] + covariances).reshape(-1, *covariances.shape[1:])
    tril = triangular.cholesky(covariance)
    z = triangular.solve(tril, difference)
    values = -0.5 * jnp.sum(z**2, axis=1) - triangular.log_determinant(tril) - HALF_LOG_2PI * num_targets
    return values.reshape(num_components, num_components, *loc.shape[2:])


def _overlaps_by_quadrature(marginals: Any) -> Float[Array, "K K D *batch"]:
    on_line, num = marginals.line(), marginals.line().loc.shape[0]
    pairs = np.triu_indices(num)  # the integral of a pair is that of the same two in the other order
    first, second = (type(on_line)(*(leaf[side] for leaf in on_line)) for side in pairs)
    cuts = [first.loc, second.loc]
    # On a bounded support there is a cut at 0 too, where a logit bends.
    cuts += [jnp.zeros_like(first.loc)] if isinstance(marginals, Warped) else []
    points = jnp.sort(jnp.stack(cuts), axis=0)

    def integrand(point: Array, distance: Array) -> Array:  # [n, pairs, D, *batch]
        # Locations are taken relative to the point, so that the digits of the distance are not lost far from zero.
        log_probs = (side._replace(loc=side.loc - point).target_log_probs(distance) for side in (first, second))
        return jnp.exp(sum(log_probs) + marginals.log_slope(point + distance, axis=2))

    found = integrate_near(integrand, points, jnp.minimum(first.scale, second.scale)).value
    number = np.zeros((num, num), np.int32)
    number[pairs] = number.T[pairs] = np.arange(len(pairs[0]))
    return found[number]
