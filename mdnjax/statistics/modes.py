"""Modes: all of them for one target, those reached from the locations for several targets; and branches of modes along x."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.batching import map_batch
from mdnjax.compilation import JitOnce
from mdnjax.components import Component, Family, Laplace, Warped
from mdnjax.mixture import Mixture, mixture_log_prob, num_targets
from mdnjax.statistics.arguments import check_levels
from mdnjax.statistics.line import LineMixture, points_last, unwarped
from mdnjax.statistics.peaks import Peaks, centre, centred_line, find_peaks
from mdnjax.statistics.roots import in_parts
from mdnjax.types import Array, Float, Int

NUM_ASCENT_STEPS = 100
MAX_SAME_MODE_DISTANCE = 1e-3  # in standard deviations; ascents that end closer to each other have found the same mode


class Modes(NamedTuple):
    """Local maxima of p(y|x): the first `num_modes` along the axis M, sorted by the first target; the others are nan.

    mass[*batch, M] is the probability that belongs to each mode: for one target that between the minima on either side, for
    several targets the weight of the components from whose locations the ascent ends there.
    """

    y: Float[Array, "*batch M D"]
    log_density: Float[Array, "*batch M"]
    mass: Float[Array, "*batch M"]
    num_modes: Int[Array, "*batch"]


@jax.jit
def modes(mixture: Mixture) -> Modes:
    """Returns all modes of a single target; of several targets those that an ascent from each location reaches.

    One target: the derivative of log p is evaluated at points half a scale apart around every location, and at its extrema
    between them; a mode is where its sign changes. For Laplace components it is evaluated on either side of each location, which
    finds exactly all modes. A density that grows towards a bound of its support has a mode there too.
    Gaussian and Laplace mixtures on the whole line have no more modes than components.
    Several targets: damped Newton steps from each location (for Laplace components, whose modes are kinks, a search over the
    coordinates of the locations); modes that no such ascent reaches are not found.
    There are none, and all numbers are nan, if a parameter is nan or the dtype cannot resolve the mixture: loc + scale == loc for
    a component, or locations too far apart for their scales (see `centre`).
    Source: Carreira-Perpinan (2000), Mode-finding for mixtures of Gaussian distributions.
    """
    if num_targets(mixture) == 1:
        return _modes_and_peaks(mixture)[0]
    return map_batch(_modes_of_several_targets, mixture, size=8 * num_targets(mixture))


def highest_mode(mixture: Mixture, least_mass: float | Float[Array, ""] = 1e-6) -> Float[Array, "*batch D"]:
    """Returns the mode with the highest density among those whose mass is at least `least_mass`; nan if there is none.

    With heavy tails the density may grow without limit at a bound of the support; such a mode has next to no mass.
    Raises: ValueError if the least mass is not one number of [0, 1]; a traced one outside of it gives nan.
    """
    _check_least_mass("highest_mode", least_mass)
    return _highest_mode(mixture, least_mass)


def branches(mixture: Mixture, least_mass: float = 0.0) -> Float[np.ndarray, "B G"]:
    """Returns modes of a single target, followed along a batch `[G]` of neighbouring x: a row per branch, nan where it is absent.

    Modes at neighbouring x are paired so that the sum of their distances is smallest; two modes are paired only if one of them
    lies between the minima on either side of the other. Modes of a mass below `least_mass` are left out. Neither
    differentiable nor usable inside `jax.jit`.
    Raises: ValueError if the batch does not have exactly one axis, there is more than one target, or the least mass is not one
    number of [0, 1].
    """
    from scipy.optimize import linear_sum_assignment  # imported here because the import takes half a second

    if mixture.logits.ndim != 2 or num_targets(mixture) != 1:
        got = f"a batch of {mixture.logits.shape[:-1]} with {num_targets(mixture)} targets"
        raise ValueError(f"branches: got {got}, expected one axis and one target")

    _check_least_mass("branches", least_mass)
    found, peaks = jax.tree.map(np.asarray, _quickly_compiled_modes_and_peaks(mixture))
    selected = peaks.found & (found.mass >= least_mass)
    rows: list[np.ndarray] = []
    current: list[int] = []  # the row of each mode of the previous column
    for column in range(len(selected)):
        here, before = (np.flatnonzero(selected[at]) if at >= 0 else np.array([], int) for at in (column, column - 1))
        mode, low, high = (np.asarray(part[column])[here] for part in peaks[:3])
        old_mode, old_low, old_high = (np.asarray(part[max(column - 1, 0)])[before] for part in peaks[:3])
        inside = (mode[:, None] > old_low) & (mode[:, None] < old_high) | (old_mode > low[:, None]) & (old_mode < high[:, None])
        cost = np.where(inside, np.abs(mode[:, None] - old_mode), 1e6 * (1 + np.abs(mode[:, None] - old_mode)))
        continued = {i: current[j] for i, j in zip(*linear_sum_assignment(cost), strict=True) if inside[i, j]}
        current = []
        for i, index in enumerate(here):
            if i not in continued:
                rows.append(np.full(len(selected), np.nan))
            current.append(continued.get(i, len(rows) - 1))
            rows[current[-1]][column] = found.y[column, index, 0]
    return np.array(rows).reshape(len(rows), len(selected))


def _check_least_mass(name: str, least_mass: Any) -> None:
    check_levels(name, "least_mass", least_mass)
    if shape := np.shape(least_mass):
        raise ValueError(f"{name}: got a least_mass of shape {shape}, expected one number")


@jax.jit
def _highest_mode(mixture: Mixture, least_mass: Any) -> Float[Array, "*batch D"]:
    found = modes(mixture)
    enough = (found.mass >= least_mass) & (least_mass >= 0)
    best = jnp.argmax(jnp.where(enough, found.log_density, -jnp.inf), axis=-1, keepdims=True)
    y = jnp.where(enough[..., None], found.y, jnp.nan)
    return jnp.take_along_axis(y, best[..., None], axis=-2)[..., 0, :]


def _modes_and_peaks(mixture: Mixture) -> tuple[Modes, Peaks]:
    return map_batch(_modes_of_one_target, mixture, size=32)


_quickly_compiled_modes_and_peaks = JitOnce(_modes_and_peaks)


def _modes_of_one_target(logits: Array, component: Component) -> tuple[Modes, Peaks]:
    """Returns modes, and their peaks with the origin added."""
    line = centred_line(logits, component)
    peaks = find_peaks(line)
    mass = in_parts(partial(points_last, _mass, line), peaks.found, peaks.low, peaks.high)
    log_density = in_parts(partial(points_last, LineMixture.log_density, line), peaks.found, peaks.mode)
    mass, log_density = (jnp.where(peaks.found, part, jnp.nan) for part in (mass, log_density))
    found = Modes(line.value(peaks.mode)[:, None], log_density, mass, jnp.sum(peaks.found, axis=0))
    mode, low, high = (part + line.marginals.origin for part in peaks[:3])
    return found, Peaks(mode, low, high, peaks.found)


def _mass(line: LineMixture, low: Array, high: Array) -> Array:
    return line.cdf(high) - line.cdf(low)


def _modes_of_several_targets(logits: Array, component: Component) -> Modes:
    """Returns where the ascents from all locations end, without duplicates; on a bounded support they run on the real line."""
    on_line = unwarped(component)
    log_weight, loc, origin = centre(logits, on_line.loc, on_line.marginals().scale)
    on_line = on_line._replace(loc=loc)
    num_components = loc.shape[0]
    batch = logits.shape[1:]

    def log_density(u: Array) -> Array:  # of points u[D, *batch] relative to the origin
        slope = jnp.sum(component.log_slope(u + origin), axis=0) if isinstance(component, Warped) else 0
        return mixture_log_prob(log_weight, on_line, u) + slope

    ascend = _coordinate_ascent if isinstance(on_line, Laplace) else _newton_ascent
    ends = jnp.stack([ascend(log_density, on_line, on_line.loc[k]) for k in range(num_components)])  # [K, D, *batch]
    log_densities = jnp.stack([log_density(end) for end in ends])
    sd = jnp.sqrt(on_line.marginals().moments().second)
    distance = jnp.max(jnp.abs(ends[:, None] - ends) / jnp.minimum(sd[:, None], sd), axis=2)
    leader = jnp.argmax(distance < MAX_SAME_MODE_DISTANCE, axis=1)  # the first component whose ascent ends at the same mode
    is_leader = leader == jnp.arange(num_components).reshape(-1, *(1 for _ in batch))
    one_hot = leader[None] == jnp.arange(num_components).reshape(-1, 1, *(1 for _ in batch))
    mass = jnp.sum(jnp.where(one_hot, jnp.exp(log_weight), 0), axis=1)
    order = jnp.argsort(jnp.where(is_leader, ends[:, 0], jnp.inf), axis=0)
    valid = ~(jnp.isnan(log_densities[0]) | jnp.isnan(jnp.sum(log_weight, axis=0)))
    is_leader, ends = is_leader & valid, jnp.where(valid, ends + origin, jnp.nan)
    values = jnp.stack([component.from_line(end) for end in ends]) if isinstance(component, Warped) else ends

    def in_order(part: Array) -> Array:
        at = order.reshape(*order.shape[:1], *(1 for _ in range(part.ndim - order.ndim)), *order.shape[1:])
        return jnp.take_along_axis(jnp.where(is_leader.reshape(at.shape), part, jnp.nan), at, axis=0)

    return Modes(in_order(values), in_order(log_densities), in_order(mass), jnp.sum(is_leader, axis=0))


def _newton_ascent(log_density: Callable[[Array], Array], component: Family, start: Array) -> Float[Array, "D *batch"]:
    """Returns where damped Newton steps uphill end: a step that would lower the density is not taken and raises the damping."""
    size = start.shape[0]
    unit = jnp.min(component.marginals().scale, axis=(0, 1)) ** -2  # pyright: ignore[reportAttributeAccessIssue]

    def gradient(u: Array) -> Array:
        return jax.grad(lambda u: jnp.sum(log_density(u)))(u)

    def step(_: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        u, log_p, damping = state
        slope = gradient(u)
        columns = [jax.jvp(gradient, (u,), (jnp.zeros_like(u).at[d].set(1),))[1] for d in range(size)]
        hessian = jnp.moveaxis(jnp.stack(columns), (0, 1), (-2, -1))  # [*batch, D, D]
        values, vectors = jnp.linalg.eigh(-hessian)
        curvature = jnp.abs(values) + (damping * unit)[..., None]
        along = jnp.einsum("...ij,...i->...j", vectors, jnp.moveaxis(slope, 0, -1))
        new = u + jnp.moveaxis(jnp.einsum("...ij,...j->...i", vectors, along / curvature), -1, 0)
        new_log_p = log_density(new)
        better = new_log_p >= log_p
        return (
            jnp.where(better, new, u),
            jnp.where(better, new_log_p, log_p),
            jnp.clip(jnp.where(better, damping / 4, damping * 4), 1e-12, 1e12),
        )

    log_p = log_density(start)
    return jax.lax.fori_loop(0, NUM_ASCENT_STEPS, step, (start, log_p, jnp.full_like(log_p, 1e-3)))[0]


def _coordinate_ascent(log_density: Callable[[Array], Array], component: Family, start: Array) -> Float[Array, "D *batch"]:
    """Returns where coordinate-wise maximisation ends; each coordinate is chosen among those of the locations.

    These suffice: along an axis the density of a Laplace mixture is convex between the coordinates of its locations.
    """

    def step(i: Any, u: Array) -> Array:
        d = i % start.shape[0]
        trials = jnp.concatenate([u[None], jnp.broadcast_to(u, component.loc.shape).at[:, d].set(component.loc[:, d])])
        log_densities = jnp.stack([log_density(trial) for trial in trials])
        return jnp.take_along_axis(trials, jnp.argmax(log_densities, axis=0)[None, None], axis=0)[0]

    return jax.lax.fori_loop(0, 4 * start.shape[0], step, start)
