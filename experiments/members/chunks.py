"""Trains members in chunks: members of one group, as many as memory and time allow, trained by one compiled program."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.members.costs import MemberCost, cost_of
from experiments.members.data import MemberData, member_data
from experiments.members.plan import Group, Member, group_of, problem_of
from experiments.pipeline import nll_metrics
from mdnjax.config.data import Table
from mdnjax.config.numbers import split
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, Scaler, Splits, to_training_units
from mdnjax.data.scaler import log_slopes
from mdnjax.ensemble import Networks, nlls_of, without_unused
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training.functions import as_arrays
from mdnjax.training.history import Report
from mdnjax.training.inputs import Task
from mdnjax.training.placement import Placement, map_members, place, place_stacked
from mdnjax.training.population import Population
from mdnjax.training.tasks import networks_of_all, train_networks

MAX_CPU_BYTES = 2**28  # memory of a chunk on a CPU; also assumed as the memory of a device that reports none
MAX_GPU_MEMORY_SHARE = 0.5
MAX_CPU_SECONDS = 10.0  # training time of a chunk; a sweep that is killed loses no more than that
MAX_MEMBERS_PER_CHUNK = 4096
SCORING_WIDTH = 32  # members scored at a time where all members of a chunk are trained at once: test sets are large


class Chunk(NamedTuple):
    """Members of one group; `capacity` is the number of members that the program is compiled for, at least as many."""

    group: Group
    members: list[Member]
    capacity: int


class Outcome(NamedTuple):
    """Arrays of a chunk, members first: networks with their scalers, and learning curves in the data's own units.

    The names of the fields are part of the file format of `parts`.
    """

    networks: Networks
    scaler: Scaler
    report_steps: np.ndarray
    loss: np.ndarray
    validation_scores: np.ndarray

    def predictor(self, model: Model, index: int) -> Predictor:
        """Returns the predictor of the member at this index of the chunk, without networks of weight 0."""
        networks, scaler = jax.tree.map(lambda leaf: leaf[index], (self.networks, self.scaler))
        return make_predictor(model, without_unused(networks), scaler)


class FinishedChunk(NamedTuple):
    """A row of results for each member of a chunk, their arrays, and their NLL of each validation row `[members, rows]`."""

    rows: list[dict[str, Any]]
    outcome: Outcome
    validation_nlls: np.ndarray


def chunks_of(members: Sequence[Member], placement: Placement, chunk_members: int | None, min_chunks: int = 1) -> list[Chunk]:
    """Returns the members in chunks: each holds members of one group, and the chunks of a group are about equally large.

    Args: `chunk_members` is the size of the chunks; if it is None they are as large as memory and time allow, but small enough
    for `min_chunks` of them.
    """
    groups: dict[tuple[Group, Any], list[Member]] = {}
    for member in members:
        groups.setdefault((group_of(member.config), _table_shapes(member)), []).append(member)
    limit = math.ceil(len(members) / min_chunks)
    return [
        chunk
        for (group, _), of_group in groups.items()
        for chunk in _equal_chunks(
            group, of_group, chunk_members or min(limit, _max_members(cost_of(of_group[0]), group, placement))
        )
    ]


def train_chunk(chunk: Chunk, placement: Placement, observe: Callable[[float, int], None]) -> FinishedChunk:
    """Trains and scores the members of a chunk.

    Args: observe(share of the steps done, number of trainings that diverged) is called at every report.
    """
    start, train, config = time.perf_counter(), chunk.group.train, chunk.members[0].config
    of_members = [member_data(member) for member in chunk.members]
    step_times: list[tuple[int, float]] = []

    def observe_report(report: Report) -> None:
        step_times.append((report.step, time.perf_counter()))
        observe(report.step / train.num_steps, int(report.diverged.sum()))

    tasks = [data.task for data in of_members]
    selected, population = train_networks(tasks, placement, capacity=chunk.capacity, observe=observe_report)
    networks = networks_of_all(config, selected)
    nlls = list(_score(chunk, placement, networks, of_members))
    metrics = [
        nll_metrics(nlls_of_parts, data.splits, data.truth_nll) for *nlls_of_parts, data in zip(*nlls, of_members, strict=True)
    ]
    if config.ensemble.rotate:
        for of_member, validation_nll in zip(metrics, selected.validation_nll.tolist(), strict=True):
            of_member["validation_nll"] = validation_nll
    steps = np.asarray(population.state.step)[selected.leading]
    seconds = (time.perf_counter() - start) / len(chunk.members)
    times = (seconds, _training_seconds(step_times, placement) / len(chunk.members))
    rows = [
        _row(member, selected.shares(i), bool(selected.diverged[i]), int(steps[i]), *times, metrics[i])
        for i, member in enumerate(chunk.members)
    ]
    return FinishedChunk(rows, _outcome(population, selected.leading, networks, tasks), nlls[1])


def _table_shapes(member: Member) -> Any:
    """Returns the shapes of the parts of a table, and whether it has a lattice or atoms; these are not in the configuration.

    It is None for other data.
    """
    if not isinstance(member.config.data, Table):
        return None
    data = member_data(member)
    return jax.tree.map(np.shape, data.splits), data.task.scaler.lattice.exists, data.task.scaler.atoms is None


def _equal_chunks(group: Group, members: list[Member], max_members: int) -> Iterator[Chunk]:
    capacity = math.ceil(len(members) / math.ceil(len(members) / max_members))
    for start in range(0, len(members), capacity):
        yield Chunk(group, members[start : start + capacity], capacity)


def _max_members(cost: MemberCost, group: Group, placement: Placement) -> int:
    """Returns the largest size of a chunk, a multiple of the number of devices."""
    num_devices = len(placement.devices)
    if placement.width is None:
        device_bytes = (placement.devices[0].memory_stats() or {}).get("bytes_limit", MAX_CPU_BYTES)
        limit = num_devices * int(MAX_GPU_MEMORY_SHARE * device_bytes / (cost.stored_bytes + cost.working_bytes))
    else:
        in_time = num_devices * MAX_CPU_SECONDS / (cost.step_seconds * group.train.num_steps)
        limit = int(min(in_time, (MAX_CPU_BYTES - num_devices * cost.working_bytes) / cost.stored_bytes))
    return min(MAX_MEMBERS_PER_CHUNK, max(num_devices, limit // num_devices * num_devices))


def _training_seconds(step_times: Sequence[tuple[int, float]], placement: Placement) -> float:
    """Returns the seconds of all steps on one device, at the speed after the first report: before it the program was compiled.

    Args: `step_times` are the steps of the reports and the times at which they came.
    """
    (first, start), (last, end) = step_times[0], step_times[-1]
    return (end - start) * len(placement.devices) * last / (last - first) if last > first else math.nan


def _row(
    member: Member,
    shares: dict[str, list[float]],
    diverged: bool,
    steps: int,
    seconds: float,
    training_seconds: float,
    metrics: dict[str, float],
) -> dict[str, Any]:
    nlls = (metrics[part] for part in ("train_nll", "validation_nll", "test_nll"))
    finished = not diverged and all(map(math.isfinite, nlls))  # a score may be infinite where the training loss is finite
    return {
        "member": member.number,
        "config": member.digest,
        "problem": problem_of(member.config),
        "setting": member.setting,
        "seed": member.config.seed,
        "status": "finished" if finished else "diverged",
        "steps": steps,
        "num_components": member.config.model.num_components,
        **shares,
        "seconds": seconds,
        "training_seconds": training_seconds,
        **metrics,
    }


def _score(chunk: Chunk, placement: Placement, networks: Networks, of_members: Sequence[MemberData]) -> Iterator[np.ndarray]:
    """Yields the NLL of every row, `[members, rows]` in float64, of the train, validation and test part."""
    if placement.width is None:
        placement = placement._replace(width=SCORING_WIDTH)
    numbers = [as_arrays(split(member.config.model)[1]) for member in chunk.members]
    trained = place(placement, numbers, chunk.capacity), place_stacked(placement, networks, chunk.capacity)
    for part in range(len(Splits._fields)):
        scaled = [to_training_units(data.task.scaler, data.splits[part]) for data in of_members]
        nlls = _nlls(placement, chunk.group.model, *trained, place(placement, scaled, chunk.capacity))
        of_part = [(data.task.scaler, data.splits[part]) for data in of_members]
        slopes = [log_slopes(scaler, rows.y, rows.censoring) for scaler, rows in of_part]
        yield np.asarray(nlls, np.float64)[: len(of_members)] + slopes


@functools.partial(jax.jit, static_argnums=(0, 1))
def _nlls(placement: Placement, shape: Any, numbers: Any, networks: Networks, part: Dataset) -> jax.Array:
    def member_nlls(numbers: Any, networks: Networks, part: Dataset) -> jax.Array:
        return nlls_of(shape, numbers, networks, part.x, part.y, part.cells, part.exact)

    return map_members(placement, member_nlls)(numbers, networks, part)


def _outcome(population: Population, leading: np.ndarray, networks: Networks, tasks: Sequence[Task]) -> Outcome:
    """Returns the arrays of a chunk; the learning curves are those of the leading network of each member."""
    scalers = jax.tree.map(lambda *leaves: np.stack(leaves), *(task.scaler for task in tasks))
    steps, loss = population.history.report_steps, population.history.loss
    at_reports = loss[leading][:, np.minimum(steps, loss.shape[1]) - 1]
    return Outcome(networks, scalers, steps, at_reports, population.history.validation_scores[leading])
