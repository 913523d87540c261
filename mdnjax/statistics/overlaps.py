"""Integrals of products of components, from which the CDE loss and a bound of the entropy are made."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from mdnjax.components import Component, Diagonal, Full, Isotropic, LowRank, Warped, triangular
from mdnjax.components.diagonal import HALF_LOG_2PI
from mdnjax.quadrature import integrate
from mdnjax.types import Array, Float


def log_overlaps(component: Component) -> Float[Array, "K K *batch"]:
    """log int p_k(y) p_l(y) dy, batch-last.

    For Gaussians log N(m_k - m_l; 0, C_k + C_l); for the other families, and on a bounded support, a sum over targets of
    logarithms of one-dimensional integrals by quadrature.
    Raises: ValueError for correlated targets on a bounded support.
    """
    if isinstance(component, Isotropic | Diagonal):
        line = component.marginals()
        apart = line.loc[:, None] - line.loc
        var = line.scale[:, None] ** 2 + line.scale**2
        return -jnp.sum(0.5 * apart**2 / var + 0.5 * jnp.log(var) + HALF_LOG_2PI, axis=2)
    if isinstance(component, Full | LowRank):
        return _of_matrices(component.loc, component.covariances())
    if isinstance(component, Warped) and isinstance(component.component, Full | LowRank) and len(component.support.low) > 1:
        raise ValueError("the overlap of correlated targets on a bounded support is not known: ask it of a marginal")
    return jnp.sum(jnp.log(_by_quadrature(component.marginals())), axis=2)


def _of_matrices(loc: Array, covariances: Array) -> Array:
    num_components, num_targets = loc.shape[:2]
    apart = (loc[:, None] - loc).reshape(-1, *loc.shape[1:])
    total = (covariances[:, None] + covariances).reshape(-1, *covariances.shape[1:])
    tril = triangular.cholesky(total)
    z = triangular.solve(tril, apart)
    values = -0.5 * jnp.sum(z**2, axis=1) - triangular.log_determinant(tril) - HALF_LOG_2PI * num_targets
    return values.reshape(num_components, num_components, *loc.shape[2:])


def _by_quadrature(marginals: Any) -> Float[Array, "K K D *batch"]:
    line = marginals.line()
    pairs = (*line.loc.shape[:1], *line.loc.shape)
    first, second = (jnp.broadcast_to(loc, pairs) for loc in (line.loc[:, None], line.loc))

    def integrand(u: Array) -> Array:  # [n, K, K, D, *batch]
        log_one = _log_probs(line, u, 1) + _log_probs(line, u, 0)
        return jnp.exp(log_one + marginals.log_slope(u, axis=3))

    points = jnp.sort(jnp.stack([first, second, jnp.zeros_like(first)]), axis=0)
    unit = jnp.minimum(line.scale[:, None], line.scale)
    return integrate(integrand, points, jnp.broadcast_to(unit, pairs)).value


def _log_probs(line: Any, u: Array, position: int) -> Array:
    """Of the first or second component of each pair."""
    leaves = [jnp.expand_dims(leaf, position) for leaf in line]
    return type(line)(*leaves).target_log_probs(u)
