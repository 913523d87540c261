"""Sets of highest density of many rows, by log densities that are interpolated between some hundred points of each row.

They are a hundred times as fast as `mdnjax.statistics.hdr`, which finds every mode. A score and the sets of all y with a score of
at most a threshold agree, because both use the same interpolated density; so a guarantee does not depend on how exact it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.batching import map_batch
from mdnjax.components import Component
from mdnjax.mixture import Mixture, check_single
from mdnjax.statistics.line import LineMixture, line_mixture
from mdnjax.types import AnyArray, Array, Float, Int

NUM_POINTS = 60  # around the components of a row, if there are few; as many are between them
MIN_POINTS = 5  # around each component
MAX_COMPONENTS = 12  # of a row that have points; of more, those at equal distances in the order of their locations
REACH = 2.6  # asinh of the distance of the outermost points from a component, in STEP scales
STEP = 1.2
MIN_WEIGHT = 1e-6  # a component with less has no points
PER_NAT = 1e-5  # by which a score grows with each nat of log density, so that no two are equal where the probability is 1
NUM_BISECTIONS = 32
MAX_PIECES = 4  # intervals of a set; if there are more, those next to the smallest gaps are joined


class Outline(NamedTuple):
    """Points u of the real line in ascending order, log densities of y there, and the probability between two of them.

    Beyond the points the log density falls by the `slope` between the highest point and either end.
    """

    u: Float[Array, "Q *batch"]
    log_density: Float[Array, "Q *batch"]
    mass: Float[Array, "R *batch"]
    slope: Float[Array, "2 *batch"]


@jax.jit
def mass_above(mixture: Mixture, y: Float[AnyArray, "*batch P"]) -> Float[Array, "*batch P"]:
    """Returns the probability of the smallest set that reaches each of P values of a single target.

    For each nat by which the log density of the value is below that of the mode, PER_NAT is added, so that values far away, which
    only sets of probability 1 reach, have different scores above 1.
    """
    check_single("mass_above", mixture)
    return map_batch(_mass_above, mixture, y)


@jax.jit
def density_set(mixture: Mixture, mass: Float[AnyArray, "*batch"]) -> Float[Array, "*batch M 2"]:
    """Returns the intervals of all y whose `mass_above` is at most `mass`, of a single target; nan where there are fewer."""
    check_single("density_set", mixture)
    return map_batch(_density_set, mixture, mass, events=(0,))


def _mass_above(logits: Array, component: Component, y: Array) -> Float[Array, "P *batch"]:
    line = line_mixture(logits, component)
    outline = _outline_of(line)
    u = line.marginals.to_line(y[:, None], axis=1)[:, 0]
    return jnp.stack([_mass_at(outline, at) for at in u])


def _mass_at(outline: Outline, u: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    points, levels = outline.u, outline.log_density
    place = jnp.clip(jnp.sum(points <= u, axis=0) - 1, 0, len(points) - 2)[None]
    (left, right), (low, high) = ([jnp.take_along_axis(of, place + i, axis=0)[0] for i in (0, 1)] for of in (points, levels))
    share = jnp.clip((u - left) / jnp.where(right > left, right - left, 1), 0, 1)
    below, above = jnp.maximum(points[0] - u, 0), jnp.maximum(u - points[-1], 0)
    return _mass_of_level(outline, low + share * (high - low) - outline.slope[0] * below - outline.slope[1] * above)


def _density_set(logits: Array, component: Component, mass: Array) -> Float[Array, "M 2 *batch"]:
    line = line_mixture(logits, component)
    outline = _outline_of(line)
    pieces = _pieces(outline, _level_of_mass(outline, jnp.where(jnp.isinf(mass), 1, mass)))
    whole = jnp.full_like(pieces, jnp.nan).at[0, 0].set(-jnp.inf).at[0, 1].set(jnp.inf)
    pieces = jnp.where(jnp.isinf(mass), whole, pieces)
    return jnp.stack([line.value(piece) for piece in pieces])


def _outline_of(line: LineMixture) -> Outline:
    on_line, weight = line.marginals.line(), line.log_weight
    loc, scale = on_line.loc[:, 0], on_line.scale[:, 0]
    heaviest = jnp.argmax(weight, axis=0)[None]
    used = weight > np.log(MIN_WEIGHT)
    loc, scale = (jnp.where(used, values, jnp.take_along_axis(values, heaviest, axis=0)) for values in (loc, scale))
    if len(loc) > MAX_COMPONENTS:
        loc, scale = _of_ranks(loc, scale, np.linspace(0, len(loc) - 1, MAX_COMPONENTS).round().astype(int))
    num = 2 * (max(MIN_POINTS, NUM_POINTS // len(loc)) // 2) + 1  # odd, so that one point is the location
    steps = STEP * np.sinh(np.linspace(-REACH, REACH, num)).astype(loc.dtype)
    u = jnp.sort((loc + scale * steps.reshape(-1, *[1] * loc.ndim)).reshape(-1, *loc.shape[1:]), axis=0)
    middle = jnp.concatenate([(u[1:] + u[:-1]) / 2, u[-1:]])  # without them the density would be level in wide gaps
    u = jnp.stack([u, middle], axis=1).reshape(-1, *u.shape[1:])[:-1]
    on_line = jnp.log(jnp.maximum(line.prob(u), jnp.finfo(u.dtype).tiny))  # faster than log_prob
    log_density = on_line + line.log_slope(u)
    mass = jnp.diff(u, axis=0) * _mean_between(on_line[:-1], on_line[1:])
    ends = np.array([0, len(u) - 1])
    distance = jnp.abs(jnp.take_along_axis(u, jnp.argmax(log_density, axis=0)[None], axis=0) - u[ends])
    rise = jnp.max(log_density, axis=0) - log_density[ends]
    slope = jnp.maximum(rise / jnp.where(distance > 0, distance, 1), 1 / (u[-1] - u[0]))
    return Outline(u, log_density, mass / jnp.sum(mass, axis=0), slope)


def _of_ranks(
    loc: Float[Array, "K *batch"], scale: Float[Array, "K *batch"], ranks: Int[np.ndarray, " R"]
) -> list[Float[Array, "R *batch"]]:
    """Returns the components with these places in the order of the locations, which are counted: to sort takes twice as long."""
    index = np.arange(len(loc)).reshape(-1, *[1] * (loc.ndim - 1))

    def count(k: Any, places: Array) -> Array:
        return places + ((loc[k] < loc) | ((loc[k] == loc) & (k < index)))

    places = jax.lax.fori_loop(0, len(loc), count, jnp.zeros(loc.shape, int))
    chosen = places == ranks.reshape(-1, *[1] * loc.ndim)
    return [jnp.sum(jnp.where(chosen, values, 0), axis=1) for values in (loc, scale)]


def _mean_between(first: Array, second: Array) -> Array:
    """Returns the mean of a density between two points, from its logs there, of which it is a linear function."""
    highest, fall = jnp.maximum(first, second), jnp.abs(first - second)
    return jnp.exp(highest) * jnp.where(fall > 1e-3, -jnp.expm1(-fall) / jnp.where(fall > 1e-3, fall, 1), 1 - fall / 2)


def _mass_of_level(outline: Outline, level: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns `mass_above` of a level of the log density; between two points the probability is uniform."""
    first, second = outline.log_density[:-1], outline.log_density[1:]
    highest, difference = jnp.maximum(first, second), jnp.abs(first - second)
    share = jnp.clip((highest - level) / jnp.maximum(difference, 1e-30), 0, 1)
    return jnp.sum(outline.mass * share, axis=0) + PER_NAT * (jnp.max(outline.log_density, axis=0) - level)


def _level_of_mass(outline: Outline, mass: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns the level of the log density that has this `mass_above`, by bisection."""

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        enough = _mass_of_level(outline, middle) >= mass
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    highest = jnp.broadcast_to(jnp.max(outline.log_density, axis=0), mass.shape)
    lowest = highest - jnp.maximum(mass, 1e-3) / PER_NAT  # there the second term alone is as large
    return jax.lax.fori_loop(0, NUM_BISECTIONS, halve, (lowest, highest))[0]


def _pieces(outline: Outline, level: Float[Array, "*batch"]) -> Float[Array, "M 2 *batch"]:
    """Returns the ends of the intervals where the density is above a level, after the smallest gaps are closed."""
    u, height = outline.u, outline.log_density - level
    above = height >= 0
    edge = jnp.zeros_like(above[:1])
    share = height[:-1] / jnp.where(height[:-1] == height[1:], 1, height[:-1] - height[1:])
    crossing = u[:-1] + jnp.clip(share, 0, 1) * (u[1:] - u[:-1])
    begins, ends = above & ~jnp.concatenate([edge, above[:-1]]), above & ~jnp.concatenate([above[1:], edge])
    beyond = jnp.maximum(jnp.stack([height[0], height[-1]]), 0) / outline.slope
    low = jnp.where(begins, jnp.concatenate([u[:1] - beyond[:1], crossing]), jnp.inf)
    high = jnp.where(ends, jnp.concatenate([crossing, u[-1:] + beyond[1:]]), jnp.inf)
    next_low = jnp.concatenate([jax.lax.cummin(low, axis=0, reverse=True)[1:], jnp.full_like(low[:1], jnp.inf)])
    gap = jnp.where(ends, next_low - high, -jnp.inf)  # infinite after the last interval
    smallest = gap
    for _ in range(MAX_PIECES - 1):
        smallest = jnp.where(smallest >= jnp.max(smallest, axis=0), -jnp.inf, smallest)
    high = jnp.where(gap >= jnp.maximum(jnp.max(smallest, axis=0), jnp.finfo(u.dtype).tiny), high, jnp.inf)
    pieces, last = [], -jnp.inf
    for _ in range(MAX_PIECES):
        first = jnp.min(jnp.where(low > last, low, jnp.inf), axis=0)
        last = jnp.min(jnp.where(high >= first, high, jnp.inf), axis=0)
        pieces.append(jnp.where(jnp.isinf(first), jnp.nan, jnp.stack([first, last])))
    return jnp.stack(pieces)
