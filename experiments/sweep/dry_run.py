"""What a sweep would do: its members, its groups with what they share, and an estimate of memory and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from experiments.sweep.chunks import Chunk, chunks_of, inputs_of, need_of, recipe_of
from experiments.sweep.plan import Plan, members_of
from mdnjax import recipe
from mdnjax.config.schema import Loop
from mdnjax.population import Layout

MEASURED_STEPS = 100


class Pace(NamedTuple):
    """Seconds measured on a few steps of one member."""

    compiling: float
    step: float


def show_plan(planned: Plan, layout: Layout) -> None:
    """Prints the plan; a few steps of the largest group are run to tell the time."""
    if search := planned.sweep.search:
        planned = planned._replace(settings=[{}] * search.num_trials, configs=planned.configs * search.num_trials)
        print(f"search: {search.num_trials} trials, counted below with the base's shapes")
    members = members_of(planned)
    chunks = chunks_of(members, layout, planned.sweep.chunk_members)
    groups = {chunk.group: [other for other in chunks if other.group == chunk.group] for chunk in chunks}
    device = layout.devices[0]
    how = "one at a time on each" if layout.width == 1 else "side by side"
    print(f"{len(members)} members: {len(planned.configs)} settings x {planned.sweep.num_seeds} seeds, in {len(groups)} groups")
    print(f"on {len(layout.devices)} x {device.platform} ({device.device_kind}), {how}")
    largest = max(groups.values(), key=lambda of_group: _work(of_group[0]))
    pace = _measure(largest[0])
    table = Table(title="groups: one compiled program each", title_justify="left", show_edge=False)
    for heading in ("components", "hidden", "steps", "points", "optimizer", "members", "chunks", "memory", "time"):
        table.add_column(heading, justify="left" if heading in ("hidden", "optimizer") else "right")
    total = 0.0
    for of_group in groups.values():
        seconds = pace.compiling + _seconds(of_group, layout, pace.step * _work(of_group[0]) / _work(largest[0]))
        total += seconds
        table.add_row(*_cells(of_group, layout), f"{seconds:,.0f} s")
    Console(width=120, highlight=False).print(table)
    print(f"about {total:,.0f} s in all: a step of the largest group took {1e6 * pace.step:.0f} us here, the others are scaled")


def _work(chunk: Chunk) -> float:
    return need_of(chunk.group, chunk.members[0].config).step_seconds


def _seconds(of_group: Sequence[Chunk], layout: Layout, step: float) -> float:
    num_steps = of_group[0].group.train.num_steps
    if layout.width is None:
        return len(of_group) * num_steps * step  # what one member takes when it has the device for itself: a lower bound
    return sum(-(-len(chunk.members) // len(layout.devices)) for chunk in of_group) * num_steps * step


def _cells(of_group: Sequence[Chunk], layout: Layout) -> list[str]:
    group, capacity = of_group[0].group, of_group[0].capacity
    need = need_of(group, of_group[0].members[0].config)
    at_once = len(layout.devices) if layout.width else capacity
    memory = (capacity * need.held + at_once * need.working) / 2**20
    hidden = ", ".join(map(str, group.model.hidden_sizes))
    shape = [group.model.num_components, f"[{hidden}]", group.train.num_steps, group.data.num_train, group.train.optimizer.name]
    num_members = sum(len(chunk.members) for chunk in of_group)
    return [*map(str, shape), str(num_members), f"{len(of_group)} of {capacity}", f"{memory:,.0f} MB"]


def _measure(chunk: Chunk) -> Pace:
    """Times one member's steps; the first chunk of them holds the compilation."""
    times = [time.perf_counter()]
    loop: Any = Loop(num_steps=2 * MEASURED_STEPS, report_every=MEASURED_STEPS)
    recipe.follow(recipe_of(chunk), loop, inputs_of(chunk.members[0]), lambda *_: times.append(time.perf_counter()))
    step = (times[2] - times[1]) / MEASURED_STEPS
    return Pace(max(0.0, times[1] - times[0] - MEASURED_STEPS * step), step)
