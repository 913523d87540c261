"""Members in chunks: members of one group, as many as memory and patience allow, trained by one compiled program."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.members.plan import Group, Member, group_of, problem_of
from experiments.pipeline import make_data, nll_metrics, nll_of_truth
from mdnjax.components import FAMILIES, Sizes
from mdnjax.config.data import Examples, Table
from mdnjax.config.numbers import split
from mdnjax.config.schema import Model, Run
from mdnjax.data import Dataset, Scaler, Splits, to_training_units
from mdnjax.data.scaler import log_slopes
from mdnjax.ensemble import Networks, nlls_of, without_unused
from mdnjax.fitting import make_task
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training.functions import as_arrays
from mdnjax.training.placement import Placement, place, put, spread
from mdnjax.training.population import Population
from mdnjax.training.tasks import Task, pooling_of, train_networks, training_functions_of, training_inputs

CPU_MEMORY = 2**28  # bytes that a chunk may take
GPU_SHARE_OF_MEMORY = 0.5
CPU_SECONDS = 10.0  # of a chunk: what is lost when the sweep is killed
MAX_MEMBERS_PER_CHUNK = 4096
SCORED_SIDE_BY_SIDE = 32  # where members are side by side at all: test sets are large


class Chunk(NamedTuple):
    """Members of one group; `capacity` is the size of the compiled program, which a last chunk may not fill."""

    group: Group
    members: list[Member]
    capacity: int


class Material(NamedTuple):
    """What a member is made from: what is trained, all its data, and the truth's NLL of them."""

    task: Task
    splits: Splits
    truth_nll: dict[str, float]


class Outcome(NamedTuple):
    """Arrays of a chunk, members first: networks with their scalers, and learning curves in the data's own units."""

    networks: Networks
    scaler: Scaler
    report_steps: np.ndarray
    loss: np.ndarray
    validation_scores: np.ndarray

    def predictor(self, model: Model, number: int) -> Predictor:
        """That of one member, without networks whose part of the mixture is nothing."""
        networks, scaler = jax.tree.map(lambda leaf: leaf[number], (self.networks, self.scaler))
        return make_predictor(model, without_unused(networks), scaler)


class Finished(NamedTuple):
    """A row of results for each member of a chunk, their arrays, and the NLL of each of their validation points."""

    rows: list[dict[str, Any]]
    outcome: Outcome
    validation_nlls: np.ndarray


class Need(NamedTuple):
    """What a member takes: bytes on a device, bytes more while in work, seconds of a step on one core (roughly)."""

    held: int
    working: int
    step_seconds: float


def chunks_of(members: Sequence[Member], placement: Placement, chunk_members: int | None) -> list[Chunk]:
    """Members by group, in equal chunks."""
    groups: dict[tuple[Group, Any], list[Member]] = {}
    for member in members:
        groups.setdefault((group_of(member.config), _sizes_of_table(member)), []).append(member)
    return [chunk for (group, _), of_group in groups.items() for chunk in _equal(group, of_group, placement, chunk_members)]


def train_chunk(chunk: Chunk, placement: Placement, observe: Callable[[float, int], None]) -> Finished:
    """Trains and scores the members of a chunk. observe(share done, diverged)."""
    start, train, config = time.perf_counter(), chunk.group.train, chunk.members[0].config
    materials = [material_of(member) for member in chunk.members]
    reports: list[tuple[int, float]] = []

    def tell(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        reports.append((step, time.perf_counter()))
        observe(step / train.num_steps, int(diverged.sum()))

    tasks = [material.task for material in materials]
    selected, population = train_networks(tasks, placement, capacity=chunk.capacity, observe=tell)
    networks = Networks(selected.params, *pooling_of(config, selected))
    nlls = list(_score(chunk, placement, networks, materials))
    metrics = [nll_metrics(own, material.truth_nll) for *own, material in zip(*nlls, materials, strict=True)]
    if config.ensemble.rotate:
        for own, validation_nll in zip(metrics, selected.validation_nll.tolist(), strict=True):
            own["validation_nll"] = validation_nll
    ends = np.asarray(population.state.step)[selected.leading]
    seconds = (time.perf_counter() - start) / len(chunk.members)
    in_training = _training_seconds(reports, placement) / len(chunk.members)
    rows = [
        _row(member, selected.of_settings[i].tolist(), bool(selected.diverged[i]), int(ends[i]), seconds, in_training, metrics[i])
        for i, member in enumerate(chunk.members)
    ]
    return Finished(rows, _outcome(population, selected.leading, networks, tasks), nlls[1])


def material_of(member: Member) -> Material:
    """A member's data and what comes of them at once."""
    data = member.config.data
    splits, truth_nll = _draw(data.model_copy(update={"standardise": True}), member.config.seed)
    return Material(make_task(member.config, *splits[:2]), splits, truth_nll)


def need_of(member: Member) -> Need:
    """What a member takes."""
    material, model, train = material_of(member), member.config.model, member.config.train
    splits, (inputs, *others) = material.splits, training_inputs(material.task)
    runs = 1 + len(others)
    (num_train, num_inputs), num_targets = splits.train.x.shape, splits.train.y.shape[1]
    state = jax.eval_shape(training_functions_of(material.task).init, inputs)
    data = sum(part.x.nbytes + part.y.nbytes for part in splits) + inputs.train.x.nbytes + inputs.train.y.nbytes
    nlls = 4 * sum(len(part.x) for part in splits)
    # data as they were drawn, stacked, and on the device; states before and after a step, and from a chunk of steps before
    in_training = 3 * data + 8 * train.num_steps + 3 * sum(leaf.size * 4 for leaf in jax.tree.leaves(state))
    held = nlls + runs * in_training
    sizes_of = Sizes(model.fixed_num_components, num_targets, model.rank)
    outputs = sizes_of.num_components + sum(FAMILIES[model.family].raw_sizes(sizes_of))
    sizes = [num_inputs, *model.hidden_sizes, outputs]
    products, units = sum(a * b for a, b in itertools.pairwise(sizes)), sum(model.hidden_sizes)
    noise = 30 * (num_inputs * (train.x_noise != 0) + num_targets * (train.y_noise != 0))
    nanoseconds = 10 + 0.07 * products + 0.5 * units + 1.4 * outputs + noise  # an example; fitted to measurements
    step_points = min(num_train, train.batch_size or num_train) * train.noise_copies
    return Need(held, 4 * step_points * (2 * units + 6 * outputs), 1e-9 * runs * step_points * nanoseconds)


def _sizes_of_table(member: Member) -> Any:
    """Shapes of the parts of a table, whose rows and columns no configuration tells."""
    if not isinstance(member.config.data, Table):
        return None
    return jax.tree.map(np.shape, material_of(member).splits)


def _equal(group: Group, members: list[Member], placement: Placement, chunk_members: int | None) -> Iterator[Chunk]:
    most = chunk_members or _most_members(need_of(members[0]), group, placement)
    capacity = math.ceil(len(members) / math.ceil(len(members) / most))
    for start in range(0, len(members), capacity):
        yield Chunk(group, members[start : start + capacity], capacity)


def _most_members(need: Need, group: Group, placement: Placement) -> int:
    devices = len(placement.devices)
    if placement.width is None:
        limit = (placement.devices[0].memory_stats() or {}).get("bytes_limit", CPU_MEMORY)
        most = devices * int(GPU_SHARE_OF_MEMORY * limit / (need.held + need.working))
    else:
        in_time = devices * CPU_SECONDS / (need.step_seconds * group.train.num_steps)
        most = int(min(in_time, (CPU_MEMORY - devices * need.working) / need.held))
    return min(MAX_MEMBERS_PER_CHUNK, max(devices, most // devices * devices))


def _training_seconds(reports: Sequence[tuple[int, float]], placement: Placement) -> float:
    """Seconds of all steps, on one device, at the pace after the first report, before which the program was compiled."""
    (first, start), (last, end) = reports[0], reports[-1]
    return (end - start) * len(placement.devices) * last / (last - first) if last > first else math.nan


def _row(
    member: Member,
    of_settings: list[float],
    diverged: bool,
    steps: int,
    seconds: float,
    training_seconds: float,
    metrics: dict[str, float],
) -> dict[str, Any]:
    nlls = (metrics[part] for part in ("train_nll", "validation_nll", "test_nll"))
    sound = not diverged and all(map(math.isfinite, nlls))  # scores may go where the loss has not
    return {
        "member": member.number,
        "config": member.digest,
        "problem": problem_of(member.config),
        "setting": member.setting,
        "seed": member.config.seed,
        "status": "finished" if sound else "diverged",
        "steps": steps,
        "num_components": member.config.model.num_components,
        "of_settings": of_settings,
        "seconds": seconds,
        "training_seconds": training_seconds,
        **metrics,
    }


@functools.lru_cache(maxsize=256)  # settings of one seed share their data
def _draw(data: Examples, seed: int) -> tuple[Splits, dict[str, float]]:
    splits, truth = make_data(Run(data=data, seed=seed))
    return splits, nll_of_truth(splits, truth)


def _score(chunk: Chunk, placement: Placement, networks: Networks, materials: Sequence[Material]) -> Iterator[np.ndarray]:
    """NLL of every example of every part, members first; float64."""
    if placement.width is None:
        placement = placement._replace(width=SCORED_SIDE_BY_SIDE)
    of_members = [as_arrays(split(member.config.model)[1]) for member in chunk.members]
    trained = place(placement, of_members, chunk.capacity), put(placement, networks, chunk.capacity)
    for part in range(len(Splits._fields)):
        scaled = [to_training_units(material.task.scaler, material.splits[part]) for material in materials]
        nlls = _nlls(placement, chunk.group.model, *trained, place(placement, scaled, chunk.capacity))
        slopes = [log_slopes(material.task.scaler, material.splits[part].y) for material in materials]
        yield np.asarray(nlls, np.float64)[: len(materials)] + slopes


@functools.partial(jax.jit, static_argnums=(0, 1))
def _nlls(placement: Placement, shape: Any, numbers: Any, networks: Networks, part: Dataset) -> jax.Array:
    return spread(placement, lambda numbers, networks, part: nlls_of(shape, numbers, networks, *part))(numbers, networks, part)


def _outcome(population: Population, leading: np.ndarray, networks: Networks, tasks: Sequence[Task]) -> Outcome:
    """Curves of the leading network of each member."""
    scalers = jax.tree.map(lambda *leaves: np.stack(leaves), *(task.scaler for task in tasks))
    steps, loss = population.history.report_steps, population.history.loss
    at_reports = loss[leading][:, np.minimum(steps, loss.shape[1]) - 1]
    return Outcome(networks, scalers, steps, at_reports, population.history.validation_scores[leading])
