"""Oracles for one target: roots by scipy, integrals by Gauss-Legendre rules on panels that grow away from each location."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize, special

from experiments.proof.oracles import LAPLACE, Example, Numbers

NODES, RULE = np.polynomial.legendre.leggauss(24)
HEAVY_DF = 2.6  # below it the variance needs points up to 1e140 scales away


def log_density_on_line(example: Example, u: Numbers) -> Numbers:
    """Returns log p(u), the density on the real line."""
    log_p = example.kind.logpdf(u[..., None], *arguments(example))
    with np.errstate(divide="ignore"):
        return np.asarray(special.logsumexp(log_p, b=example.weight, axis=-1))


def log_slope(example: Example, u: Numbers) -> Numbers:
    """Returns log du/dy at y(u), written in u because du/dy overflows in y."""
    has_low, has_high = bounds(example)
    if has_low and has_high:
        return np.logaddexp(u, 0) + np.logaddexp(-u, 0) - np.log(example.high[0] - example.low[0])
    if has_low:
        return -u
    return u if has_high else np.zeros_like(u)


def log_density(example: Example, u: Any) -> Any:
    """Returns log p(y) at y(u)."""
    u = np.asarray(u, float)
    return log_density_on_line(example, u) + log_slope(example, u)


def cdf(example: Example, y: Any) -> float:
    """Returns P(Y <= y)."""
    return _within_bounds(example, y, cdf_on_line, (0.0, 1.0))


def survival(example: Example, y: Any) -> float:
    """Returns P(Y > y)."""
    return _within_bounds(example, y, survival_on_line, (1.0, 0.0))


def interval_prob(example: Example, low: Any, high: Any) -> float:
    """Returns P(low < Y <= high)."""
    return cdf(example, high) - cdf(example, low)


def cdf_on_line(example: Example, u: Any) -> Any:
    """Returns P(U <= u)."""
    return (example.weight * example.kind.cdf(np.asarray(u)[..., None], *arguments(example))).sum(-1)


def survival_on_line(example: Example, u: Any) -> Any:
    """Returns P(U > u)."""
    return (example.weight * example.kind.sf(np.asarray(u)[..., None], *arguments(example))).sum(-1)


def quantile_on_line(example: Example, p: float) -> float:
    """Returns the root of cdf - p, or of 1 - p - survival in the upper half, between the quantiles of the components."""
    ends = example.kind.ppf(p, *arguments(example))[example.weight > 0]

    def difference(u: float) -> Any:
        return cdf_on_line(example, u) - p if p < 0.5 else 1 - p - survival_on_line(example, u)

    return root(difference, ends.min() - 1e-9, ends.max() + 1e-9, rtol=1e-15)


def quantile(example: Example, p: float) -> Numbers:
    """Returns the y with cdf p."""
    return example.from_line(np.array([quantile_on_line(example, float(p))]))


def expected_shortfall(example: Example, p: float) -> Numbers:
    """Returns E[Y; Y <= quantile(p)] / p."""
    end = quantile_on_line(example, float(p))
    return np.array([integral(example, lambda u: value(example, u), end=end) / float(p)])


def value(example: Example, u: Numbers) -> Numbers:
    """Returns y(u) of points without an axis of targets."""
    return example.from_line(u[..., None])[..., 0]


def integral(example: Example, function: Callable[[Numbers], Numbers], end: float = np.inf) -> float:
    """Returns E[function(U); U <= end]."""
    nodes, weight = panels(example, end)
    density = np.exp(log_density_on_line(example, nodes))
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.where(density > 0, density * function(nodes), 0)
    return float(np.sum(weight * terms))


def moment_is_infinite(example: Example, order: int) -> bool:
    """Returns whether the tails are too heavy for a finite moment."""
    has_low, has_high = bounds(example)
    if has_low and has_high:
        return False
    used, one_sided = example.weight > 0, has_low or has_high
    if example.df is not None:
        return one_sided or bool((example.df[used] <= order).any())
    return bool(one_sided and example.kind is LAPLACE and (order * example.scale[used] >= 1).any())


def mean(example: Example) -> float:
    """Returns E[Y]."""
    if moment_is_infinite(example, 1):
        return np.inf * _unbounded_side(example)
    return integral(example, lambda u: value(example, u))


def central(example: Example, order: int) -> float:
    """Returns E[(Y - E[Y])^order], which may be infinite; nan if the mean is infinite, or the moment is in both directions."""
    has_low, has_high = bounds(example)
    if moment_is_infinite(example, 1):
        return np.nan
    if moment_is_infinite(example, order):
        return np.inf if order % 2 == 0 or has_low or has_high else np.nan
    middle = mean(example)
    nodes, weight = panels(example)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        deviation = value(example, nodes) - middle
        log_deviation = np.log(np.abs(deviation))
        if has_low != has_high:  # far from the bound |y - E[Y]| is exp(|u|), which overflows
            log_deviation = np.where(_unbounded_side(example) * nodes > 200, np.abs(nodes), log_deviation)
        size = np.exp(log_density_on_line(example, nodes) + order * log_deviation)
    return float(np.sum(weight * np.where(np.isfinite(size), np.sign(deviation) ** order * size, 0)))


def entropy(example: Example) -> float:
    """Returns -E[log p(Y)]."""
    return -integral(example, lambda u: log_density(example, u))


def squared_density(example: Example) -> float:
    """Returns the integral of p(y)^2."""
    return integral(example, lambda u: np.exp(log_density(example, u)))


def crps(example: Example, y: Numbers) -> float:
    """Returns the integral of (F(t) - [y <= t])^2; beyond a bound it grows with the distance from it."""
    nearest = np.clip(y, example.low, example.high)
    distance = 0.0 if np.array_equal(y, nearest) else float(np.abs(y - nearest)[0])
    return np.inf if np.isinf(y[0]) else distance + _crps_inside(example, nearest)


def _crps_inside(example: Example, y: Numbers) -> float:
    at = float(example.to_line(y)[0])
    nodes, weight = panels(example, cut=(at,))
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        below = nodes < at
        tail = np.concatenate([cdf_on_line(example, nodes[below]), survival_on_line(example, nodes[~below])])  # nodes are sorted
        return float(np.sum(weight * np.exp(2 * np.log(tail) - log_slope(example, nodes))))


def arguments(example: Example) -> tuple[Any, ...]:
    """Returns the arguments of scipy's distribution, for all components."""
    return (*(part[:, 0] for part in example.shape()), example.loc[:, 0], example.scale[:, 0])


def bounds(example: Example) -> tuple[bool, bool]:
    """Whether the target has a lower and an upper bound."""
    return bool(np.isfinite(example.low[0])), bool(np.isfinite(example.high[0]))


def root(function: Callable[[float], Any], low: float, high: float, xtol: float = 1e-15, rtol: float = 2.0**-50) -> float:
    """Returns the root of a function between two points where its signs differ; scipy allows no smaller `rtol`."""
    return float(optimize.brentq(function, low, high, xtol=xtol, rtol=rtol))  # pyright: ignore


def panels(example: Example, end: float = np.inf, cut: tuple[float, ...] = ()) -> tuple[Numbers, Numbers]:
    """Returns nodes and weights up to `end`; panels grow from a fiftieth of a scale until the densities vanish."""
    heavy = example.df is not None and bool((example.df < HEAVY_DF).any()) and not any(bounds(example))
    reach = 1e140 if heavy else 1e5 if example.df is None else 1e40
    return _panels(tuple(example.loc[:, 0]), tuple(example.scale[:, 0]), reach, end, (0.0, *cut))


def gauss_legendre(points: Numbers) -> tuple[Numbers, Numbers]:
    """Returns nodes and weights of a rule on each of the panels between sorted points."""
    half = np.diff(points)[:, None] / 2
    middles = (points[:-1, None] + points[1:, None]) / 2
    return (middles + half * NODES).ravel(), (half * RULE).ravel()


@lru_cache(maxsize=64)
def _panels(
    locs: tuple[float, ...], scales: tuple[float, ...], reach: float, end: float, cuts: tuple[float, ...]
) -> tuple[Numbers, Numbers]:
    num_steps = {1e140: 600, 1e40: 180}.get(reach, 90)
    steps = np.concatenate([[0], np.geomspace(0.02, reach, num_steps)])
    edges = [loc + sign * scale * steps for loc, scale in zip(locs, scales, strict=True) for sign in (-1, 1)]
    edges += [cut + sign * min(scales) * steps for cut in (*cuts, end) if np.isfinite(cut) for sign in (-1, 1)]
    return gauss_legendre(np.unique(np.minimum(np.concatenate(edges), end)))


def _unbounded_side(example: Example) -> int:
    return -1 if bounds(example)[1] else 1


def _within_bounds(example: Example, y: Any, function: Callable[[Example, Any], Any], ends: tuple[float, float]) -> float:
    """Returns a function at u(y), or one of `ends`, its values below the lower and above the upper bound."""
    y = float(np.ravel(y)[0])
    if y <= example.low[0]:
        return ends[0]
    return ends[1] if y >= example.high[0] else float(function(example, example.to_line([y])[0]))
