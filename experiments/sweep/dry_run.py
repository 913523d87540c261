"""What a sweep would do: its members, its groups with what they share, and an estimate of memory and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.members import component_numbers
from experiments.members.chunks import Chunk, chunks_of, material_of, need_of
from experiments.members.plan import Group, Plan, members_of
from experiments.report import print_table
from experiments.study import num_components_is_auto
from experiments.sweep.summary import short
from mdnjax.config.schema import Loop
from mdnjax.training.placement import Placement
from mdnjax.training.tasks import training_functions_of, training_inputs
from mdnjax.training.train import train_one

MEASURED_STEPS = 100
COLUMNS = ("model.num_components", "model.hidden_sizes", "train.num_steps", "data.num_train")


class Pace(NamedTuple):
    """Seconds measured on a few steps of one member."""

    compiling: float
    step: float


def show_plan(planned: Plan, placement: Placement) -> None:
    """Prints the plan; a few steps of the largest group are run to tell the time."""
    if search := planned.sweep.search:
        planned = planned._replace(settings=[{}] * search.num_trials, configs=planned.configs * search.num_trials)
        print(f"search: {search.num_trials} trials, counted below with the base's shapes")
    members = members_of(planned)
    if num_open := sum(num_components_is_auto(member.config) for member in members):
        print(
            f"num_components: auto, {num_open} times: counted below as the largest candidate; each candidate is a training more"
        )
        members = [
            component_numbers.with_largest(member) if num_components_is_auto(member.config) else member for member in members
        ]
    chunks = chunks_of(members, placement, planned.sweep.chunk_members)
    groups = {chunk.group: [other for other in chunks if other.group == chunk.group] for chunk in chunks}
    device = placement.devices[0]
    how = "one at a time on each" if placement.width == 1 else "side by side"
    print(f"{len(members)} members: {len(planned.configs)} settings x {planned.sweep.num_seeds} seeds, in {len(groups)} groups")
    print(f"on {len(placement.devices)} x {device.platform} ({device.device_kind}), {how}")
    largest = max(groups.values(), key=lambda of_group: _work(of_group[0]))
    pace = _measure(largest[0])
    rows = [["components", "hidden", "steps", "points", "also", "members", "chunks", "memory", "time"]]
    total, others = 0.0, _what_else_differs(list(groups))
    for of_group, also in zip(groups.values(), others, strict=True):
        seconds = pace.compiling + _seconds(of_group, placement, pace.step * _work(of_group[0]) / _work(largest[0]))
        total += seconds
        rows.append([*_cells(of_group, also, placement), f"{seconds:,.0f} s"])
    print_table("groups: one compiled program each", rows, left=("hidden", "also"))
    about = "about" if placement.width else "at least"  # nobody knows beforehand what members side by side cost
    print(f"{about} {total:,.0f} s in all: a step of the largest group took {1e6 * pace.step:.0f} us here, the others are scaled")


def _work(chunk: Chunk) -> float:
    return need_of(chunk.members[0]).step_seconds


def _seconds(of_group: Sequence[Chunk], placement: Placement, step: float) -> float:
    num_steps = of_group[0].group.train.num_steps
    if placement.width is None:
        return len(of_group) * num_steps * step  # what one member takes when it has the device for itself
    return sum(-(-len(chunk.members) // len(placement.devices)) for chunk in of_group) * num_steps * step


def _what_else_differs(groups: Sequence[Group]) -> list[str]:
    """What tells groups apart besides the columns; of a number that is off in one group and rides in another, `on` or `off`."""
    dumps = [_flat({"model": g.model.model_dump(), "train": g.train.model_dump(), "data": g.data.model_dump()}) for g in groups]
    keys = dict.fromkeys(key for dump in dumps for key in dump if key not in COLUMNS)
    varied = [key for key in keys if len({str(dump.get(key, "")) for dump in dumps}) > 1]
    return [", ".join(f"{short(key, varied)} {_shown(dump.get(key))}" for key in varied) for dump in dumps]


def _flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _shown(value: Any) -> str:
    return "on" if value is None else "off" if value == 0 else str(value)


def _cells(of_group: Sequence[Chunk], also: str, placement: Placement) -> list[str]:
    group, capacity = of_group[0].group, of_group[0].capacity
    need = need_of(of_group[0].members[0])
    at_once = len(placement.devices) if placement.width else capacity
    memory = (capacity * need.held + at_once * need.working) / 2**20
    hidden = ", ".join(map(str, group.model.hidden_sizes))
    shape = [
        group.model.num_components,
        f"[{hidden}]",
        group.train.num_steps,
        len(material_of(of_group[0].members[0]).splits.train.x),
        also,
    ]
    num_members = sum(len(chunk.members) for chunk in of_group)
    return [*map(str, shape), str(num_members), f"{len(of_group)} of {capacity}", f"{memory:,.0f} MB"]


def _measure(chunk: Chunk) -> Pace:
    """Times one member's steps; the first chunk of them holds the compilation."""
    task, times = material_of(chunk.members[0]).task, [time.perf_counter()]
    loop: Any = Loop(num_steps=2 * MEASURED_STEPS, report_every=MEASURED_STEPS)
    train_one(training_functions_of(task), loop, training_inputs(task)[0], lambda *_: times.append(time.perf_counter()))
    step = (times[2] - times[1]) / MEASURED_STEPS
    return Pace(max(0.0, times[1] - times[0] - MEASURED_STEPS * step), step)
