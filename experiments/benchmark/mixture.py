"""Times the functions of a mixture in mdnjax and other libraries, after comparing their results with formulas in float64."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.benchmark.peers import LEVELS, Implementation, Problem, implementations, missing_packages
from experiments.benchmark.timing import Contender, Timing, disagreements, median_and_range, ratio, time_in_turn
from experiments.charts import STYLE

MAX_SECONDS = 2.5  # of all rounds of one function, N and K: beyond it there are fewer rounds, but at least MIN_ROUNDS
MIN_ROUNDS = 3
PAUSE = 0.01  # seconds before each turn: after PyTorch's turn OpenMP's threads stay active that long on a core that others need
MIN_TURN = 0.002  # seconds of a contender's turn: a shorter call is repeated
NUM_CHECKED = 10_000  # examples whose results are compared
MAX_ERRORS = {"log_prob": 2e-5, "gradient": 5e-5, "cdf": 2e-6, "quantile": 2e-6, "sample": 6.0}
ERROR_MEASURES = {
    "log_prob": "log_prob: difference over (1 + |log p|)",
    "gradient": "gradient of sum log p by logits, loc and scale: difference over (1 + |derivative|)",
    "cdf": "cdf: difference",
    "quantile": "quantile: difference between its cdf and p",
    "sample": "sample: difference of mean and variance of the draws from their expectations, in standard errors",
}


class Comparison(NamedTuple):
    """Timings of all contenders for one function, N and K; mdnjax is the first."""

    problem: Problem
    timings: list[Timing]


class WrongResult(Exception):
    """Contenders with errors above the limit; its text is one line."""


def problems(sizes: Sequence[int], num_components: Sequence[int], num_draws: int) -> Iterator[Problem]:
    """Yields all problems, one at a time because the arrays of the largest take 150 MB."""
    for function in ("log_prob", "gradient", "cdf"):
        for size in sizes:
            yield from (make_problem(function, size, k) for k in num_components)
    for size in sorted({sizes[0], max(sizes[-1] // 2, 1)}):
        yield from (make_problem("quantile", size, k) for k in num_components)
    yield make_problem("sample", 1, num_components[0], num_draws)
    side = math.isqrt(num_draws)
    yield from (make_problem("sample", side, k, side) for k in sorted({num_components[0], num_components[-1]}))


def make_problem(function: str, num_examples: int, num_components: int, num_draws: int = 0) -> Problem:
    """Returns mixtures of overlapping components, and a y in the range of each."""
    generator, shape = np.random.default_rng(0), (num_examples, num_components)
    logits, loc = generator.standard_normal((2, *shape), np.float32)
    scale = np.exp(0.3 * generator.standard_normal(shape, np.float32))
    return Problem(function, logits, loc, scale, generator.standard_normal(num_examples, np.float32), num_draws)


def measure(chosen: Iterator[Problem], max_rounds: int, report: Callable[[str], None]) -> Iterator[Comparison]:
    """Checks and times all contenders of each problem.

    Raises: WrongResult if the error of a contender is above the limit.
    """
    for line in missing_packages():
        report(line)
    for problem in chosen:
        contenders, seconds = zip(*(_contender(problem, found) for found in implementations(problem)), strict=True)
        truth = Contender("the formula", lambda: None, 0.0, 1)
        if wrong := disagreements([truth, *contenders], MAX_ERRORS[problem.function]):
            raise WrongResult(f"{_heading(problem)}: {'; '.join(wrong)}")
        num_rounds = min(max_rounds, max(int(MAX_SECONDS / sum(seconds)), MIN_ROUNDS))
        timings = time_in_turn(contenders, num_rounds, lambda _: None, PAUSE)
        report(f"{_heading(problem)}: " + ", ".join(f"{timing.name} {1e9 * timing.median:.1f} ns" for timing in timings))
        yield Comparison(problem, timings)


def _heading(problem: Problem) -> str:
    number, num_components = problem.logits.shape
    draws = f", {problem.num_draws} draws each" if problem.num_draws else ""
    return f"{problem.function}, N = {number}, K = {num_components}{draws}"


def _contender(problem: Problem, implementation: Implementation) -> tuple[Contender, float]:
    """Returns a contender, whose check is its error, and the seconds of its turn."""
    name, call, num_examples = implementation
    error = _error(problem.first(num_examples), [np.asarray(out) for out in _as_tuple(call())])
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    num_calls = max(1, math.ceil(MIN_TURN / seconds))

    def run() -> None:
        for _ in range(num_calls):
            call()

    num_units = num_examples * (len(LEVELS) if problem.function == "quantile" else max(problem.num_draws, 1))
    return Contender(name, run, error, num_calls * num_units), num_calls * seconds


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _error(problem: Problem, results: list[np.ndarray]) -> float:
    """Returns the largest error of the results by the measure of the function in ERROR_MEASURES."""
    if problem.function == "sample":
        return _error_of_draws(problem, results[0])
    checked = np.unique(np.linspace(0, problem.num_examples - 1, NUM_CHECKED).astype(int))  # the first and last are among them
    logits, loc, scale, y = (part[checked].astype(float) for part in problem[1:5])
    weights = _softmax(logits)
    if problem.function == "quantile":
        return float(np.max(np.abs(_cdf(weights, loc, scale, results[0][:, checked]) - LEVELS[:, None])))
    results = [out.reshape(problem.num_examples, -1)[checked] for out in results]
    if problem.function == "cdf":
        return float(np.max(np.abs(results[0][:, 0] - _cdf(weights, loc, scale, y))))
    z = (y[:, None] - loc) / scale
    densities = weights * np.exp(-0.5 * z**2) / (scale * math.sqrt(2 * math.pi))
    log_prob = np.log(np.sum(densities, axis=1, keepdims=True))
    r = densities / np.exp(log_prob)  # responsibilities
    expected = [log_prob] if problem.function == "log_prob" else [r - weights, r * z / scale, r * (z**2 - 1) / scale]
    return float(max(np.max(np.abs(a - b) / (1 + np.abs(b))) for a, b in zip(results, expected, strict=True)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True)


def _cdf(weights: np.ndarray, loc: np.ndarray, scale: np.ndarray, y: np.ndarray) -> np.ndarray:
    from jax.scipy.special import ndtr  # in float32, exact to 1e-7

    return np.sum(weights * np.asarray(ndtr(((y[..., None] - loc) / scale).astype(np.float32))), axis=-1)


def _error_of_draws(problem: Problem, draws: np.ndarray) -> float:
    """Returns the largest error of the means and variances of draws, in standard errors of the exact distribution."""
    weights, loc, scale = _softmax(problem.logits.astype(float)), problem.loc.astype(float), problem.scale.astype(float)
    draws = draws.reshape(problem.num_draws, problem.num_examples).astype(float)
    mean = np.sum(weights * loc, axis=1)
    offset = loc - mean[:, None]
    second = np.sum(weights * (offset**2 + scale**2), axis=1)
    fourth = np.sum(weights * (offset**4 + 6 * offset**2 * scale**2 + 3 * scale**4), axis=1)
    errors = (np.mean(draws, axis=0) - mean) / np.sqrt(second / problem.num_draws)
    squares = np.mean((draws - mean) ** 2, axis=0)
    variance_errors = (squares - second) / np.sqrt((fourth - second**2) / problem.num_draws)
    return float(max(np.max(np.abs(errors)), np.max(np.abs(variance_errors))))


def full_table(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Returns a row for each contender: nanoseconds per example, quantile or draw, and the median ratio to mdnjax."""
    header = ["function", "N", "K", "contender", "ns per example, median", "min", "max", "ratio to mdnjax", "rounds"]
    return [header, *(_row(comparison, timing) for comparison in comparisons for timing in comparison.timings)]


def _row(comparison: Comparison, timing: Timing) -> list[str]:
    problem, timings = comparison
    number, num_components = problem.logits.shape
    size = f"{number} x {problem.num_draws} draws" if problem.num_draws else str(number)
    numbers = [f"{1e9 * seconds:.1f}" for seconds in median_and_range(timing.seconds)]
    names = [problem.function, size, str(num_components), timing.name]
    return [*names, *numbers, f"{ratio(timing, timings[0]):.2f}", str(len(timing.seconds))]


def short_table(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Returns a row for each function, N and K: mdnjax's median, and the ratio of each library (SciPy: the fastest) to it."""
    libraries = list(dict.fromkeys(_library(timing) for comparison in comparisons for timing in comparison.timings[1:]))
    rows = []
    for comparison in comparisons:
        first, *others = comparison.timings
        ratios = {name: [ratio(timing, first) for timing in others if _library(timing) == name] for name in libraries}
        sizes = _row(comparison, first)[:3]
        rows.append([*sizes, f"{1e9 * first.median:.1f}", *(f"{min(found):.2f}" if found else "" for found in ratios.values())])
    return [["function", "N", "K", "mdnjax, ns per example", *(f"{name}, times mdnjax" for name in libraries)], *rows]


def _library(timing: Timing) -> str:
    return "SciPy" if timing.name.startswith("SciPy") else timing.name


def notes() -> list[str]:
    """Returns the notes below the table."""
    limits = "; ".join(f"{ERROR_MEASURES[name]} {limit:g}" for name, limit in MAX_ERRORS.items())
    return [
        "An example is one mixture with its y; of `quantile` it is one of three levels of a mixture, of `sample` one draw.",
        "PyTorch and numpyro have no quantile. SciPy has no gradient, and its class Mixture holds only one mixture.",
        f"Largest errors that are allowed, compared with formulas in float64: {limits}.",
    ]


def plot(comparisons: Sequence[Comparison]) -> Figure:
    """Plots nanoseconds per example against N: a row of panels for log_prob and one for its gradient, a column for each K."""
    shown = [comparison for comparison in comparisons if comparison.problem.function in ("log_prob", "gradient")]
    columns = sorted({comparison.problem.logits.shape[1] for comparison in shown})
    names = list(dict.fromkeys(timing.name for comparison in shown for timing in comparison.timings))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(columns) + 2.4, 6.2), layout="constrained")
        panels = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
        for axes, (function, k) in zip(panels.flat, [(f, k) for f in ("log_prob", "gradient") for k in columns], strict=True):
            _draw(axes, [(p, timings) for p, timings in shown if (p.function, p.logits.shape[1]) == (function, k)], names)
            axes.set(title=f"{function}, K = {k}", xscale="log", yscale="log")
        figure.supxlabel("N, mixtures in a call")
        figure.supylabel("ns per mixture")
        lines = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
        figure.legend([lines[name] for name in names], names, loc="outside right center")
    return figure


def _draw(axes: Any, comparisons: Sequence[tuple[Problem, list[Timing]]], names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        points = [(p.num_examples, 1e9 * t.median) for p, timings in comparisons for t in timings if t.name == name]
        if points:
            width = 2.6 if index == 0 else 1.4
            axes.plot(*zip(*points, strict=True), "o-", ms=4, lw=width, color=mpl.colormaps["tab10"](index), label=name)
