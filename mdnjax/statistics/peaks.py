"""Peaks of a density on the real line: its modes, and the minima on either side of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.statistics.line import LineMixture
from mdnjax.statistics.quantiles import bracketed_root
from mdnjax.types import Array, Bool, Float

MIN_TAIL_PROB = 1e-30  # modes are searched at least between the components' quantiles of this probability and of 1 minus it


class Peaks(NamedTuple):
    """Modes of a density on the real line, batch-last, nan where not `found`; and the minima `low` and `high` on either side.

    Where there is no such minimum, `low` is -inf and `high` is inf.
    """

    mode: Float[Array, "M *batch"]
    low: Float[Array, "M *batch"]
    high: Float[Array, "M *batch"]
    found: Bool[Array, "M *batch"]


def find_peaks(line: LineMixture) -> Peaks:
    """Returns every mode of the density on the real line, with the minima on either side of it."""
    low, high = search_limits(line)
    points = jnp.clip(jnp.sort(line.marginals.line_points()[:, 0], axis=0), low, high)
    max_modes = line.marginals.most_modes()
    points = jnp.sort(jnp.concatenate([points, _slope_extrema(line, points, 2 * max_modes)]), axis=0)
    points = jnp.concatenate([low, low, points, high, high])
    # A density that grows towards a bound has a mode there: the slope at the outermost points counts as pointing inwards.
    increasing = (_slope(line, points) > 0).at[0].set(True).at[-1].set(False)
    has_mode, has_minimum = increasing[:-1] & ~increasing[1:], ~increasing[:-1] & increasing[1:]
    root = _roots(partial(_slope, line), points, has_mode | has_minimum, has_mode, 2 * max_modes + 1)
    is_mode = root.decreasing & ~jnp.isnan(root.u)
    minimum = jnp.where(root.decreasing, jnp.nan, root.u)
    mode = marked_first(root.u, is_mode, max_modes)
    below = jnp.where(minimum[None] < mode[:, None], minimum[None], -jnp.inf)
    above = jnp.where(minimum[None] > mode[:, None], minimum[None], jnp.inf)
    found = ~jnp.isnan(mode)
    return Peaks(mode, jnp.max(below, axis=1), jnp.min(above, axis=1), found)


def search_limits(line: LineMixture) -> tuple[Float[Array, "1 *batch"], Float[Array, "1 *batch"]]:
    """Returns the two points of the real line between which modes and ends of regions are searched."""
    on_line = line.marginals.line()
    low = on_line.brackets(jnp.full(line.log_weight.shape[1:], MIN_TAIL_PROB, line.log_weight.dtype))[0][:, 0]
    return jnp.min(low, axis=0)[None], jnp.max(2 * on_line.loc[:, 0] - low, axis=0)[None]


def _slope(line: LineMixture, u: Array) -> Array:
    """Returns the derivative of the log density of y with respect to u."""
    return jax.jvp(line.log_density, (u,), (jnp.ones_like(u),))[1]


def _slope_extrema(line: LineMixture, points: Array, max_extrema: int) -> Float[Array, "M *batch"]:
    """Returns extrema of the slope between two points with slopes of one sign: the slope may have the other sign there."""
    slope, curvature = jax.jvp(partial(_slope, line), (points,), (jnp.ones_like(points),))
    minima = (slope[:-1] > 0) & (slope[1:] > 0) & (curvature[:-1] < 0) & (curvature[1:] > 0)
    maxima = (slope[:-1] <= 0) & (slope[1:] <= 0) & (curvature[:-1] > 0) & (curvature[1:] < 0)

    def curvature_at(u: Array) -> Array:
        return jax.jvp(partial(_slope, line), (u,), (jnp.ones_like(u),))[1]

    u = _roots(curvature_at, points, minima | maxima, maxima, max_extrema).u
    return jnp.where(jnp.isnan(u), points[:1], u)


class _Roots(NamedTuple):
    u: Float[Array, "M *batch"]
    decreasing: Bool[Array, "M *batch"]


def _roots(function: Callable[[Array], Array], points: Array, has_root: Array, decreasing: Array, max_roots: int) -> _Roots:
    """Returns roots of a function in the intervals between points that have one, at most the first `max_roots`, else nan."""
    order = jnp.argsort(~has_root, axis=0, stable=True)[: min(max_roots, has_root.shape[0])]
    parts = (points[:-1], points[1:], has_root, decreasing)
    low, high, has_root, decreasing = (jnp.take_along_axis(part, order, axis=0) for part in parts)
    sign = jnp.where(decreasing, -1, 1)
    root = bracketed_root(lambda u: sign * function(u), low, jnp.where(has_root, high, low))
    return _Roots(jnp.where(has_root, root, jnp.nan), decreasing)


def marked_first(values: Array, marked: Array, max_values: int | None = None) -> Float[Array, "M *batch"]:
    """Returns the marked values in their order, then nan; at most `max_values` along the first axis."""
    order = jnp.argsort(~marked, axis=0, stable=True)[:max_values]
    return jnp.take_along_axis(jnp.where(marked, values, jnp.nan), order, axis=0)
