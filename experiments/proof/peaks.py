"""Oracles for modes and highest-density regions of one target, by the roots of the density's derivative on a dense grid."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from experiments.proof.one_target import arguments, bounds, cdf_on_line, log_density, root, value
from experiments.proof.oracles import LAPLACE, Example, Numbers


class TurningPoints(NamedTuple):
    """The sorted modes and minima on the real line, and the two points outside of which there are none."""

    modes: list[float]
    minima: list[float]
    ends: tuple[float, float]


def slope(example: Example, u: Any) -> Any:
    """Returns d/du log p(y(u)), from the derivatives of the three densities."""
    u = np.asarray(u, float)[..., None]
    z, scale = (u - example.loc[:, 0]) / example.scale[:, 0], example.scale[:, 0]
    if example.df is not None:
        df = example.df[:, 0]
        slopes = -(df + 1) * z / (df + z**2) / scale
    else:
        slopes = (-np.sign(z) if example.kind is LAPLACE else -z) / scale
    used = example.weight > 0
    log_joint = example.kind.logpdf(u, *arguments(example)) + np.log(np.where(used, example.weight, 1))
    responsibilities = special.softmax(np.where(used, log_joint, -np.inf), axis=-1)
    return np.sum(responsibilities * slopes, axis=-1) + _slope_of_log_slope(example, u[..., 0])


def turning_points(example: Example) -> TurningPoints:
    """Returns all turning points of the density."""
    points, rising = rising_on_grid(example, 3001)
    modes, minima = [], []
    for i in np.flatnonzero(rising[:-1] != rising[1:]):
        (modes if rising[i] else minima).append(root(lambda u: float(slope(example, u)), points[i], points[i + 1]))
    return TurningPoints(modes, minima, (points[0], points[-1]))


def cells_of_modes(example: Example) -> Numbers:
    """Returns the two ends `[M, 2]` of each interval of a fine grid in which the density stops rising."""
    points, rising = rising_on_grid(example, 601)
    ends = np.flatnonzero(rising[:-1] & ~rising[1:])
    return np.stack([points[ends], points[ends + 1]], axis=-1)


def rising_on_grid(example: Example, num_steps: int) -> tuple[Numbers, Numbers]:
    """Returns points of the real line, which are dense up to 12 scales from each location, and where the density rises."""
    used = example.weight > 0
    loc, scale = example.loc[used, 0], example.scale[used, 0]
    last_step = {stats.norm: 38.0, LAPLACE: 650.0}.get(example.kind, 1e12)
    beside = np.geomspace(1e-9, 1e-3, 7)  # next to a kink the density may rise or fall for less than a step
    steps = np.concatenate([beside, np.linspace(0, 12, num_steps), np.geomspace(12.1, last_step, 400)])
    points = np.unique(np.concatenate([loc[:, None] + scale[:, None] * sign * steps for sign in (-1, 1)]))
    return points, slope(example, points) > 0


def modes(example: Example) -> tuple[Numbers, Numbers, Numbers]:
    """Returns position, log density and mass of each mode; a bound towards which the density rises is a mode too."""
    found = turning_points(example)
    cuts = np.array([-np.inf, *found.minima, np.inf])
    low, high = (
        any(bounds(example)) and bool(sign * slope(example, end) > 0) for sign, end in zip((-1, 1), found.ends, strict=True)
    )
    at = np.array([*found.ends[:low], *found.modes, *found.ends[1 : 1 + high]])
    below = np.array([max(cuts[cuts < mode]) for mode in at])
    above = np.array([min(cuts[cuts > mode]) for mode in at])
    return value(example, at), log_density(example, at), cdf_on_line(example, above) - cdf_on_line(example, below)


def pieces(example: Example, found: TurningPoints, log_c: float) -> list[tuple[float, float]]:
    """Returns the intervals of the real line where log p(y) >= log c."""
    edges = [found.ends[0], *sorted([*found.modes, *found.minima]), found.ends[1]]
    parts: list[tuple[float, float]] = []
    for low, high in pairwise(edges):
        excess = [float(log_density(example, end)) - log_c for end in (low, high)]
        if max(excess) < 0:
            continue
        if min(excess) < 0:
            crossing = root(lambda u: float(log_density(example, u)) - log_c, low, high)
            low, high = (crossing, high) if excess[0] < 0 else (low, crossing)
        if parts and parts[-1][1] == low:
            parts[-1] = parts[-1][0], high
        else:
            parts.append((low, high))
    return parts


def mass(example: Example, parts: list[tuple[float, float]]) -> float:
    """Returns the probability of a union of intervals."""
    return sum(float(cdf_on_line(example, high) - cdf_on_line(example, low)) for low, high in parts)


def region(example: Example, level: float) -> tuple[Numbers, Numbers, float]:
    """Returns the ends of the smallest set with a probability of `level`, and the log density at them."""
    found = turning_points(example)
    top = max(float(log_density(example, mode)) for mode in found.modes)
    log_c = root(lambda c: mass(example, pieces(example, found, c)) - float(level), top - 200, top, xtol=1e-14)
    low, high = (value(example, ends) for ends in np.array(pieces(example, found, log_c)).T)
    return low, high, log_c


def hdr_mass(example: Example, y: Numbers) -> float:
    """Returns P(p(Y) > p(y))."""
    log_c = float(log_density(example, example.to_line(y))[0])
    return mass(example, pieces(example, turning_points(example), log_c))


def _slope_of_log_slope(example: Example, u: Numbers) -> Numbers:
    """Returns d/du log |du/dy|."""
    has_low, has_high = bounds(example)
    return np.tanh(u / 2) if has_low and has_high else np.full_like(u, float(has_high) - float(has_low))
