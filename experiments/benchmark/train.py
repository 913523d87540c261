"""Times the original study's training step in all implementations, and steps of which one size is different."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.benchmark import c_step, flax_steps, torch_steps
from experiments.benchmark.mdnjax_steps import of_mdnjax, study_work, work_of_sizes
from experiments.benchmark.timing import Contender, Timing, median_and_range, ratio, time_in_turn
from experiments.benchmark.work import STUDY, Sizes, Work
from experiments.charts import STYLE

TURN_SECONDS = 0.2  # approximate time of a contender's turn on a curve
NUM_TRIAL_STEPS = 20  # steps that estimate the time of a step, in which start and end of a training are a small part
MINIBATCH = 256
CURVES: dict[str, dict[int, Sizes]] = {
    "N, examples": {n: Sizes(num_examples=n) for n in (100, 1000, 10_000, 100_000)},
    "N, examples, 256 a step": {n: Sizes(num_examples=n, batch_size=MINIBATCH) for n in (1000, 10_000, 100_000, 1_000_000)},
    "K, components": {k: Sizes(num_components=k) for k in (1, 2, 5, 16, 64)},
    "H, units": {h: Sizes(hidden_sizes=(h,)) for h in (20, 64, 128, 256, 512)},
    "hidden layers of 20": {depth: Sizes(hidden_sizes=(20,) * depth) for depth in (1, 2, 3)},
    "D, targets, diagonal": {d: Sizes(num_targets=d) for d in (1, 2, 8, 32)},
    "D, targets, full": {d: Sizes(num_targets=d, family="full") for d in (1, 2, 4, 8)},
}


class Point(NamedTuple):
    """A size on a curve, or the study: seconds per step of each contender, and lower bounds of the seconds per example."""

    curve: str
    size: int | None
    sizes: Sizes
    timings: list[Timing]
    arithmetic: float
    memory: float


class Machine(NamedTuple):
    """The measured speed of this device: operations per second in a large matrix product, bytes per second in a large sum."""

    operations: float
    bandwidth: float


def contenders(num_steps: int) -> Iterator[Contender | str]:
    """Yields every contender of the study's step, or a line for one that is skipped."""
    work = study_work()
    yield of_mdnjax(work, num_steps)
    yield of_mdnjax(study_work("nll_closed_form"), num_steps, "mdnjax, Bishop's closed-form gradient")
    yield c_step.contender(work, num_steps)
    yield flax_steps.contender(work, num_steps)
    if not torch_steps.is_installed():
        yield torch_steps.NOT_INSTALLED
        return
    yield torch_steps.compiled(work, num_steps)
    yield torch_steps.eager(work, num_steps)
    yield torch_steps.published(work, num_steps)


def makers() -> list[Callable[[Work, int], Contender]]:
    """Returns the functions that make the contenders of a curve: from the work and the number of steps."""
    return [of_mdnjax, flax_steps.contender, *([torch_steps.eager] if torch_steps.is_installed() else [])]


def curve(name: str, num_rounds: int, machine: Machine, check: Callable[[list[Contender]], None]) -> Iterator[Point]:
    """Yields the timings at each size of a curve; `check` raises if the contenders have different first losses."""
    for size, sizes in CURVES[name].items():
        work = work_of_sizes(sizes)
        check([make(work, 1) for make in makers()])
        entrants = [make(work, _steps_of_a_turn(make, work)) for make in makers()]
        timings = time_in_turn(entrants, num_rounds, lambda _: None)
        yield Point(name, size, sizes, timings, *_lower_bounds(work, machine))


def measure_machine() -> Machine:
    """Measures the speed of the device, as the fastest of ten runs."""
    side, num = 2048, 2**26
    square, long = jnp.ones((side, side)), jnp.ones(num)
    product = _fastest(jax.jit(lambda a: a @ a), square)
    return Machine(2 * side**3 / product, 4 * num / _fastest(jax.jit(jnp.sum), long))


def table(points: list[Point]) -> list[list[str]]:
    """Returns a row for each size: mdnjax's nanoseconds per example, the other contenders' ratios to it, and the lower bounds."""
    names = [timing.name for timing in points[0].timings]
    header = ["", "size", f"{names[0]}, ns per example", *(f"{name}, times {names[0]}" for name in names[1:])]
    return [[*header, "arithmetic, ns", "memory, ns"], *(_row(point) for point in points)]


def progress_line(point: Point) -> str:
    """Returns a line that reports a point."""
    medians = (f"{timing.name} {_nanoseconds(point, timing)[0]} ns" for timing in point.timings)
    return ", ".join([f"{point.curve} {point.size}", *medians])


def records(timings: list[Timing], points: list[Point]) -> list[list[str]]:
    """Returns a row for each contender of the study's step and of the points, with its range."""
    header = ["work", "size", "contender", "ns per example, median", "min", "max", "ratio to the first"]
    return [header, *(row for point in [Point("the study", None, STUDY, timings, 0, 0), *points] for row in _records(point))]


def plot(points: list[Point]) -> Figure:
    """Plots each curve in a panel."""
    curves = list(dict.fromkeys(point.curve for point in points))
    with mpl.rc_context(STYLE):
        columns = math.ceil((len(curves) + 1) / 2)  # the last place is for the legend
        figure = Figure(figsize=(3.1 * columns, 6.2), layout="constrained")
        panels = list(figure.subplots(2, columns, squeeze=False).flat)
        for axes, name in zip(panels, curves, strict=False):
            _draw(axes, [point for point in points if point.curve == name])
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="lower right")
        figure.supylabel("ns per example of a training step")
    return figure


def _draw(axes: Any, points: list[Point]) -> None:
    sizes: list[Any] = [point.size for point in points]
    for index, timing in enumerate(points[0].timings):
        medians = [1e9 * point.timings[index].median / point.sizes.num_at_once for point in points]
        axes.plot(
            sizes, medians, "o-", ms=4, lw=2.6 if index == 0 else 1.4, color=mpl.colormaps["tab10"](index), label=timing.name
        )
    for style, label, bound in ((":", "arithmetic alone", "arithmetic"), ("--", "memory alone", "memory")):
        axes.plot(sizes, [1e9 * getattr(point, bound) for point in points], style, color="gray", lw=1.2, label=label)
    axes.set(xscale="log", yscale="log", title=points[0].curve)
    axes.set_xticks(sizes, [f"{size:,}" if size < 10_000 else f"1e{round(math.log10(size))}" for size in sizes])
    axes.minorticks_off()


def _steps_of_a_turn(make: Callable[[Work, int], Contender], work: Work) -> int:
    contender = make(work, NUM_TRIAL_STEPS)
    contender.run()
    start = time.perf_counter()
    contender.run()
    return max(2, min(1000, int(TURN_SECONDS / ((time.perf_counter() - start) / NUM_TRIAL_STEPS))))


def _lower_bounds(work: Work, machine: Machine) -> tuple[float, float]:
    """Returns the least seconds per example by arithmetic and by memory.

    Arithmetic counts the products of the forward pass and twice as many of the backward pass, without the gradient by the inputs;
    memory counts one reading of the example.
    """
    weights = [kernel.size for kernel, _ in work.layers]
    operations = 2 * (3 * sum(weights) - weights[0])
    return operations / machine.operations, 4 * (work.x.shape[1] + work.y.shape[1]) / machine.bandwidth


def _fastest(function: Callable[[Any], Any], argument: Any) -> float:
    jax.block_until_ready(function(argument))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - start)
    return min(times)


def _records(point: Point) -> list[list[str]]:
    size = "" if point.size is None else str(point.size)
    first = point.timings[0]
    return [[point.curve, size, t.name, *_nanoseconds(point, t), f"{ratio(t, first):.2f}"] for t in point.timings]


def _row(point: Point) -> list[str]:
    first, *rest = point.timings
    numbers = [f"{ratio(timing, first):.2f}" for timing in rest]
    bounds = [f"{1e9 * bound:.2g}" for bound in (point.arithmetic, point.memory)]
    return [point.curve, str(point.size), _nanoseconds(point, first)[0], *numbers, *bounds]


def _nanoseconds(point: Point, timing: Timing) -> list[str]:
    scale = 1e9 / point.sizes.num_at_once
    return [f"{scale * seconds:.1f}" for seconds in median_and_range(timing.seconds)]
