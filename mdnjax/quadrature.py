"""Integrals over the real line by double-exponential rules, for integrals without a closed form; batch axes are last.

The line is cut at points where the integrand may have a kink or a narrow peak. The nodes are densest near the ends of each
piece, so a peak of any width is resolved.
Source: Takahasi and Mori (1974), Double exponential formulas for numerical integration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import Array, Float

NUM_STEPS = 96  # on either side of a rule's centre: gives full precision even for a narrow peak between points that are far apart
# Largest |t| of the rules between points and beyond them. The distances of the nodes from a point, relative to the length or the
# unit, then range from about exp(-36) to exp(36) in float64 and from exp(-20) to exp(20) in float32: enough for the resolution of
# the dtype, and small enough that a square does not overflow.
REACH = {"float64": (3.16, 3.83), "float32": (2.63, 3.24)}


class Estimate(NamedTuple):
    """A number without a closed form, and its error: for quadrature a bound in practice, for sampling a standard error."""

    value: Float[Array, "*batch"]
    error: Float[Array, "*batch"]


def integrate(
    integrand: Callable[[Float[Array, "Q *batch"]], Float[Array, "Q *batch"]],
    points: Float[Array, "B *batch"],
    unit: Float[Array, "*#batch"],
    *,
    left: bool = True,
    right: bool = True,
    num_steps: int = NUM_STEPS,
) -> Estimate:
    """Integrates over the real line, or from the first point (left=False), or up to the last point (right=False).

    `points` are sorted; `unit` is a typical length of the tails. The returned error is the difference to the rule with twice the
    step; the true error is about its square.
    """
    points, unit = jnp.broadcast_arrays(points, unit[None])[0], jnp.broadcast_to(unit, points.shape[1:])
    coarse = fine = jnp.zeros(points.shape[1:], points.dtype)
    inner, outer = REACH[str(points.dtype)]
    if points.shape[0] > 1:
        rule = _between(_steps(inner, num_steps, points[0]))

        def piece(ends: tuple[Array, Array]) -> tuple[Array, Array]:
            return _sums(integrand, *rule(*ends), inner / num_steps)

        sums = jax.lax.map(piece, (points[:-1], points[1:]))
        coarse, fine = (jnp.sum(part, axis=0) for part in sums)
    for included, end, sign in ((left, points[0], -1), (right, points[-1], 1)):
        if included:
            tail = _sums(integrand, *_beyond(_steps(outer, num_steps, end), end, sign * unit), outer / num_steps)
            coarse, fine = coarse + tail[0], fine + tail[1]
    return Estimate(fine, jnp.abs(fine - coarse))


def _steps(reach: float, num_steps: int, like: Array) -> Float[Array, "Q *batch"]:
    return jnp.asarray(np.linspace(-reach, reach, 2 * num_steps + 1), like.dtype).reshape(-1, *(1 for _ in like.shape))


def _between(t: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Returns the rule between two points, z = low + length * sigmoid(pi sinh t), with z computed from the nearer end."""
    near = jax.nn.sigmoid(-jnp.pi * jnp.sinh(jnp.abs(t)))  # the distance to the nearer end
    slope = jnp.pi * jnp.cosh(t) * near * (1 - near)

    def rule(low: Array, high: Array) -> tuple[Array, Array]:
        length = high - low
        return jnp.where(t < 0, low + length * near, high - length * near), length * slope

    return rule


def _beyond(t: Array, end: Array, unit: Array) -> tuple[Array, Array]:
    """Returns nodes and weights beyond a point: z = end + unit * exp(pi / 2 sinh t)."""
    distance = jnp.exp(jnp.pi / 2 * jnp.sinh(t))
    return end + unit * distance, jnp.abs(unit) * distance * jnp.pi / 2 * jnp.cosh(t)


def _sums(integrand: Callable[[Array], Array], nodes: Array, weight: Array, step: float) -> tuple[Array, Array]:
    """Returns the sums of the rule with twice the step and of the rule itself."""
    terms = weight * integrand(nodes)
    return 2 * step * jnp.sum(terms[::2], axis=0), step * jnp.sum(terms, axis=0)
