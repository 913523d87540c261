"""Independent answers for one target: roots by scipy, integrals by Gauss-Legendre on panels that grow from each location."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import optimize, special

from experiments.proof.oracles import LAPLACE, Example, Numbers, from_line, to_line

NODES, RULE = np.polynomial.legendre.leggauss(24)


def log_density_on_line(example: Example, u: Numbers) -> Numbers:
    """log p of u itself."""
    log_p = example.kind.logpdf(u[..., None], *arguments(example))
    with np.errstate(divide="ignore"):
        return np.asarray(special.logsumexp(log_p, b=example.weight, axis=-1))


def log_slope(example: Example, u: Numbers) -> Numbers:
    """log du/dy at u, from du/dy at y(u), written so that it does not overflow."""
    if np.isfinite(example.low[0]) and np.isfinite(example.high[0]):
        return np.logaddexp(u, 0) + np.logaddexp(-u, 0) - np.log(example.high[0] - example.low[0])
    if np.isfinite(example.low[0]):
        return -u
    return u if np.isfinite(example.high[0]) else np.zeros_like(u)


def cdf(example: Example, y: Any) -> float:
    """P(Y <= y)."""
    return _clipped(example, y, lambda u: cdf_on_line(example, u), (0.0, 1.0))


def survival(example: Example, y: Any) -> float:
    """P(Y > y)."""
    return _clipped(example, y, lambda u: survival_on_line(example, u), (1.0, 0.0))


def cdf_on_line(example: Example, u: Any) -> Any:
    """P(U <= u)."""
    return (example.weight * example.kind.cdf(np.asarray(u)[..., None], *arguments(example))).sum(-1)


def survival_on_line(example: Example, u: Any) -> Any:
    """P(U > u)."""
    return (example.weight * example.kind.sf(np.asarray(u)[..., None], *arguments(example))).sum(-1)


def quantile_on_line(example: Example, p: float) -> float:
    """The root of the cdf, or of the survival in the upper half, between the components' quantiles."""
    used = example.weight > 0
    ends = example.kind.ppf(p, *arguments(example))[used]
    low, high = ends.min() - 1e-9, ends.max() + 1e-9
    if p < 0.5:
        return float(optimize.brentq(lambda u: cdf_on_line(example, u) - p, low, high, xtol=1e-15, rtol=1e-15))  # pyright: ignore
    return float(optimize.brentq(lambda u: 1 - p - survival_on_line(example, u), low, high, xtol=1e-15, rtol=1e-15))  # pyright: ignore


def quantile(example: Example, p: float) -> Numbers:
    """The y with cdf p."""
    return from_line(np.array([quantile_on_line(example, float(p))]), example.low, example.high)


def expected_shortfall(example: Example, p: float) -> Numbers:
    """E[Y; Y <= quantile] / p."""
    end = quantile_on_line(example, float(p))
    return np.array([integral(example, lambda u: value(example, u), end=end) / float(p)])


def value(example: Example, u: Numbers) -> Numbers:
    """y(u)."""
    return from_line(u[:, None], example.low, example.high)[:, 0]


def integral(example: Example, function: Callable[[Numbers], Numbers], end: float = np.inf, cut: tuple[float, ...] = ()) -> float:
    """E[function(U); U <= end]."""
    nodes, weight = panels(example, end, cut)
    density = np.exp(log_density_on_line(example, nodes))
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.where(density > 0, density * function(nodes), 0)
    return float(np.sum(weight * terms))


def moment_is_infinite(example: Example, order: int) -> bool:
    """Heavy tails: t of few degrees of freedom, and the exponential of a Laplace or t variable."""
    used = example.weight > 0
    one_sided = np.isfinite(example.low[0]) != np.isfinite(example.high[0])
    if np.isfinite(example.low[0]) and np.isfinite(example.high[0]):
        return False
    if example.df is not None:
        return one_sided or bool((example.df[used] <= order).any())
    return bool(one_sided and example.kind is LAPLACE and (order * example.scale[used] >= 1).any())


def mean(example: Example) -> float:
    """E[Y]."""
    return np.inf * _side(example) if moment_is_infinite(example, 1) else integral(example, lambda u: value(example, u))


def central(example: Example, order: int) -> float:
    """E[(Y - E[Y])^order]; infinite where it is, nan where there is no mean to be central to."""
    if moment_is_infinite(example, 1):
        return np.nan
    if moment_is_infinite(example, order):
        return np.inf
    middle = mean(example)
    nodes, weight = panels(example, np.inf, ())
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        away = value(example, nodes) - middle
        log_away = np.log(np.abs(away))
        if np.isfinite(example.low[0]) != np.isfinite(example.high[0]):  # exp(|u|) but for the bound, where it overflows
            log_away = np.where(_side(example) * nodes > 200, np.abs(nodes), log_away)
        size = np.exp(log_density_on_line(example, nodes) + order * log_away)
    return float(np.sum(weight * np.where(np.isfinite(size), np.sign(away) ** order * size, 0)))


def entropy(example: Example) -> float:
    """-E[log p(Y)]."""
    return -integral(example, lambda u: log_density_on_line(example, u) + log_slope(example, u))


def squared_density(example: Example) -> float:
    """The integral of p(y)^2."""
    return integral(example, lambda u: np.exp(log_density_on_line(example, u) + log_slope(example, u)))


def crps(example: Example, y: Numbers) -> float:
    """The integral of (F(t) - [y <= t])^2."""
    at = float(to_line(y, example.low, example.high)[0])
    nodes, weight = panels(example, np.inf, (at,))
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        below = nodes < at
        tail = np.concatenate([cdf_on_line(example, nodes[below]), survival_on_line(example, nodes[~below])])  # nodes are sorted
        return float(np.sum(weight * np.exp(2 * np.log(tail) - log_slope(example, nodes))))


def arguments(example: Example) -> tuple[Any, ...]:
    """Of scipy's distribution of every component."""
    return (*(part[:, 0] for part in example.shape()), example.loc[:, 0], example.scale[:, 0])


def _side(example: Example) -> int:
    return -1 if np.isfinite(example.high[0]) else 1


def _clipped(example: Example, y: Any, function: Callable[[Any], Any], ends: tuple[float, float]) -> float:
    y = float(np.ravel(y)[0])
    if y <= example.low[0]:
        return ends[0]
    return ends[1] if y >= example.high[0] else float(function(to_line(np.array(y), example.low[0], example.high[0])))


def panels(example: Example, end: float, cut: tuple[float, ...]) -> tuple[Numbers, Numbers]:
    """Nodes and weights; panels double from a fiftieth of a scale until the densities are gone."""
    return _rule(tuple(example.loc[:, 0]), tuple(example.scale[:, 0]), example.df is not None, end, (0.0, *cut))


@lru_cache(maxsize=64)
def _rule(
    locs: tuple[float, ...], scales: tuple[float, ...], heavy: bool, end: float, cuts: tuple[float, ...]
) -> tuple[Numbers, Numbers]:
    steps = np.concatenate([[0], np.geomspace(0.02, 1e40 if heavy else 1e5, 180 if heavy else 90)])
    edges = [loc + sign * scale * steps for loc, scale in zip(locs, scales, strict=True) for sign in (-1, 1)]
    near = [cut + sign * min(scales) * steps for cut in (*cuts, end) if np.isfinite(cut) for sign in (-1, 1)]
    points = np.unique(np.minimum(np.concatenate([*edges, *near]), end))
    panels = np.array([pair for pair in pairwise(points) if pair[1] > pair[0]])
    half = np.diff(panels, axis=1) / 2
    return (panels.mean(1, keepdims=True) + half * NODES).ravel(), (half * RULE).ravel()
