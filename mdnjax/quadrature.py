"""Integrals over the real line by double-exponential rules, for what has no closed form; batch axes trail.

The line is cut at the points where a density may have a kink or a narrow peak. Nodes crowd at the ends of each piece, so a peak
is resolved whatever its width. Source: Takahasi and Mori (1974), Double exponential formulas for numerical integration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import Array, Float

NUM_STEPS = 96  # on either side of a rule's middle
# Where the rules end: the smallest and largest distance from a point, relative to the length or the unit, is about exp(-+36) and
# exp(-+20): far enough for what each dtype can tell apart, and not so far that a square overflows.
REACH = {"float64": (3.16, 3.83), "float32": (2.63, 3.24)}


class Estimate(NamedTuple):
    """A number not computed in closed form, and its error: of quadrature a bound in practice, of sampling a standard error."""

    value: Float[Array, "*batch"]
    error: Float[Array, "*batch"]


def integrate(
    integrand: Callable[[Float[Array, "Q *batch"]], Float[Array, "Q *batch"]],
    points: Float[Array, "B *batch"],
    unit: Float[Array, "*#batch"],
    *,
    left: bool = True,
    right: bool = True,
) -> Estimate:
    """Integral over the real line, or from the first point (left=False), or up to the last one (right=False).

    `points` are sorted; `unit` is a typical length of the tails. The error is the difference to the rule of twice the step, of
    which the true error is about the square.
    """
    points, unit = jnp.broadcast_arrays(points, unit[None])[0], jnp.broadcast_to(unit, points.shape[1:])
    coarse = fine = jnp.zeros(points.shape[1:], points.dtype)
    inner, outer = REACH[str(points.dtype)]
    if points.shape[0] > 1:
        rule = _between(points.shape[1:], points.dtype, inner)

        def piece(ends: tuple[Array, Array]) -> tuple[Array, Array]:
            return _sums(integrand, *rule(*ends), inner)

        sums = jax.lax.map(piece, (points[:-1], points[1:]))
        coarse, fine = (jnp.sum(part, axis=0) for part in sums)
    for wanted, end, sign in ((left, points[0], -1), (right, points[-1], 1)):
        if wanted:
            more = _sums(integrand, *_beyond(end, sign * unit, outer), outer)
            coarse, fine = coarse + more[0], fine + more[1]
    return Estimate(fine, jnp.abs(fine - coarse))


def _steps(reach: float, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "Q *batch"]:
    return jnp.asarray(np.linspace(-reach, reach, 2 * NUM_STEPS + 1), dtype).reshape(-1, *(1 for _ in shape))


def _between(shape: tuple[int, ...], dtype: jnp.dtype, reach: float) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Nodes and weights between two points: z = low + length * sigmoid(pi sinh t), counted from the nearer end."""
    t = _steps(reach, shape, dtype)
    near = jax.nn.sigmoid(-jnp.pi * jnp.sinh(jnp.abs(t)))  # the distance to the nearer end
    slope = jnp.pi * jnp.cosh(t) * near * (1 - near)

    def rule(low: Array, high: Array) -> tuple[Array, Array]:
        length = high - low
        return jnp.where(t < 0, low + length * near, high - length * near), length * slope

    return rule


def _beyond(end: Array, unit: Array, reach: float) -> tuple[Array, Array]:
    """Nodes and weights beyond a point: z = end + unit * exp(pi / 2 sinh t)."""
    t = _steps(reach, end.shape, end.dtype)
    distance = jnp.exp(jnp.pi / 2 * jnp.sinh(t))
    return end + unit * distance, jnp.abs(unit) * distance * jnp.pi / 2 * jnp.cosh(t)


def _sums(integrand: Callable[[Array], Array], nodes: Array, weight: Array, reach: float) -> tuple[Array, Array]:
    terms, step = weight * integrand(nodes), reach / NUM_STEPS
    return 2 * step * jnp.sum(terms[::2], axis=0), step * jnp.sum(terms, axis=0)
