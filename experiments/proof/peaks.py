"""Independent modes and highest-density regions of one target: roots of the derivative, written out, on a dense grid."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from experiments.proof import one_target
from experiments.proof.oracles import LAPLACE, Example, Numbers, from_line, to_line


class Hills(NamedTuple):
    """Modes and minima on the line, in their order, and points on either side beyond which nothing is."""

    modes: list[float]
    minima: list[float]
    ends: tuple[float, float]


def log_density(example: Example, u: Any) -> Any:
    """log p(y) at y(u)."""
    u = np.asarray(u, float)
    return one_target.log_density_on_line(example, u) + one_target.log_slope(example, u)


def slope(example: Example, u: Any) -> Any:
    """d/du log p(y(u)), from the derivatives of the three densities."""
    u = np.asarray(u, float)[..., None]
    z, scale = (u - example.loc[:, 0]) / example.scale[:, 0], example.scale[:, 0]
    if example.df is not None:
        df = example.df[:, 0]
        own = -(df + 1) * z / (df + z**2) / scale
    else:
        own = (-np.sign(z) if example.kind is LAPLACE else -z) / scale
    log_p = example.kind.logpdf(u, *one_target.arguments(example))
    share = special.softmax(
        np.where(example.weight > 0, log_p + np.log(np.where(example.weight > 0, example.weight, 1)), -np.inf), axis=-1
    )
    return np.sum(share * own, axis=-1) + _bend(example, u[..., 0])


def hills(example: Example) -> Hills:
    """All turning points."""
    used = example.weight > 0
    loc, scale = example.loc[used, 0], example.scale[used, 0]
    far = {stats.norm: 38.0, LAPLACE: 650.0}.get(example.kind, 1e12)
    steps = np.concatenate([np.linspace(0, 12, 3001), np.geomspace(12.1, far, 400)])
    points = np.unique(np.concatenate([loc[:, None] + scale[:, None] * sign * steps for sign in (-1, 1)]))
    rising = slope(example, points) > 0
    modes, minima = [], []
    for i in np.flatnonzero(rising[:-1] != rising[1:]):
        root = float(optimize.brentq(lambda u: float(slope(example, u)), points[i], points[i + 1], xtol=1e-15))  # pyright: ignore
        (modes if rising[i] else minima).append(root)
    return Hills(modes, minima, (points[0], points[-1]))


def modes(example: Example) -> tuple[Numbers, Numbers, Numbers]:
    """Positions, log densities and masses between the minima; a bound that the density grows towards is a mode too."""
    found = hills(example)
    cuts = np.array([-np.inf, *found.minima, np.inf])
    ends = found.ends if bounded(example) else ()
    low, high = (
        (bool(sign * slope(example, end) > 0) for sign, end in zip((-1, 1), ends, strict=False)) if ends else (False, False)
    )
    at = np.array([*ends[:low], *found.modes, *ends[1 : 1 + high]])
    below = np.array([max(cuts[cuts < mode]) for mode in at])
    above = np.array([min(cuts[cuts > mode]) for mode in at])
    mass = one_target.cdf_on_line(example, above) - one_target.cdf_on_line(example, below)
    return one_target.value(example, at), log_density(example, at), mass


def bounded(example: Example) -> bool:
    """Whether there is a bound."""
    return bool(np.isfinite([example.low[0], example.high[0]]).any())


def pieces(example: Example, found: Hills, log_c: float) -> list[tuple[float, float]]:
    """The intervals of the line where log p(y) >= log c."""
    edges = [found.ends[0], *sorted([*found.modes, *found.minima]), found.ends[1]]
    parts: list[tuple[float, float]] = []
    for low, high in pairwise(edges):
        over = [float(log_density(example, end)) - log_c for end in (low, high)]
        if max(over) < 0:
            continue
        if min(over) < 0:
            root = float(optimize.brentq(lambda u: float(log_density(example, u)) - log_c, low, high, xtol=1e-15))  # pyright: ignore
            low, high = (root, high) if over[0] < 0 else (low, root)
        if parts and parts[-1][1] == low:
            parts[-1] = parts[-1][0], high
        else:
            parts.append((low, high))
    return parts


def mass(example: Example, parts: list[tuple[float, float]]) -> float:
    """Probability of a union of intervals."""
    return sum(float(one_target.cdf_on_line(example, high) - one_target.cdf_on_line(example, low)) for low, high in parts)


def region(example: Example, level: float) -> tuple[Numbers, Numbers, float]:
    """Ends of the smallest set of that probability, and its log density."""
    found = hills(example)
    top = max(float(log_density(example, mode)) for mode in found.modes)
    log_c = float(
        optimize.brentq(lambda c: mass(example, pieces(example, found, c)) - float(level), top - 200, top, xtol=1e-14)  # pyright: ignore
    )
    ends = np.array(pieces(example, found, log_c))
    low, high = (from_line(ends[:, side], example.low, example.high) for side in (0, 1))
    return low, high, log_c


def hdr_mass(example: Example, y: Numbers) -> float:
    """P(p(Y) > p(y))."""
    log_c = float(log_density(example, to_line(np.asarray(y, float), example.low, example.high))[0])
    return mass(example, pieces(example, hills(example), log_c))


def _bend(example: Example, u: Numbers) -> Numbers:
    """d/du log |du/dy|."""
    if np.isfinite(example.low[0]) and np.isfinite(example.high[0]):
        return np.tanh(u / 2)
    return np.full_like(u, float(np.isfinite(example.high[0])) - float(np.isfinite(example.low[0])))
