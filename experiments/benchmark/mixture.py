"""What is asked of a mixture, in mdnjax and beside it: checked against formulas in float64, timed in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.benchmark.peers import LEVELS, Problem, Way, absent, ways
from experiments.benchmark.timing import Contender, Timing, disagreements, race, ratio
from mdnjax.plots import STYLE

SECONDS = 2.5  # of the rounds of one function, N and K: beyond it there are fewer rounds, but three at least
MIN_ROUNDS = 3
REST = 0.01  # seconds before each turn: OpenMP's threads spin that long after PyTorch's turn, on a core that others need
SHORTEST = 0.002  # seconds of a contender's turn: what takes less is called several times
CHECKED = 10_000  # examples whose results are compared
LIMITS = {"log_prob": 2e-5, "gradient": 5e-5, "cdf": 2e-6, "quantile": 2e-6, "sample": 6.0}
MEANINGS = {
    "log_prob": "log_prob: the difference over (1 + |log p|)",
    "gradient": "gradient of sum log p by logits, loc and scale: the difference over (1 + |derivative|)",
    "cdf": "cdf: the difference",
    "quantile": "quantile: the difference between its cdf and p",
    "sample": "sample: standard errors between mean and variance of a mixture's draws and their expectations, the largest of all",
}


class Group(NamedTuple):
    """Contenders on the same function, N and K."""

    problem: Problem
    timings: list[Timing]


class Wrong(Exception):
    """Contenders that computed something else."""


def problems(sizes: Sequence[int], num_components: Sequence[int], num_draws: int) -> Iterator[Problem]:
    """All that is measured, one at a time: the arrays of the largest take 150 MB."""
    for function in ("log_prob", "gradient", "cdf"):
        for size in sizes:
            yield from (make_problem(function, size, k) for k in num_components)
    for size in sorted({sizes[0], max(sizes[-1] // 2, 1)}):
        yield from (make_problem("quantile", size, k) for k in num_components)
    yield make_problem("sample", 1, num_components[0], num_draws)
    side = math.isqrt(num_draws)
    yield from (make_problem("sample", side, k, side) for k in sorted({num_components[0], num_components[-1]}))


def make_problem(function: str, num_examples: int, num_components: int, draws: int = 0) -> Problem:
    """Mixtures of overlapping components, and a y for each within their reach."""
    generator, shape = np.random.default_rng(0), (num_examples, num_components)
    logits, loc = generator.standard_normal((2, *shape), np.float32)
    scale = np.exp(0.3 * generator.standard_normal(shape, np.float32))
    return Problem(function, logits, loc, scale, generator.standard_normal(num_examples, np.float32), draws)


def measure(chosen: Iterator[Problem], most_rounds: int, tell: Callable[[str], None]) -> Iterator[Group]:
    """Checks and times all contenders of a problem, one problem after the other.

    Raises: Wrong if one of them computes something else.
    """
    for line in absent():
        tell(line)
    for problem in chosen:
        entrants = [_contender(problem, way) for way in ways(problem)]
        truth = Contender("the formula", lambda: None, 0.0, 1)
        if wrong := disagreements([truth, *(contender for contender, _ in entrants)], LIMITS[problem.function]):
            raise Wrong(f"{_heading(problem)}: {'; '.join(wrong)}")
        rounds = int(SECONDS / sum(seconds for _, seconds in entrants))
        rounds = min(most_rounds, max(rounds, MIN_ROUNDS))
        timings = race([contender for contender, _ in entrants], rounds, lambda _: None, REST)
        tell(f"{_heading(problem)}: " + ", ".join(f"{timing.name} {1e9 * timing.median:.1f} ns" for timing in timings))
        yield Group(problem, timings)


def _heading(problem: Problem) -> str:
    number, num_components = problem.logits.shape
    draws = f", {problem.draws} draws each" if problem.draws else ""
    return f"{problem.function}, N = {number}, K = {num_components}{draws}"


def _contender(problem: Problem, way: Way) -> tuple[Contender, float]:
    """A way with its error, and the seconds of its turn."""
    error = _error(problem.first(way.num_examples), [np.asarray(out) for out in _as_tuple(way.call())])
    start = time.perf_counter()
    way.call()
    seconds = time.perf_counter() - start
    calls = max(1, math.ceil(SHORTEST / seconds))

    def turn() -> None:
        for _ in range(calls):
            way.call()

    units = way.num_examples * (len(LEVELS) if problem.function == "quantile" else max(problem.draws, 1))
    return Contender(way.name, turn, error, calls * units), calls * seconds


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _error(problem: Problem, results: list[np.ndarray]) -> float:
    """The largest error of results, by a measure of its own for each function: see MEANINGS."""
    if problem.function == "sample":
        return _error_of_draws(problem, results[0])
    chosen = np.unique(np.linspace(0, problem.num_examples - 1, CHECKED).astype(int))  # the last one too
    logits, loc, scale, y = (part[chosen].astype(float) for part in problem[1:5])
    weight = _softmax(logits)
    if problem.function == "quantile":
        return float(np.max(np.abs(_cdf(weight, loc, scale, results[0][:, chosen]) - LEVELS[:, None])))
    results = [out.reshape(problem.num_examples, -1)[chosen] for out in results]
    if problem.function == "cdf":
        return float(np.max(np.abs(results[0][:, 0] - _cdf(weight, loc, scale, y))))
    z = (y[:, None] - loc) / scale
    densities = weight * np.exp(-0.5 * z**2) / (scale * math.sqrt(2 * math.pi))
    log_prob = np.log(np.sum(densities, axis=1, keepdims=True))
    share = densities / np.exp(log_prob)
    expected = [log_prob] if problem.function == "log_prob" else [share - weight, share * z / scale, share * (z**2 - 1) / scale]
    return float(max(np.max(np.abs(a - b) / (1 + np.abs(b))) for a, b in zip(results, expected, strict=True)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weight = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return weight / np.sum(weight, axis=-1, keepdims=True)


def _cdf(weight: np.ndarray, loc: np.ndarray, scale: np.ndarray, y: np.ndarray) -> np.ndarray:
    from jax.scipy.special import ndtr  # of float32: good to 1e-7

    return np.sum(weight * np.asarray(ndtr(((y[..., None] - loc) / scale).astype(np.float32))), axis=-1)


def _error_of_draws(problem: Problem, draws: np.ndarray) -> float:
    """In standard errors, those of the draws' own distribution."""
    weight, loc, scale = _softmax(problem.logits.astype(float)), problem.loc.astype(float), problem.scale.astype(float)
    draws = draws.reshape(problem.draws, problem.num_examples).astype(float)
    mean = np.sum(weight * loc, axis=1)
    offset = loc - mean[:, None]
    second = np.sum(weight * (offset**2 + scale**2), axis=1)
    fourth = np.sum(weight * (offset**4 + 6 * offset**2 * scale**2 + 3 * scale**4), axis=1)
    errors = (np.mean(draws, axis=0) - mean) / np.sqrt(second / problem.draws)
    squares = np.mean((draws - mean) ** 2, axis=0)
    return float(max(np.max(np.abs(errors)), np.max(np.abs(squares - second) / np.sqrt((fourth - second**2) / problem.draws))))


def table(groups: Sequence[Group]) -> list[list[str]]:
    """Header and rows: nanoseconds an example (quantile, draw), and the median of the ratios to mdnjax."""
    header = ["function", "N", "K", "contender", "ns per example, median", "min", "max", "ratio to mdnjax", "rounds"]
    return [header, *(_row(group, timing) for group in groups for timing in group.timings)]


def _row(group: Group, timing: Timing) -> list[str]:
    number, num_components = group.problem.logits.shape
    size = f"{number} x {group.problem.draws} draws" if group.problem.draws else str(number)
    numbers = [f"{1e9 * seconds:.1f}" for seconds in (timing.median, min(timing.seconds), max(timing.seconds))]
    place = [group.problem.function, size, str(num_components), timing.name]
    return [*place, *numbers, f"{ratio(timing, group.timings[0]):.2f}", str(len(timing.seconds))]


def wide(groups: Sequence[Group]) -> list[list[str]]:
    """A row for each function, N and K: mdnjax's median, and how many times that its peers take (SciPy: its fastest way)."""
    peers = list(dict.fromkeys(_family(timing) for group in groups for timing in group.timings[1:]))
    rows = []
    for group in groups:
        of = {peer: [ratio(t, group.timings[0]) for t in group.timings[1:] if _family(t) == peer] for peer in peers}
        place = _row(group, group.timings[0])[:3]
        rows.append(
            [*place, f"{1e9 * group.timings[0].median:.1f}", *(f"{min(of[peer]):.2f}" if of[peer] else "" for peer in peers)]
        )
    return [["function", "N", "K", "mdnjax, ns per example", *(f"{peer}, times that" for peer in peers)], *rows]


def _family(timing: Timing) -> str:
    return "SciPy" if timing.name.startswith("SciPy") else timing.name


def notes() -> list[str]:
    """What the table does not say by itself."""
    lines = [
        "An example is a mixture with its y; of `quantile` one of three levels of a mixture, of `sample` one draw.",
        "PyTorch and numpyro have no quantile; SciPy has no gradient, and a mixture of its own for one mixture at a time only.",
        "Errors against formulas in float64, at most: "
        + "; ".join(f"{MEANINGS[name]} {limit:g}" for name, limit in LIMITS.items()),
    ]
    return lines


def plot(groups: Sequence[Group]) -> Figure:
    """Nanoseconds an example against N, of log_prob and its gradient: a row of panels each, a column for each K."""
    shown = [group for group in groups if group.problem.function in ("log_prob", "gradient")]
    columns = sorted({group.problem.logits.shape[1] for group in shown})
    names = list(dict.fromkeys(timing.name for group in shown for timing in group.timings))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(columns) + 2.4, 6.2), layout="constrained")
        panels = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
        for axes, (function, k) in zip(panels.flat, [(f, k) for f in ("log_prob", "gradient") for k in columns], strict=True):
            here = [g for g in shown if g.problem.function == function and g.problem.logits.shape[1] == k]
            _draw(axes, here, names)
            axes.set(title=f"{function}, K = {k}", xscale="log", yscale="log")
        figure.supxlabel("N, mixtures in a call")
        figure.supylabel("ns per mixture")
        lines = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
        figure.legend([lines[name] for name in names], names, loc="outside right center")
    return figure


def _draw(axes: Any, groups: Sequence[Group], names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        points = [(g.problem.num_examples, 1e9 * t.median) for g in groups for t in g.timings if t.name == name]
        if points:
            width = 2.6 if index == 0 else 1.4
            axes.plot(*zip(*points, strict=True), "o-", ms=4, lw=width, color=mpl.colormaps["tab10"](index), label=name)
