"""Peaks of a density on the real line: its modes, and the minima on either side of each; points are relative to an origin."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.batching import batch_to_end
from mdnjax.components import Component, Laplace, StudentT, Warped, from_bounds
from mdnjax.mixture import Mixture, from_batch_last
from mdnjax.statistics.line import LineMixture, points_last, unwarped
from mdnjax.statistics.roots import bracketed_root, in_parts
from mdnjax.types import Array, Bool, Float

MIN_TAIL_PROB = 1e-30  # modes are searched at least between the components' quantiles of this probability and of 1 minus it
FAR_POINTS = (-6.0, -5.0, -4.0, 4.0, 5.0, 6.0)  # further points near locations of heavy tails, in scales
MIN_NUMBERS_PER_SCALE = 4  # that the dtype must have within one scale of a location, relative to the origin


class Peaks(NamedTuple):
    """Modes of a density on the real line, batch-last, nan where not `found`; and the minima `low` and `high` on either side.

    Where there is no such minimum, `low` is -inf and `high` is inf.
    """

    mode: Float[Array, "M *batch"]
    low: Float[Array, "M *batch"]
    high: Float[Array, "M *batch"]
    found: Bool[Array, "M *batch"]


def find_peaks(line: LineMixture) -> Peaks:
    """Returns every mode of the density on the real line, with the minima on either side of it; none if a parameter is nan."""
    low, high = search_limits(line)
    max_modes = line.marginals.most_modes()
    if isinstance(line.marginals.line(), Laplace):
        max_modes = min(max_modes, len(line.log_weight) + 2)  # each kink, and each bound
        points, slope = _kinks(line, low, high)
    else:
        points, slope = _grid(line, low, high, 2 * max_modes)
    # A density that grows towards a bound has a mode there: the slope at the outermost points counts as pointing inwards.
    increasing = (slope > 0).at[0].set(True).at[-1].set(False)
    has_mode, has_minimum = increasing[:-1] & ~increasing[1:], ~increasing[:-1] & increasing[1:]
    root = _roots(partial(_slope, line), points, has_mode | has_minimum, has_mode, 2 * max_modes + 1)
    valid = ~(jnp.isnan(low + high) | jnp.isnan(jnp.sum(line.log_weight, axis=0)))
    is_mode = root.decreasing & ~jnp.isnan(root.u) & valid
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
    return points_last(_slope_at, line, u)


def _slope_and_curvature(line: LineMixture, u: Array) -> tuple[Array, Array]:
    """Returns the first two derivatives of the log density of y with respect to u."""
    return points_last(lambda line, u: jax.jvp(partial(_slope_at, line), (u,), (jnp.ones_like(u),)), line, u)


def _slope_at(line: LineMixture, u: Array) -> Array:
    return jax.jvp(line.log_density, (u,), (jnp.ones_like(u),))[1]


def _grid(line: LineMixture, low: Array, high: Array, max_extrema: int) -> tuple[Array, Array]:
    """Returns sorted points with their slopes: the limits (twice), points near each location, and extrema of the slope."""
    points, on_line = line.marginals.line_points()[:, 0], line.marginals.line()
    if isinstance(on_line, StudentT):  # where the tails of a narrow and a wide component cross, the slope can turn three times
        points = jnp.concatenate([points, *(on_line.loc[:, 0] + step * on_line.scale[:, 0] for step in FAR_POINTS)])
    points = jnp.clip(jnp.sort(points, axis=0), low, high)
    slope, curvature = _slope_and_curvature(line, points)
    more = jnp.concatenate([_slope_extrema(line, points, slope, curvature, max_extrema), low, high])
    points, slopes = jnp.concatenate([points, more]), jnp.concatenate([slope, _slope(line, more)])
    points, slopes = jax.lax.sort((points, slopes), dimension=0, num_keys=1)
    return jnp.concatenate([low, points, high]), jnp.concatenate([slopes[:1], slopes, slopes[-1:]])


def _kinks(line: LineMixture, low: Array, high: Array) -> tuple[Array, Array]:
    """Returns the limits (twice) and each location of a Laplace mixture (twice), with the slope below and above it.

    Between two locations the density is a sum of exponentials of u with positive factors, on a bounded support too. So it is
    convex there: all modes are at locations, and there is at most one minimum between two of them.
    """
    on_line = line.marginals.line()
    order = jnp.argsort(on_line.loc[:, 0], axis=0)
    loc, scale, log_weight = (
        jnp.take_along_axis(part, order, axis=0) for part in (on_line.loc[:, 0], on_line.scale[:, 0], line.log_weight)
    )
    distance = loc[:, None] - loc
    responsibility = jax.nn.softmax(log_weight - jnp.log(scale) - jnp.abs(distance) / scale, axis=1)
    steepness = responsibility / scale
    rest = jax.jvp(line.log_slope, (loc,), (jnp.ones_like(loc),))[1]
    below, above = (
        rest + jnp.sum(jnp.where(is_left, -steepness, steepness), axis=1) for is_left in (distance > 0, distance >= 0)
    )
    # Of several components at one location, only the last one has the slope above it.
    above = jnp.where(jnp.concatenate([loc[1:] == loc[:-1], jnp.zeros_like(loc[:1], bool)]), below, above)
    ends = _slope(line, jnp.concatenate([low, high]))
    points = jnp.repeat(jnp.concatenate([low, loc, high]), 2, axis=0)
    slopes = jnp.stack([below, above], axis=1).reshape(-1, *loc.shape[1:])
    return points, jnp.concatenate([ends[:1], ends[:1], slopes, ends[1:], ends[1:]])


def _slope_extrema(
    line: LineMixture, points: Array, slope: Array, curvature: Array, max_extrema: int
) -> Float[Array, "M *batch"]:
    """Returns extrema of the slope between two points with slopes of one sign: the slope may have the other sign there."""
    minima = (slope[:-1] > 0) & (slope[1:] > 0) & (curvature[:-1] < 0) & (curvature[1:] > 0)
    maxima = (slope[:-1] <= 0) & (slope[1:] <= 0) & (curvature[:-1] > 0) & (curvature[1:] < 0)
    u = _roots(lambda u: _slope_and_curvature(line, u)[1], points, minima | maxima, maxima, max_extrema).u
    return jnp.where(jnp.isnan(u), points[:1], u)


class _Roots(NamedTuple):
    u: Float[Array, "M *batch"]
    decreasing: Bool[Array, "M *batch"]


def _roots(function: Callable[[Array], Array], points: Array, has_root: Array, decreasing: Array, max_roots: int) -> _Roots:
    """Returns roots of a function in the intervals between points that have one, at most the first `max_roots`, else nan."""
    order = jnp.argsort(~has_root, axis=0, stable=True)[: min(max_roots, has_root.shape[0])]
    parts = (points[:-1], points[1:], has_root, decreasing)
    low, high, has_root, decreasing = (jnp.take_along_axis(part, order, axis=0) for part in parts)
    high, sign = jnp.where(has_root, high, low), jnp.where(decreasing, -1, 1)
    root = in_parts(lambda low, high, sign: bracketed_root(lambda u: sign * function(u), low, high), has_root, low, high, sign)
    return _Roots(jnp.where(has_root, root, jnp.nan), decreasing)


def marked_first(values: Array, marked: Array, max_values: int | None = None) -> Float[Array, "M *batch"]:
    """Returns the marked values in their order, then nan; at most `max_values` along the first axis."""
    order = jnp.argsort(~marked, axis=0, stable=True)[:max_values]
    return jnp.take_along_axis(jnp.where(marked, values, jnp.nan), order, axis=0)


class Centred(NamedTuple):
    """Marginals of one target whose points of the real line are relative to an origin: y = from_line(origin + u)."""

    shifted: Any  # the marginals with locations relative to the origin
    origin: Float[Array, "*batch"]

    def line(self) -> Any:
        """Returns the distribution of u."""
        return self.shifted.line()

    def line_points(self) -> Float[Array, "Q 1 *batch"]:
        """Returns points near the locations."""
        return self.shifted.line_points()

    def most_modes(self) -> int:
        """Returns an upper bound of the number of modes."""
        return self.shifted.most_modes()

    def to_line(self, y: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns u for values y, and nan for nan."""
        return jnp.where(jnp.isnan(y), jnp.nan, self.shifted.to_line(y, axis) - self.origin)

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns y for points u."""
        return self.shifted.from_line(u + self.origin, axis)

    def log_slope(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns log |du/dy| at points u."""
        return self.shifted.log_slope(u + self.origin, axis)

    def lengths(self, low: Float[Array, "Q *batch"], high: Float[Array, "Q *batch"]) -> Float[Array, "Q *batch"]:
        """Returns y(high) - y(low), without the rounding of the two values to the size of a location or a bound."""
        if not isinstance(self.shifted, Warped):
            return high - low
        near = self._replace(shifted=from_bounds(self.shifted)[1])
        return near.from_line(high[:, None], axis=1)[:, 0] - near.from_line(low[:, None], axis=1)[:, 0]


def centred_line(logits: Float[Array, "K *batch"], component: Component) -> LineMixture:
    """Returns a batch-last mixture of a single target on the real line, relative to an origin; nan if the dtype is too coarse."""
    marginals = component.marginals()
    on_line = marginals.line()
    log_weight, loc, origin = centre(logits, on_line.loc, on_line.scale)
    shifted = on_line._replace(loc=loc)
    shifted = Warped(shifted, marginals.support) if isinstance(marginals, Warped) else shifted
    return LineMixture(log_weight, Centred(shifted, origin[0]))


def centre(
    logits: Float[Array, "K *batch"], loc: Float[Array, "K D *batch"], scale: Float[Array, "K D *batch"]
) -> tuple[Float[Array, "K *batch"], Float[Array, "K D *batch"], Float[Array, "D *batch"]]:
    """Returns log weights, locations relative to an origin, and the origin: 0 or a location, for each target.

    It is the one for which the largest distance to a location, in scales of that component, is smallest. All log weights are nan
    if the dtype cannot resolve a component: loc + scale == loc, or fewer than four numbers within a scale relative to the origin.
    A component whose weight is below the precision of the dtype does not count, and gets the weight 0 if it is not resolved.
    """
    log_weight = jax.nn.log_softmax(logits, axis=0)
    counts = (log_weight >= math.log(jnp.finfo(loc.dtype).eps))[:, None]
    origins = jnp.concatenate([jnp.zeros_like(loc[:1]), loc])
    distances = jnp.max(jnp.where(counts, jnp.abs(loc - origins[:, None]) / scale, 0), axis=1)
    origin = jnp.take_along_axis(origins, jnp.argmin(distances, axis=0)[None], axis=0)[0]
    relative = loc - origin
    step = scale / (2 * MIN_NUMBERS_PER_SCALE)  # half of the gap between two numbers is rounded away
    coarse = jnp.any((loc + scale == loc) | (relative + step == relative), axis=1)
    log_weight = jnp.where(coarse, jnp.where(counts[:, 0], jnp.nan, -jnp.inf), log_weight)
    is_nan = jnp.any(jnp.isnan(log_weight), axis=0) | jnp.any(jnp.isnan(loc) | jnp.isnan(scale), axis=(0, 1))
    log_weight = jnp.where(is_nan, jnp.nan, log_weight)
    # A component of weight 0 may be so far away that its distances overflow.
    return log_weight, jnp.where((log_weight == -jnp.inf)[:, None] & ~jnp.isnan(loc), 0, relative), origin


def centred_mixture(mixture: Mixture) -> tuple[Mixture, Float[Array, "*batch D"]]:
    """Returns the batch-first mixture of y - origin, and the origin: 0 on a bounded support; nan if the dtype is too coarse."""
    leaves = jax.tree.map(lambda leaf: batch_to_end(leaf, mixture.logits.ndim - 1), (mixture.logits, mixture.component))
    logits, component = leaves
    on_line = unwarped(component)
    log_weight, loc, origin = centre(logits, on_line.loc, on_line.marginals().scale)
    if isinstance(component, Warped):
        origin = jnp.zeros_like(origin)
    else:
        component = component._replace(loc=loc)
    return from_batch_last(log_weight, component), jnp.moveaxis(origin, 0, -1)
