"""Modes: all of them for one target, those that the locations lead to for several; and modes followed along x as branches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.batching import map_batch
from mdnjax.compilation import JitOnce
from mdnjax.components import Component, Laplace, Warped
from mdnjax.mixture import Mixture, mixture_log_prob, num_targets
from mdnjax.statistics.line import Line, line_of
from mdnjax.statistics.quantiles import bracketed_root
from mdnjax.types import Array, Bool, Float, Int

ASCENT_STEPS = 100
MIN_TAIL_PROB = 1e-30  # probability of each component beyond which nothing is looked for
SAME_MODE = 1e-3  # of a scale apart, and what the ascents end at is one mode


class Modes(NamedTuple):
    """Local maxima of p(y|x): the first `num_modes` along the axis M, in the order of their position; nan beyond.

    mass[*batch, M] is the probability of what lies uphill to each: for one target between the minima on either side, for
    several the weight of the components whose locations lead there.
    """

    y: Float[Array, "*batch M D"]
    log_density: Float[Array, "*batch M"]
    mass: Float[Array, "*batch M"]
    num_modes: Int[Array, "*batch"]


class Turns(NamedTuple):
    """Modes of a density on the line, batch-last, nan where there is none, and the minima `low` and `high` beside each."""

    mode: Float[Array, "M *batch"]
    low: Float[Array, "M *batch"]
    high: Float[Array, "M *batch"]
    found: Bool[Array, "M *batch"]


@jax.jit
def modes(mixture: Mixture) -> Modes:
    """All modes of a single target; of several targets those that an ascent from each location reaches.

    One target: sign changes of the derivative of log p between points half a scale apart around every location,
    and around every extremum of that derivative between them; where the density grows towards a bound of its support, there too.
    Gaussian and Laplace mixtures on the line have no more modes than components.
    Several targets: damped Newton steps from each location (for Laplace, whose modes are kinks, a search over the locations' own
    coordinates); modes of another origin are not seen. Source: Carreira-Perpinan (2000), Mode-finding for mixtures of Gaussian
    distributions.
    """
    if num_targets(mixture) == 1:
        return _modes_and_turns(mixture)[0]
    return map_batch(_several, mixture, size=8 * num_targets(mixture))


@jax.jit
def highest_mode(mixture: Mixture, least_mass: float = 1e-6) -> Float[Array, "*batch D"]:
    """The mode of the largest density, of those with some probability: heavy tails make a spike of none at a bound."""
    found = modes(mixture)
    height = jnp.where(found.mass >= least_mass, found.log_density, -jnp.inf)
    best = jnp.argmax(height, axis=-1)
    return jnp.take_along_axis(found.y, best[..., None, None], axis=-2)[..., 0, :]


def branches(mixture: Mixture, least_mass: float = 0.0) -> Float[np.ndarray, "B G"]:
    """Modes of a single target followed along the batch, one axis `[G]` of neighbouring x: a row a branch, nan where it is not.

    Neighbours are paired to the smallest sum of distances, and not where a mode would have to leap further than to the minimum
    that bounds it. Modes of less mass are left out. Not compiled, and not differentiable.
    Raises: ValueError if the batch has not one axis, or there is more than one target.
    """
    from scipy.optimize import linear_sum_assignment  # here: half a second that only branches need

    if mixture.logits.ndim != 2 or num_targets(mixture) != 1:
        got = f"a batch of {mixture.logits.shape[:-1]} with {num_targets(mixture)} targets"
        raise ValueError(f"branches: got {got}, expected one axis and one target")

    found, turning_points = jax.tree.map(np.asarray, _modes_and_turns_once(mixture))
    shown = turning_points.found & (found.mass >= least_mass)
    rows: list[np.ndarray] = []
    current: list[int] = []  # the branch of each mode of the column before
    for column in range(len(shown)):
        here, before = (np.flatnonzero(shown[at]) if at >= 0 else np.array([], int) for at in (column, column - 1))
        mode, low, high = (np.asarray(part[column])[here] for part in turning_points[:3])
        old_mode, old_low, old_high = (np.asarray(part[max(column - 1, 0)])[before] for part in turning_points[:3])
        inside = (mode[:, None] > old_low) & (mode[:, None] < old_high) | (old_mode > low[:, None]) & (old_mode < high[:, None])
        cost = np.where(inside, np.abs(mode[:, None] - old_mode), 1e6 * (1 + np.abs(mode[:, None] - old_mode)))
        taken = {i: current[j] for i, j in zip(*linear_sum_assignment(cost), strict=True) if inside[i, j]}
        current = []
        for i, number in enumerate(here):
            if i not in taken:
                rows.append(np.full(len(shown), np.nan))
            current.append(taken.get(i, len(rows) - 1))
            rows[current[-1]][column] = found.y[column, number, 0]
    return np.array(rows).reshape(len(rows), len(shown))


def turns(line: Line) -> Turns:
    """Every mode of a density on the line, between the minima beside it or the ends of the line."""
    low, high = far_ends(line)
    points = jnp.clip(jnp.sort(line.marginals.line_points()[:, 0], axis=0), low, high)
    most = line.marginals.most_modes()
    points = jnp.sort(jnp.concatenate([points, _hidden(line, points, 2 * most)]), axis=0)
    points = jnp.concatenate([low, low, points, high, high])
    # a density that grows towards a bound has a mode there: at the outermost points it is taken to grow inwards
    rising = (_slope(line, points) > 0).at[0].set(True).at[-1].set(False)
    falls, climbs = rising[:-1] & ~rising[1:], ~rising[:-1] & rising[1:]
    root = _roots(partial(_slope, line), points, falls | climbs, falls, 2 * most + 1)
    is_mode = root.falling & ~jnp.isnan(root.u)
    minimum = jnp.where(root.falling, jnp.nan, root.u)
    mode = _first(root.u, is_mode, most)
    below = jnp.where(minimum[None] < mode[:, None], minimum[None], -jnp.inf)
    above = jnp.where(minimum[None] > mode[:, None], minimum[None], jnp.inf)
    found = ~jnp.isnan(mode)
    return Turns(mode, jnp.max(below, axis=1), jnp.min(above, axis=1), found)


def _modes_and_turns(mixture: Mixture) -> tuple[Modes, Turns]:
    return map_batch(lambda logits, component: _single(line_of(logits, component)), mixture, size=32)


_modes_and_turns_once = JitOnce(_modes_and_turns)


def _single(line: Line) -> tuple[Modes, Turns]:
    found = turns(line)
    below = line.cdf(jnp.concatenate([found.low, found.high]))
    mass = jnp.where(found.found, below[len(below) // 2 :] - below[: len(below) // 2], jnp.nan)
    height = line.log_density(found.mode)
    place = jnp.where(jnp.isnan(height), jnp.nan, line.value(found.mode))  # of a mixture that is no number there are none
    return Modes(place[:, None], height, mass, jnp.sum(found.found & ~jnp.isnan(height), axis=0)), found


def far_ends(line: Line) -> tuple[Float[Array, "1 *batch"], Float[Array, "1 *batch"]]:
    """Points of the line so far out that nothing is looked for beyond."""
    transform_targets = line.marginals.line()
    low = transform_targets.brackets(jnp.full(line.log_weight.shape[1:], MIN_TAIL_PROB, line.log_weight.dtype))[0][:, 0]
    return jnp.min(low, axis=0)[None], jnp.max(2 * transform_targets.loc[:, 0] - low, axis=0)[None]


def _slope(line: Line, u: Array) -> Array:
    return jax.jvp(line.log_density, (u,), (jnp.ones_like(u),))[1]


def _hidden(line: Line, points: Array, most: int) -> Float[Array, "M *batch"]:
    """Extrema of the slope where it may reach across zero between two points without a change of sign at them."""
    slope, bend = jax.jvp(partial(_slope, line), (points,), (jnp.ones_like(points),))
    dips = (slope[:-1] > 0) & (slope[1:] > 0) & (bend[:-1] < 0) & (bend[1:] > 0)
    peaks = (slope[:-1] <= 0) & (slope[1:] <= 0) & (bend[:-1] > 0) & (bend[1:] < 0)

    def bend_of(u: Array) -> Array:
        return jax.jvp(partial(_slope, line), (u,), (jnp.ones_like(u),))[1]

    u = _roots(bend_of, points, dips | peaks, peaks, most).u
    return jnp.where(jnp.isnan(u), points[:1], u)


class _Roots(NamedTuple):
    u: Float[Array, "M *batch"]
    falling: Bool[Array, "M *batch"]


def _roots(function: Callable[[Array], Array], points: Array, between: Array, falling: Array, most: int) -> _Roots:
    """Roots of a function in the marked intervals between points, the first `most` in their order; nan where there are fewer."""
    order = jnp.argsort(~between, axis=0, stable=True)[: min(most, between.shape[0])]
    low, high, marked, falls = (jnp.take_along_axis(part, order, axis=0) for part in (points[:-1], points[1:], between, falling))
    sign = jnp.where(falls, -1, 1)
    root = bracketed_root(lambda u: sign * function(u), low, jnp.where(marked, high, low))
    return _Roots(jnp.where(marked, root, jnp.nan), falls)


def _first(values: Array, marked: Array, most: int) -> Float[Array, "M *batch"]:
    """The marked values before the others, which become nan."""
    order = jnp.argsort(~marked, axis=0, stable=True)[:most]
    return jnp.take_along_axis(jnp.where(marked, values, jnp.nan), order, axis=0)


def _several(logits: Array, component: Component) -> Modes:
    """Ascents from all locations at once; on a bounded support along the line."""
    transform_targets = component.component if isinstance(component, Warped) else component
    num_components = transform_targets.loc.shape[0]
    batch = logits.shape[1:]

    def log_density(u: Array) -> Array:  # one example: u[D] of the start of component k, over the batch
        y = component.from_line(u) if isinstance(component, Warped) else u
        return mixture_log_prob(logits, component, y)

    starts = [transform_targets.loc[k] for k in range(num_components)]
    if isinstance(transform_targets, Laplace):
        ends = jnp.stack([_search(log_density, transform_targets, start) for start in starts])  # [K, D, *batch]
    else:
        ends = jnp.stack([_newton(log_density, transform_targets, start) for start in starts])
    height = jnp.stack([log_density(end) for end in ends])
    unit = jnp.sqrt(transform_targets.marginals().moments().second)
    apart = jnp.max(jnp.abs(ends[:, None] - ends) / jnp.minimum(unit[:, None], unit), axis=2)
    leader = jnp.argmax(apart < SAME_MODE, axis=1)  # the first component that ends at the same place
    own = leader == jnp.arange(num_components).reshape(-1, *(1 for _ in batch))
    one_hot = leader[None] == jnp.arange(num_components).reshape(-1, 1, *(1 for _ in batch))
    mass = jnp.sum(jnp.where(one_hot, jax.nn.softmax(logits, axis=0), 0), axis=1)
    order = jnp.argsort(jnp.where(own, ends[:, 0], jnp.inf), axis=0)
    values = jnp.stack([component.from_line(end) for end in ends]) if isinstance(component, Warped) else ends

    def in_order(part: Array) -> Array:
        at = order.reshape(*order.shape[:1], *(1 for _ in range(part.ndim - order.ndim)), *order.shape[1:])
        return jnp.take_along_axis(jnp.where(own.reshape(at.shape), part, jnp.nan), at, axis=0)

    return Modes(in_order(values), in_order(height), in_order(mass), jnp.sum(own, axis=0))


def _newton(log_density: Callable[[Array], Array], component: Component, start: Array) -> Float[Array, "D *batch"]:
    """Newton steps up the hill, shortened until they do climb: the Hessian is damped by more after a step that failed."""
    size = start.shape[0]
    unit = jnp.min(component.marginals().scale, axis=(0, 1)) ** -2  # pyright: ignore[reportAttributeAccessIssue]

    def gradient(u: Array) -> Array:
        return jax.grad(lambda u: jnp.sum(log_density(u)))(u)

    def step(_: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        u, height, damping = state
        slope = gradient(u)
        columns = [jax.jvp(gradient, (u,), (jnp.zeros_like(u).at[d].set(1),))[1] for d in range(size)]
        hessian = jnp.moveaxis(jnp.stack(columns), (0, 1), (-2, -1))  # [*batch, D, D]
        values, vectors = jnp.linalg.eigh(-hessian)
        bend = jnp.abs(values) + (damping * unit)[..., None]
        along = jnp.einsum("...ij,...i->...j", vectors, jnp.moveaxis(slope, 0, -1))
        new = u + jnp.moveaxis(jnp.einsum("...ij,...j->...i", vectors, along / bend), -1, 0)
        new_height = log_density(new)
        better = new_height >= height
        return (
            jnp.where(better, new, u),
            jnp.where(better, new_height, height),
            jnp.clip(jnp.where(better, damping / 4, damping * 4), 1e-12, 1e12),
        )

    height = log_density(start)
    return jax.lax.fori_loop(0, ASCENT_STEPS, step, (start, height, jnp.full_like(height, 1e-3)))[0]


def _search(log_density: Callable[[Array], Array], component: Laplace, start: Array) -> Float[Array, "D *batch"]:
    """Coordinate by coordinate the best of the locations' coordinates: along an axis a Laplace mixture is convex between them."""

    def step(i: Any, u: Array) -> Array:
        d = i % start.shape[0]
        trials = jnp.concatenate([u[None], jnp.broadcast_to(u, component.loc.shape).at[:, d].set(component.loc[:, d])])
        heights = jnp.stack([log_density(trial) for trial in trials])
        return jnp.take_along_axis(trials, jnp.argmax(heights, axis=0)[None, None], axis=0)[0]

    return jax.lax.fori_loop(0, 4 * start.shape[0], step, start)
