"""The training loop of a population or of one training: members share a compiled program and differ in numbers, keys and data.

A population is a tree of arrays whose first axis is that of the members. The loop runs compiled chunks of steps; between chunks
it reports and checks which members continue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.deprecated import renamed_argument
from mdnjax.training.budget import RATE, Budget
from mdnjax.training.history import History, Observer, PopulationObserver, Report, means_of, until_last_step
from mdnjax.training.part_file import PartFile, Progress
from mdnjax.training.placement import Placement, map_members, sharding_of
from mdnjax.training.steps import Score, TrainState, TrainStep, advance, replay
from mdnjax.types import Array

CALL_LOCK = threading.Lock()  # without it, two threads that call a new program at the same time would both compile it


class Fit(NamedTuple):
    """The end of a training; its state is the last one, or the last with a finite loss and finite parameters if it diverged.

    `state.best` has the parameters with the best validation score.
    """

    state: TrainState
    history: History
    diverged: bool


class Population(NamedTuple):
    """The ends of several trainings, members first; entries of a member's history after its last state are NaN."""

    state: TrainState
    history: History
    diverged: np.ndarray


Continuing = Callable[[int, np.ndarray, int], np.ndarray]


@renamed_argument("held_out_score", "validation_score")
def train_loop(
    train_step: TrainStep,
    state: TrainState,
    inputs: tuple[Any, ...],
    *,
    num_steps: int,
    report_every: int,
    validation_score: Score | None = None,
    patience: int | None = None,
    observe: Observer | None = None,
) -> Fit:
    """Trains until step `num_steps` in compiled chunks of `report_every` steps.

    Args: train_step(state, *inputs) and validation_score(params, *inputs) are pure functions, and `inputs` are any pytrees.
    A second call with the same functions compiles nothing. observe(step, loss, validation score) is called after each chunk.
    With `patience`, a training ends when its validation score has not improved for this number of reports.
    A training whose loss or parameters are no longer finite stops, and returns its last state in which both are finite.
    `num_steps` includes the steps that the state has taken: with num_steps=1000, a state of step 300 takes 700 more.
    Raises: ValueError if the state has taken `num_steps` steps or more.
    """
    if 0 < num_steps <= int(state.step):
        raise ValueError(f"num_steps: got {num_steps} for a state that has taken {int(state.step)} steps, expected more")
    chunks: Any = {"num_steps": num_steps, "report_every": report_every, "patience": patience}
    observe_report = observe and means_of(observe)
    return fit_one(train_step, state, inputs, validation_score=validation_score, observe=observe_report, **chunks)


def fit_one(train_step: TrainStep, state: TrainState, inputs: tuple[Any, ...], **options: Any) -> Fit:
    """Runs `fit_population`, with its options, for a single training, and returns its end."""
    placement = Placement(tuple(jax.local_devices()[:1]), width=1)
    population = _population_of_one((state, inputs))
    return member(fit_population(train_step, *population, num_members=1, placement=placement, **options), 0)


def fit_population(
    train_step: TrainStep,
    states: TrainState,
    inputs: tuple[Any, ...],
    *,
    num_members: int,
    placement: Placement,
    num_steps: int,
    report_every: int,
    validation_score: Score | None = None,
    patience: int | None = None,
    observe: PopulationObserver | None = None,
    race: Continuing | None = None,
    budget: Budget | None = None,
    feed: Any = None,
    part_file: PartFile | None = None,
) -> Population:
    """Runs `train_loop` for the first `num_members` of a placed population; the others are padding and take no steps.

    Members whose state has taken fewer steps than the others have ended before, and take no more steps. A member that diverges
    stops without an effect on the others. observe(report) is called after each chunk. race(step, best scores, last step) returns
    which members continue. All end when the `budget` is used; then the inputs are `TrainingInputs`, with constant learning rates.
    A `feed` gives the inputs the minibatches of each chunk. With a `part_file` the training continues from what is stored there.
    """
    max_steps, start_steps = chunk_size(num_steps, report_every), np.asarray(states.step)
    size, start = len(start_steps), int(start_steps.max())
    started = (np.arange(size) < num_members) & (start_steps == start)
    running, diverged, done, previous = started, np.zeros(size, bool), start, states
    losses, scores, steps = [np.zeros((size, 0))], [np.zeros((size, 0))], []
    if part_file is not None and (found := part_file.load(states)) is not None:
        states, previous = jax.device_put((found.states, found.previous), sharding_of(placement))
        running, diverged, losses, scores, steps = (
            found.running,
            found.diverged,
            [found.losses],
            [found.scores],
            found.steps.tolist(),
        )
        done = steps[-1]
    rates, begin = None if budget is None else np.asarray(inputs[0].numbers["train"][RATE]), time.monotonic()
    while done < num_steps and running.any():
        count = min(max_steps, num_steps - done)
        if budget is not None and rates is not None:
            inputs = budget.with_rates(inputs, rates, done / num_steps, begin)
        if feed is not None:
            inputs = (feed.inputs_at(inputs[0], done, running, done + count >= num_steps), *inputs[1:])
        counts = np.where(running, count, 0).astype(np.int32)
        with CALL_LOCK:  # the call returns when the program has started; reading its results, below, waits for them
            after, chunk_losses, score, finite = _advance(
                train_step, max_steps, validation_score, placement, states, inputs, counts
            )
        if (newly_diverged := running & ~np.asarray(finite)).any():
            # Back to the start of the chunk before: the first loss of this chunk may be the one that is not finite.
            after = _where_members(newly_diverged, previous, after)
            diverged = diverged | newly_diverged
        previous, states, done = states, after, done + count
        out_of_patience = done - np.asarray(states.best.step) >= max_steps * patience if patience else ~started
        running = running & ~diverged & ~out_of_patience
        if budget is not None and budget.is_used():
            running = np.zeros(size, bool)
        if race is not None:
            last_step = num_steps if budget is None else budget.last_step(done, num_steps, begin)
            running[:num_members] &= race(done, np.asarray(states.best.score)[:num_members], last_step)
        steps.append(done)
        losses.append(np.asarray(chunk_losses)[:, :count])
        scores.append(np.asarray(score)[:, None])
        if observe:
            values = losses[-1][:, -1], scores[-1][:, 0], diverged, running & (done < num_steps)
            observe(Report(done, *(value[:num_members] for value in values)))
        if part_file is not None:
            is_end = done >= num_steps or not running.any()
            part_file.save(Progress(states, previous, losses, scores, steps, running, diverged), is_end)
    states = _rewind_all(train_step, placement, states, inputs, diverged, 2 * max_steps, feed)
    history = History(np.concatenate(losses, axis=1), np.array(steps, int), np.concatenate(scores, axis=1))
    return Population(states, until_last_step(history, start, np.asarray(states.step)), diverged)


def _rewind_all(
    train_step: TrainStep, placement: Placement, states: TrainState, inputs: Any, diverged: np.ndarray, limit: int, feed: Any
) -> TrainState:
    """Takes the members that diverged to their last finite step, at most `limit` steps after their state."""
    for index in map(int, np.flatnonzero(diverged)):
        of_one = _row(inputs, index)
        if feed is not None:
            of_one = (feed.inputs_of_one(of_one[0], index, int(states.step[index]), limit), *of_one[1:])
        states = _rewind(train_step, placement, states, of_one, index, limit)
    return states


def compile_chunk(
    train_step: TrainStep, num_steps: int, report_every: int, score: Score | None, placement: Placement, states: Any, inputs: Any
) -> None:
    """Compiles the program that `fit_population` runs, for states of these shapes and dtypes and for placed inputs."""
    sharding = sharding_of(placement)
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), states)
    counts = np.zeros(states.step.shape, np.int32)
    _advance.lower(train_step, chunk_size(num_steps, report_every), score, placement, states, inputs, counts).compile()


def on_host(population: Population, num_members: int) -> Population:
    """Returns the first `num_members` members as numpy arrays, without the padding."""
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[:num_members], population.state)
    loss, report_steps, validation_scores = population.history
    history = History(loss[:num_members], report_steps, validation_scores[:num_members])
    return Population(state, history, population.diverged[:num_members])


def member(population: Population, index: int) -> Fit:
    """Returns one member of a population, with its history up to its last state."""
    # Indexing numpy arrays compiles nothing.
    state = jax.device_put(jax.tree.map(lambda leaf: np.asarray(leaf)[index], population.state))
    loss, report_steps, scores = population.history
    reported, member_loss = report_steps <= int(state.step), loss[index]
    history = History(member_loss[np.isfinite(member_loss)], report_steps[reported], scores[index][reported])
    return Fit(state, history, bool(population.diverged[index]))


def chunk_size(num_steps: int, report_every: int) -> int:
    """Returns the largest number of steps in a chunk."""
    return max(1, min(report_every, num_steps))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _advance(
    train_step: TrainStep, max_steps: int, score: Score | None, placement: Placement, states: TrainState, inputs: Any, counts: Any
) -> Any:
    return map_members(placement, partial(advance, train_step, max_steps, score))(states, inputs, counts)


_replay = jax.jit(replay, static_argnums=0)


def _rewind(
    train_step: TrainStep, placement: Placement, states: TrainState, inputs: tuple[Any, ...], index: int, limit: int
) -> TrainState:
    """Returns the states with one member, of these inputs, replaced by its last state with finite loss and parameters."""

    def to_all_members(leaf: Array, like: Array) -> Array:
        return jax.device_put(jnp.broadcast_to(leaf, like.shape), like.sharding)

    last_finite = _replay(train_step, *jax.device_put((_row(states, index), inputs), placement.devices[0]), limit)
    return _where_members(np.arange(len(states.step)) == index, jax.tree.map(to_all_members, last_finite, states), states)


@jax.jit
def _where_members(mask: Array, these: Any, others: Any) -> Any:
    """Returns the members of `these` where the mask is true, and of `others` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), these, others)


@jax.jit
def _population_of_one(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def _row(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
