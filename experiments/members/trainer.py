"""Where chunks are trained: one after the other in this process, or on the workers of a cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import cluster, command
from experiments.members.chunks import Chunk, FinishedChunk, chunks_of, train_chunk
from experiments.members.plan import Member
from experiments.schemas import Cluster, Runtime
from mdnjax.training.placement import Placement, local_placement

CHUNKS_PER_WORKER = 3  # at least: the workers then end at about the same time, also if some are slower

Observe = Callable[[float, int, str], None]


class Trainer(NamedTuple):
    """Functions that train members.

    plan(members) returns them in chunks. train(chunks, observe) yields chunks with their results as they are finished, in any
    order, and calls observe(members trained (fractional), members that diverged, a word about the workers).
    """

    plan: Callable[[Sequence[Member]], list[Chunk]]
    train: Callable[[Sequence[Chunk], Observe], Iterator[tuple[Chunk, FinishedChunk]]]


class _Progress(NamedTuple):
    """The numbers of members of a chunk that are trained (fractional) and that diverged."""

    trained: float
    diverged: int


@contextlib.contextmanager
def trainer_of(section: Cluster, runtime: Runtime, chunk_members: int | None) -> Iterator[Trainer]:
    """Gives a trainer on this machine, or on the workers of a cluster if the configuration has one, until the block ends."""
    if not section.is_used:
        yield trainer_here(chunk_members)
        return
    with cluster.connect(section) as client:
        yield _trainer_on_workers(client, runtime, chunk_members)


def trainer_here(chunk_members: int | None = None) -> Trainer:
    """Returns a trainer on all devices of this process."""
    placement = local_placement()
    return Trainer(partial(chunks_of, placement=placement, chunk_members=chunk_members), partial(_train_here, placement))


def _train_here(placement: Placement, chunks: Sequence[Chunk], observe: Observe) -> Iterator[tuple[Chunk, FinishedChunk]]:
    before = _Progress(0, 0)
    for chunk in chunks:
        finished = train_chunk(chunk, placement, partial(_observe_chunk, observe, before, len(chunk.members)))
        end = _end_of(finished)
        before = _Progress(before.trained + end.trained, before.diverged + end.diverged)
        observe(*before, "")  # a chunk whose members all diverged ends before its last step
        yield chunk, finished


def _observe_chunk(observe: Observe, before: _Progress, size: int, share: float, diverged: int) -> None:
    observe(before.trained + share * size, before.diverged + diverged, "")


def _trainer_on_workers(client: Any, runtime: Runtime, chunk_members: int | None) -> Trainer:
    """Returns a trainer whose chunks are planned for workers of one core each."""
    placement = Placement(tuple(jax.local_devices()[:1]), width=1)

    def plan(members: Sequence[Member]) -> list[Chunk]:
        return chunks_of(members, placement, chunk_members, CHUNKS_PER_WORKER * max(1, cluster.num_workers(client)))

    def train(chunks: Sequence[Chunk], observe: Observe) -> Iterator[tuple[Chunk, FinishedChunk]]:
        progress: dict[int, _Progress] = {}
        ended: set[int] = set()
        again = 0

        def show() -> None:
            trained, diverged = (sum(values) for values in zip(*progress.values(), strict=True))
            repeated = f", {again} chunk{'s' * (again > 1)} started again" if again else ""
            observe(trained, diverged, f"  {len(progress) - len(ended)} at work{repeated}")

        def observe_worker(index: int, value: Any) -> None:
            nonlocal again
            again += value is None and index in progress
            share, diverged = value or (0.0, 0)
            progress[index] = _Progress(share * len(chunks[index].members), diverged)
            show()

        for index, finished in cluster.results(client, partial(_train_on_worker, runtime), chunks, observe_worker):
            progress[index] = _end_of(finished)
            ended.add(index)
            show()
            yield chunks[index], finished

    return Trainer(plan, train)


def _end_of(finished: FinishedChunk) -> _Progress:
    return _Progress(len(finished.rows), sum(row["status"] == "diverged" for row in finished.rows))


def _train_on_worker(runtime: Runtime, chunk: Chunk, report: Callable[[Any], None]) -> FinishedChunk:
    """Trains a chunk in a worker and returns its results with arrays of numpy, which the client can read without a device."""
    finished = train_chunk(chunk, _placement_of_worker(runtime), lambda share, diverged: report((share, diverged)))
    outcome = jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, finished.outcome)
    return finished._replace(outcome=outcome)


@functools.cache
def _placement_of_worker(runtime: Runtime) -> Placement:
    """Sets jax up in a worker, once: on a CPU a worker uses one core."""
    command.setup_runtime(runtime)
    placement = local_placement()
    return placement if placement.width is None else Placement(placement.devices[:1], width=1)
