"""The original study's training step in mdnjax and beside it; then one size at a time, the others as in the study."""

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
from experiments.benchmark.mdnjax_steps import of_mdnjax, study, work_of
from experiments.benchmark.timing import Contender, Timing, race, ratio
from experiments.benchmark.work import STUDY, Sizes, Work
from mdnjax.plots import STYLE

TURN = 0.2  # seconds of a contender's turn on a curve, about
TRIED = 20  # steps that tell how long a turn is: what a training begins and ends with must not count for much
MINIBATCH = 256
CURVES: dict[str, tuple[Sizes, ...]] = {
    "N, examples": tuple(Sizes(num_examples=n) for n in (100, 1000, 10_000, 100_000)),
    "N, examples, 256 a step": tuple(Sizes(num_examples=n, batch_size=MINIBATCH) for n in (1000, 10_000, 100_000, 1_000_000)),
    "K, components": tuple(Sizes(num_components=k) for k in (1, 2, 5, 16, 64)),
    "H, units": tuple(Sizes(hidden_sizes=(h,)) for h in (20, 64, 128, 256, 512)),
    "hidden layers of 20": tuple(Sizes(hidden_sizes=(20,) * depth) for depth in (1, 2, 3)),
    "D, targets, diagonal": tuple(Sizes(num_targets=d) for d in (1, 2, 8, 32)),
    "D, targets, full": tuple(Sizes(num_targets=d, family="full") for d in (1, 2, 4, 8)),
}
TICKS: dict[str, Callable[[Sizes], int]] = {
    "N, examples": lambda sizes: sizes.num_examples,
    "N, examples, 256 a step": lambda sizes: sizes.num_examples,
    "K, components": lambda sizes: sizes.num_components,
    "H, units": lambda sizes: sizes.hidden_sizes[0],
    "hidden layers of 20": lambda sizes: len(sizes.hidden_sizes),
    "D, targets, diagonal": lambda sizes: sizes.num_targets,
    "D, targets, full": lambda sizes: sizes.num_targets,
}


class Point(NamedTuple):
    """A size on a curve: the contenders' seconds a step, and the least that arithmetic and memory allow (seconds an example)."""

    curve: str
    sizes: Sizes
    timings: list[Timing]
    arithmetic: float
    memory: float


class Machine(NamedTuple):
    """What this device reaches: operations a second in a large matrix product, bytes a second in a large sum."""

    operations: float
    bandwidth: float


def contenders(num_steps: int) -> Iterator[Contender | str]:
    """Every contender of the study's step whose libraries are here; a word on each that is not."""
    work = study()
    yield of_mdnjax(work, num_steps)
    yield of_mdnjax(study("nll_closed_form"), num_steps, "mdnjax, Bishop's closed-form gradient")
    yield c_step.contender(work, num_steps)
    yield flax_steps.contender(work, num_steps)
    if not torch_steps.is_here():
        yield torch_steps.ABSENT
        return
    yield torch_steps.compiled(work, num_steps)
    yield torch_steps.eager(work, num_steps)
    yield torch_steps.published(work, num_steps)


def curve(name: str, num_rounds: int, machine: Machine, check: Callable[[list[Contender]], None]) -> Iterator[Point]:
    """The contenders at each size of a curve; `check` raises if they do not start at one loss."""
    for sizes in CURVES[name]:
        work = work_of(sizes)
        makers = [of_mdnjax, flax_steps.contender, *([torch_steps.eager] if torch_steps.is_here() else [])]
        check([make(work, 1) for make in makers])
        entrants = [make(work, _steps_of_a_turn(make, work)) for make in makers]
        yield Point(name, sizes, race(entrants, num_rounds, lambda _: None), *_floors(work, machine))


def machine() -> Machine:
    """Measures the device: the fastest of ten."""
    side, num = 2048, 2**26
    square, long = jnp.ones((side, side)), jnp.ones(num)
    product = _fastest(jax.jit(lambda a: a @ a), square)
    return Machine(2 * side**3 / product, 4 * num / _fastest(jax.jit(jnp.sum), long))


def table(points: list[Point]) -> list[list[str]]:
    """A row for each size: nanoseconds an example, and how many times that the peers take."""
    names = [timing.name for timing in points[0].timings]
    header = ["", "size", f"{names[0]}, ns per example", *(f"{name}, times that" for name in names[1:])]
    return [[*header, "arithmetic, ns", "memory, ns"], *(_row(point) for point in points)]


def line(point: Point) -> list[str]:
    """A word on a point."""
    return [f"{point.curve} {_tick(point)}", *(f"{timing.name} {_nanoseconds(point, timing)[0]} ns" for timing in point.timings)]


def records(timings: list[Timing], points: list[Point]) -> list[list[str]]:
    """The study's step and the curves, a row for each contender, with its range."""
    header = ["work", "size", "contender", "ns per example, median", "min", "max", "ratio to the first"]
    return [header, *(row for point in [Point("the study", STUDY, timings, 0, 0), *points] for row in _records(point))]


def plot(points: list[Point]) -> Figure:
    """A panel for each curve."""
    curves = list(dict.fromkeys(point.curve for point in points))
    with mpl.rc_context(STYLE):
        columns = math.ceil((len(curves) + 1) / 2)  # and a place for the legend
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
    places = [TICKS[point.curve](point.sizes) for point in points]
    for index, timing in enumerate(points[0].timings):
        medians = [1e9 * point.timings[index].median / point.sizes.num_at_once for point in points]
        axes.plot(
            places, medians, "o-", ms=4, lw=2.6 if index == 0 else 1.4, color=mpl.colormaps["tab10"](index), label=timing.name
        )
    for style, label, floor in ((":", "arithmetic alone", "arithmetic"), ("--", "memory alone", "memory")):
        axes.plot(places, [1e9 * getattr(point, floor) for point in points], style, color="gray", lw=1.2, label=label)
    axes.set(xscale="log", yscale="log", title=points[0].curve)
    axes.set_xticks(places, [f"{place:,}" if place < 10_000 else f"1e{round(math.log10(place))}" for place in places])
    axes.minorticks_off()


def _steps_of_a_turn(make: Callable[[Work, int], Contender], work: Work) -> int:
    contender = make(work, TRIED)
    contender.run()
    start = time.perf_counter()
    contender.run()
    return max(2, min(1000, int(TURN / ((time.perf_counter() - start) / TRIED))))


def _floors(work: Work, machine: Machine) -> tuple[float, float]:
    """Seconds an example: products forward and twice that backward (none by the inputs), and reading the example once."""
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
    size = _tick(point) if point.curve in TICKS else ""
    first = point.timings[0]
    return [[point.curve, size, t.name, *_nanoseconds(point, t), f"{ratio(t, first):.2f}"] for t in point.timings]


def _row(point: Point) -> list[str]:
    first, *rest = point.timings
    numbers = [f"{ratio(timing, first):.2f}" for timing in rest]
    floors = [f"{1e9 * floor:.2g}" for floor in (point.arithmetic, point.memory)]
    return [point.curve, _tick(point), _nanoseconds(point, first)[0], *numbers, *floors]


def _tick(point: Point) -> str:
    return str(TICKS[point.curve](point.sizes))


def _nanoseconds(point: Point, timing: Timing) -> list[str]:
    scale = 1e9 / point.sizes.num_at_once
    return [f"{scale * seconds:.1f}" for seconds in (timing.median, min(timing.seconds), max(timing.seconds))]
