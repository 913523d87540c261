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

from experiments.pipeline import METRICS, make_data, nll_metrics, nll_of_truth
from experiments.sweep.plan import Group, Member, digest_of, group_of
from mdnjax import recipe
from mdnjax.config import split
from mdnjax.config.schema import Config, Data
from mdnjax.data import Dataset, Scaler, Splits, make_scaler, to_training_units
from mdnjax.population import Layout, Population, place, spread
from mdnjax.trained import Trained, nll_of_member

CPU_MEMORY = 2**28  # bytes that a chunk may take
GPU_SHARE_OF_MEMORY = 0.5
CPU_SECONDS = 10.0  # of a chunk: what is lost when the sweep is killed
MOST_MEMBERS = 4096
SCORED_SIDE_BY_SIDE = 32  # where members are side by side at all: test sets are large


class Chunk(NamedTuple):
    """Members of one group; `capacity` is the size of the compiled program, which a last chunk may not fill."""

    group: Group
    members: list[Member]
    capacity: int


class Outcome(NamedTuple):
    """Arrays of a chunk, members first: networks with their scalers, and learning curves in the data's own units."""

    trained: Trained
    report_steps: np.ndarray
    loss: np.ndarray
    held_out: np.ndarray


class Need(NamedTuple):
    """What members of a group take: bytes each on a device, bytes of one in work, seconds of a step on one core (roughly)."""

    held: int
    working: int
    step_seconds: float


def chunks_of(members: Sequence[Member], layout: Layout, chunk_members: int | None) -> list[Chunk]:
    """Members by group, in equal chunks."""
    groups: dict[Group, list[Member]] = {}
    for member in members:
        groups.setdefault(group_of(member.config), []).append(member)
    return [chunk for group, of_group in groups.items() for chunk in _equal(group, of_group, layout, chunk_members)]


def train_chunk(chunk: Chunk, layout: Layout, observe: Callable[[float, int], None]) -> tuple[list[dict[str, Any]], Outcome]:
    """Trains and scores the members of a chunk; a row of results each, and their arrays. observe(share done, diverged)."""
    start, train = time.perf_counter(), chunk.group.train
    drawn = [_drawn(member) for member in chunk.members]
    scalers = [
        make_scaler(splits.train, member.config.data.standardise)
        for member, (splits, _) in zip(chunk.members, drawn, strict=True)
    ]
    inputs = place(layout, [_inputs(*one) for one in zip(chunk.members, drawn, scalers, strict=True)], chunk.capacity)
    population = recipe.follow_population(
        recipe_of(chunk),
        train,
        inputs,
        len(chunk.members),
        layout,
        lambda step, losses, scores, diverged: observe(step / train.num_steps, int(diverged.sum())),
    )
    trained = Trained(population.state.params, place(layout, scalers, chunk.capacity))
    nlls = [np.asarray(part) for part in _score(chunk, layout, inputs.numbers["model"], trained, [one for one, _ in drawn])]
    steps = np.asarray(population.state.step)
    seconds = (time.perf_counter() - start) / len(chunk.members)
    rows = [
        {
            "member": member.number,
            "config": digest_of(member.config),
            "setting": member.setting,
            "seed": member.config.seed,
            "status": "finished",
            "steps": int(steps[i]),
            "seconds": seconds,
            **nll_metrics([part[i] for part in nlls], known),
        }
        for i, (member, (_, known)) in enumerate(zip(chunk.members, drawn, strict=True))
    ]
    for row, diverged in zip(rows, population.diverged, strict=False):
        if diverged or not all(
            math.isfinite(row[metric]) for metric in METRICS
        ):  # its scores may have gone where its loss has not
            row["status"] = "diverged"
    return rows, _outcome(population, trained, len(chunk.members))


def recipe_of(chunk: Chunk) -> recipe.Recipe:
    """The training of a chunk's members."""
    return _recipe_of(chunk.group, _drawn(chunk.members[0])[0].train)


def inputs_of(member: Member) -> recipe.Inputs:
    """What the training of a member reads."""
    drawn = _drawn(member)
    return _inputs(member, drawn, make_scaler(drawn[0].train, member.config.data.standardise))


def need_of(group: Group, config: Config) -> Need:
    """What members of a group take."""
    splits, _ = _draw(split(config.data)[0], config.seed)
    (num_train, num_inputs), num_targets = splits.train.x.shape, splits.train.y.shape[1]
    inputs = _inputs(Member(0, 0, config), (splits, {}), make_scaler(splits.train, False))  # pyright: ignore
    state = jax.eval_shape(_recipe_of(group, splits.train).init, inputs)
    data = sum(part.x.nbytes + part.y.nbytes for part in splits) + inputs.train.x.nbytes + inputs.train.y.nbytes
    nlls = 4 * sum(len(part.x) for part in splits)
    # data as they were drawn, stacked, and on the device; states before and after a step, and from a chunk of steps before
    held = 3 * data + nlls + 3 * sum(leaf.size * 4 for leaf in jax.tree.leaves(state)) + 8 * group.train.num_steps
    outputs = group.model.num_components * (1 + 2 * num_targets)
    sizes = [num_inputs, *group.model.hidden_sizes, outputs]
    products, units = sum(a * b for a, b in itertools.pairwise(sizes)), sum(group.model.hidden_sizes)
    noise = 30 * (num_inputs * (group.train.x_noise != 0) + num_targets * (group.train.y_noise != 0))
    nanoseconds = 10 + 0.07 * products + 0.5 * units + 1.4 * outputs + noise  # an example; fitted to measurements
    return Need(held, 4 * num_train * (2 * units + 6 * outputs), 1e-9 * num_train * nanoseconds)


def _equal(group: Group, members: list[Member], layout: Layout, chunk_members: int | None) -> Iterator[Chunk]:
    most = chunk_members or _most_members(need_of(group, members[0].config), group, layout)
    capacity = math.ceil(len(members) / math.ceil(len(members) / most))
    for start in range(0, len(members), capacity):
        yield Chunk(group, members[start : start + capacity], capacity)


def _most_members(need: Need, group: Group, layout: Layout) -> int:
    devices = len(layout.devices)
    if layout.width is None:
        limit = (layout.devices[0].memory_stats() or {}).get("bytes_limit", CPU_MEMORY)
        most = devices * int(GPU_SHARE_OF_MEMORY * limit / (need.held + need.working))
    else:
        in_time = devices * CPU_SECONDS / (need.step_seconds * group.train.num_steps)
        most = int(min(in_time, (CPU_MEMORY - devices * need.working) / need.held))
    return min(MOST_MEMBERS, max(devices, most // devices * devices))


def _drawn(member: Member) -> tuple[Splits, dict[str, float]]:
    return _draw(split(member.config.data)[0], member.config.seed)


@functools.lru_cache(maxsize=256)  # settings of one seed share their data
def _draw(data: Data, seed: int) -> tuple[Splits, dict[str, float]]:
    splits, truth = make_data(Config(data=data.model_copy(update={"standardise": True}), seed=seed))
    return splits, nll_of_truth(splits, truth)


def _inputs(member: Member, drawn: tuple[Splits, Any], scaler: Scaler) -> recipe.Inputs:
    train, validation = (to_training_units(scaler, part) for part in (drawn[0].train, drawn[0].validation))
    numbers = recipe.split_sections(member.config.model, member.config.train)[2]
    return recipe.make_inputs(numbers, member.config.seed, train, validation)


def _recipe_of(group: Group, train: Dataset) -> recipe.Recipe:
    return recipe.make_mdn_recipe(group.model, group.train, train.x.shape[1], train.y.shape[1])


def _score(chunk: Chunk, layout: Layout, numbers: Any, trained: Trained, drawn: Sequence[Splits]) -> Iterator[jax.Array]:
    """NLL of every example of every part, members first."""
    if layout.width is None:
        layout = layout._replace(width=SCORED_SIDE_BY_SIDE)
    for parts in zip(*drawn, strict=True):
        yield _nlls(layout, chunk.group.model, numbers, trained, place(layout, parts, chunk.capacity))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _nlls(layout: Layout, shape: Any, numbers: Any, trained: Trained, part: Dataset) -> jax.Array:
    return spread(layout, functools.partial(nll_of_member, shape))(numbers, trained, part)


def _outcome(population: Population, trained: Trained, num_members: int) -> Outcome:
    """Curves with the scaler's units taken off: scaled nats to nats in the data's own units."""
    trained = jax.tree.map(lambda leaf: np.asarray(leaf)[:num_members], trained)
    offset = np.sum(np.log(trained.scaler.y_sd), axis=1, keepdims=True)
    steps, loss = population.history.report_steps, population.history.loss
    at_reports = loss[:num_members, np.minimum(steps, loss.shape[1]) - 1]
    return Outcome(trained, steps, at_reports + offset, population.history.held_out[:num_members] + offset)
