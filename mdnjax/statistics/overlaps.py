"""Integrals of products of two components, which the CDE loss and the lower bound of the entropy need."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from mdnjax.components import Component, Diagonal, Full, Isotropic, LowRank, Warped, triangular
from mdnjax.components.diagonal import HALF_LOG_2PI
from mdnjax.quadrature import integrate_near
from mdnjax.types import Array, Float


def log_overlaps(component: Component) -> Float[Array, "K K *batch"]:
    """Returns log int p_k(y) p_l(y) dy for each pair of components, batch-last.

    For Gaussians log N(m_k - m_l; 0, C_k + C_l); for the other families, and on a bounded support, the sum over targets of the
    logarithms of one-dimensional integrals by quadrature.
    Raises: ValueError for correlated targets on a bounded support.
    """
    if isinstance(component, Isotropic | Diagonal):
        marginals = component.marginals()
        difference = marginals.loc[:, None] - marginals.loc
        variance = marginals.scale[:, None] ** 2 + marginals.scale**2
        return -jnp.sum(0.5 * difference**2 / variance + 0.5 * jnp.log(variance) + HALF_LOG_2PI, axis=2)
    if isinstance(component, Full | LowRank):
        return _correlated_gaussian_overlaps(component.loc, component.covariances())
    if isinstance(component, Warped) and isinstance(component.component, Full | LowRank) and len(component.support.low) > 1:
        got = f"{len(component.support.low)} correlated targets on a bounded support"
        expected = "independent targets or a single one: use mdn.marginal(mixture, (d,)) for target d"
        raise ValueError(f"overlaps of components: got {got}, expected {expected}")
    overlaps = _overlaps_by_quadrature(component.marginals())
    none = overlaps == 0  # the gradient of the logarithm of 0 would be nan
    return jnp.sum(jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, overlaps))), axis=2)


def _correlated_gaussian_overlaps(loc: Array, covariances: Array) -> Array:
    num_components, num_targets = loc.shape[:2]
    difference = (loc[:, None] - loc).reshape(-1, *loc.shape[1:])
    covariance = (covariances[:, None] + covariances).reshape(-1, *covariances.shape[1:])
    tril = triangular.cholesky(covariance)
    z = triangular.solve(tril, difference)
    values = -0.5 * jnp.sum(z**2, axis=1) - triangular.log_determinant(tril) - HALF_LOG_2PI * num_targets
    return values.reshape(num_components, num_components, *loc.shape[2:])


def _overlaps_by_quadrature(marginals: Any) -> Float[Array, "K K D *batch"]:
    on_line = marginals.line()
    pairs = (*on_line.loc.shape[:1], *on_line.loc.shape)
    cuts = [on_line.loc[:, None], on_line.loc]
    # On a bounded support there is a cut at 0 too, where a logit bends.
    cuts += [jnp.zeros_like(on_line.loc)] if isinstance(marginals, Warped) else []
    points = jnp.sort(jnp.stack([jnp.broadcast_to(cut, pairs) for cut in cuts]), axis=0)

    def integrand(point: Array, distance: Array) -> Array:  # [n, K, K, D, *batch]
        log_product = sum(_log_probs(on_line, point, distance, axis) for axis in (1, 0))
        return jnp.exp(log_product + marginals.log_slope(point + distance, axis=3))

    unit = jnp.minimum(on_line.scale[:, None], on_line.scale)
    return integrate_near(integrand, points, jnp.broadcast_to(unit, pairs)).value


def _log_probs(on_line: Any, point: Array, distance: Array, axis: int) -> Array:
    """Returns the log density, at point + distance, of the first (axis=1) or the second (axis=0) component of each pair.

    Locations are taken relative to the point, so that the digits of the distance are not lost far from zero.
    """
    component = type(on_line)(*(jnp.expand_dims(leaf, axis) for leaf in on_line))
    return component._replace(loc=component.loc - point).target_log_probs(distance)
