"""Prints what a sweep would train: its members, its groups, and an estimate of memory and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.members.chunks import Chunk, chunks_of, train_chunk
from experiments.members.component_numbers import with_largest_candidate
from experiments.members.costs import cost_of
from experiments.members.data import member_data
from experiments.members.plan import Group, Member, Plan, group_of, members_of
from experiments.report import print_table
from experiments.run_folder import flat
from experiments.sentences import say
from experiments.study import num_components_is_auto
from experiments.sweep.summary import short
from mdnjax.training.inputs import training_functions_of, training_inputs
from mdnjax.training.placement import Placement
from mdnjax.training.train import train_one

NUM_MEASURED_STEPS = 100
COLUMNS = ("model.num_components", "model.hidden_sizes", "train.num_steps", "data.num_train")


class MeasuredTime(NamedTuple):
    """Seconds of one step of a member, and of all else that is done once for a group: compilation and scores."""

    once: float
    step: float


def show_plan(planned: Plan, placement: Placement) -> None:
    """Prints the plan; a few steps of the largest group are run to estimate the time."""
    if search := planned.sweep.search:
        planned = planned._replace(settings=[{}] * search.num_trials, configs=planned.configs * search.num_trials)
        say(f"search: {search.num_trials} trials; below, each is assumed to have the shapes of the base")
    members = members_of(planned)
    if num_open := sum(num_components_is_auto(member.config) for member in members):
        say(f"num_components: auto for {num_open} member{'s' * (num_open > 1)}; below, each has its largest candidate")
        say("the training of all candidates, which comes first, is not included")
        members = list(map(with_largest_candidate, members))
    chunks = chunks_of(members, placement, planned.sweep.chunk_members)
    groups = {chunk.group: [other for other in chunks if other.group == chunk.group] for chunk in chunks}
    device = placement.devices[0]
    how = "one member at a time on each" if placement.width == 1 else "the members of a chunk all at once"
    say(f"{len(members)} members: {len(planned.configs)} settings x {planned.sweep.num_seeds} seeds, in {len(groups)} groups")
    say(f"on {len(placement.devices)} x {device.platform} ({device.device_kind}), {how}")
    largest = max(groups.values(), key=lambda of_group: _work(of_group[0]))
    measured = _measure(largest[0], placement)
    rows = [["components", "hidden", "steps", "rows", "other keys", "members", "chunks", "memory", "time"]]
    total, others = 0.0, _other_differences(list(groups))
    for of_group, differences in zip(groups.values(), others, strict=True):
        seconds = measured.once + _seconds(of_group, placement, measured.step * _work(of_group[0]) / _work(largest[0]))
        total += seconds
        rows.append([*_cells(of_group, differences, placement), f"{seconds:,.0f} s"])
    print_table("Groups: each is trained by one compiled program", rows, left=("hidden", "other keys"))
    about = "about" if placement.width else "at least"  # the time of many members at once is not measured
    say(f"{about} {total:,.0f} s in total, estimated from {1e6 * measured.step:.0f} us for a step of the largest group")


def _work(chunk: Chunk) -> float:
    return cost_of(chunk.members[0]).step_seconds


def _seconds(of_group: Sequence[Chunk], placement: Placement, step: float) -> float:
    num_steps = of_group[0].group.train.num_steps
    if placement.width is None:
        return len(of_group) * num_steps * step  # a chunk takes at least the time of one member
    return sum(-(-len(chunk.members) // len(placement.devices)) for chunk in of_group) * num_steps * step


def _other_differences(groups: Sequence[Group]) -> list[str]:
    """Returns, for each group, the keys without a column whose values differ between groups.

    For a number that needs no recompilation unless it is 0 the value is `on` or `off`.
    """
    dumps = [flat({"model": g.model.model_dump(), "train": g.train.model_dump(), "data": g.data.model_dump()}) for g in groups]
    keys = dict.fromkeys(key for dump in dumps for key in dump if key not in COLUMNS)
    varied = [key for key in keys if len({str(dump.get(key, "")) for dump in dumps}) > 1]
    return [", ".join(f"{short(key, varied)} {_shown(dump.get(key))}" for key in varied) for dump in dumps]


def _shown(value: Any) -> str:
    return "on" if value is None else "off" if value == 0 else str(value)


def _cells(of_group: Sequence[Chunk], differences: str, placement: Placement) -> list[str]:
    group, capacity = of_group[0].group, of_group[0].capacity
    cost = cost_of(of_group[0].members[0])
    num_at_once = len(placement.devices) if placement.width else capacity
    memory = (capacity * cost.stored_bytes + num_at_once * cost.working_bytes) / 2**20
    hidden = ", ".join(map(str, group.model.hidden_sizes))
    shape = [
        group.model.num_components,
        f"[{hidden}]",
        group.train.num_steps,
        len(member_data(of_group[0].members[0]).splits.train.x),
        differences,
    ]
    num_members = sum(len(chunk.members) for chunk in of_group)
    return [*map(str, shape), str(num_members), f"{len(of_group)} x {capacity}", f"{memory:,.0f} MB"]


def _measure(chunk: Chunk, placement: Placement) -> MeasuredTime:
    """Times the steps of one training, and then the compilation, the scores and all else of a member that takes a few steps."""
    member, times = _with_few_steps(chunk.members[0]), [time.perf_counter()]
    task, num_runs = member_data(member).task, member.config.num_runs
    train_one(
        training_functions_of(task), member.config.train, training_inputs(task)[0], lambda _: times.append(time.perf_counter())
    )
    step, start = (times[-1] - times[1]) / NUM_MEASURED_STEPS, time.perf_counter()
    train_chunk(Chunk(group_of(member.config), [member], len(placement.devices)), placement, lambda *_: None)
    trained_for = 2 * NUM_MEASURED_STEPS * step * -(-num_runs // len(placement.devices))
    return MeasuredTime(max(0.0, time.perf_counter() - start - trained_for), num_runs * step)


def _with_few_steps(member: Member) -> Member:
    changes = {"num_steps": 2 * NUM_MEASURED_STEPS, "report_every": NUM_MEASURED_STEPS, "patience": None}
    train = member.config.train.model_copy(update=changes)
    return member._replace(config=member.config.model_copy(update={"train": train}))
