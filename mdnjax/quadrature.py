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
# The range of t of the rules between points and beyond them. The distances of the nodes from a point, relative to the length or
# the unit, then range from exp(-36) to exp(36); in float32 they end at exp(20), so that a square does not overflow.
REACH = 3.16
REACH_BEYOND = {"float64": (-3.83, 3.83), "float32": (-3.83, 3.24)}
# The rounding error of a sum, in eps times the sum of the sizes of its terms: densities and distribution functions are off by
# several eps, and by more where they are small.
ROUNDING = 8.0

Near = Callable[[Float[Array, "#Q *batch"], Float[Array, "Q *batch"]], Float[Array, "Q *batch"]]


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
    """Returns `integrate_near` of a function of the node itself, `point + distance`.

    The sum is rounded: a peak that is narrower than the last digit of its position is not resolved.
    """

    def near(point: Array, distance: Array) -> Array:
        return integrand(point + distance)

    return integrate_near(near, points, unit, left=left, right=right, num_steps=num_steps)


def integrate_near(
    integrand: Near,
    points: Float[Array, "B *batch"],
    unit: Float[Array, "*#batch"],
    *,
    left: bool = True,
    right: bool = True,
    num_steps: int = NUM_STEPS,
) -> Estimate:
    """Integrates over the real line, or from the first point (left=False), or up to the last point (right=False).

    `points` are sorted; `unit` is a typical length of the tails. `integrand(point, distance)` takes a node as one of the points
    and a signed distance from it, which is exact however far the point is from zero. The returned error is the difference to the
    rule with twice the step, of which the true error is about the square, and a bound of the rounding errors.
    """
    points, unit = jnp.broadcast_arrays(points, unit[None])[0], jnp.broadcast_to(unit, points.shape[1:])
    zero = jnp.zeros(points.shape[1:], points.dtype)
    total = zero, zero, zero
    if points.shape[0] > 1:
        t, step = _steps(-REACH, REACH, num_steps, points[0])
        rule = _between(t)

        def piece(ends: tuple[Array, Array]) -> tuple[Array, Array, Array]:
            return _sums(integrand, *rule(*ends), step)

        total = tuple(jnp.sum(part, axis=0) for part in jax.lax.map(piece, (points[:-1], points[1:])))
    t, step = _steps(*REACH_BEYOND[str(points.dtype)], num_steps, points[0])
    for included, end, sign in ((left, points[0], -1), (right, points[-1], 1)):
        if included:
            tail = _sums(integrand, *_beyond(t, end, sign * unit), step)
            total = tuple(part + more for part, more in zip(total, tail, strict=True))
    coarse, fine, size = total
    return Estimate(fine, jnp.abs(fine - coarse) + ROUNDING * jnp.finfo(points.dtype).eps * size)


def _steps(low: float, high: float, num_steps: int, like: Array) -> tuple[Float[Array, "Q *batch"], float]:
    """Returns equidistant t, and their distance."""
    t = jnp.asarray(np.linspace(low, high, 2 * num_steps + 1), like.dtype).reshape(-1, *(1 for _ in like.shape))
    return t, (high - low) / (2 * num_steps)


def _between(t: Array) -> Callable[[Array, Array], tuple[Array, Array, Array]]:
    """Returns the rule between two points, z = low + length * sigmoid(pi sinh t), with z relative to the nearer end."""
    near = jax.nn.sigmoid(-jnp.pi * jnp.sinh(jnp.abs(t)))  # the distance to the nearer end
    slope = jnp.pi * jnp.cosh(t) * near * (1 - near)

    def rule(low: Array, high: Array) -> tuple[Array, Array, Array]:
        length = high - low
        return jnp.where(t < 0, low, high), jnp.where(t < 0, near, -near) * length, length * slope

    return rule


def _beyond(t: Array, end: Array, unit: Array) -> tuple[Array, Array, Array]:
    """Returns the end, distances of nodes beyond it, and weights: z = end + unit * exp(pi / 2 sinh t)."""
    distance = jnp.exp(jnp.pi / 2 * jnp.sinh(t))
    return end[None], unit * distance, jnp.abs(unit) * distance * jnp.pi / 2 * jnp.cosh(t)


def _sums(integrand: Near, point: Array, distance: Array, weight: Array, step: float) -> tuple[Array, Array, Array]:
    """Returns the sums of the rule with twice the step, of the rule itself, and of the sizes of its terms."""
    terms = weight * integrand(point, distance)
    return 2 * step * jnp.sum(terms[::2], axis=0), step * jnp.sum(terms, axis=0), step * jnp.sum(jnp.abs(terms), axis=0)
