"""The training loop of a population or of one training: members share a compiled program and differ in numbers, keys and data.

A population is a tree of arrays whose first axis is that of the members. The loop runs compiled chunks of steps; between chunks
it reports and checks which members continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.deprecated import renamed_argument
from mdnjax.training.budget import RATE, Budget
from mdnjax.training.chunks import chunk_size, rewind_all, run_chunk, where_members
from mdnjax.training.history import History, Observer, PopulationObserver, Report, means_of, until_last_step
from mdnjax.training.part_file import PartFile, Progress
from mdnjax.training.placement import Placement, sharding_of
from mdnjax.training.steps import Score, TrainState, TrainStep


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
    start, size = int(start_steps.max()), len(start_steps)
    progress = _stored_progress(part_file, states, placement)
    if progress is None:
        progress = _first_progress(states, (np.arange(size) < num_members) & (start_steps == start))
    done = progress.steps[-1] if progress.steps else start
    rates, begin = None if budget is None else np.asarray(inputs[0].numbers["train"][RATE]), time.monotonic()
    while done < num_steps and progress.running.any():
        count = min(max_steps, num_steps - done)
        if budget is not None and rates is not None:
            inputs = budget.with_rates(inputs, rates, done / num_steps, begin)
        if feed is not None:
            inputs = (feed.inputs_at(inputs[0], done, progress.running, done + count >= num_steps), *inputs[1:])
        counts = np.where(progress.running, count, 0).astype(np.int32)
        chunk = run_chunk(train_step, max_steps, validation_score, placement, progress.states, inputs, counts)
        done += count
        progress = _after_chunk(progress, done, chunk, count)
        last_step = num_steps if budget is None else budget.last_step(done, num_steps, begin)
        patient_steps = max_steps * patience if patience else None
        progress = _without_ended(progress, num_members, patient_steps, budget, race, last_step)
        is_end = done >= num_steps or not progress.running.any()
        if observe:
            observe(_report_of(progress, num_members, is_end))
        if part_file is not None:
            part_file.save(progress, is_end)
    states = rewind_all(train_step, placement, progress.states, inputs, progress.diverged, 2 * max_steps, feed)
    return Population(states, _history_of(progress, start, states), progress.diverged)


def _stored_progress(part_file: PartFile | None, states: TrainState, placement: Placement) -> Progress | None:
    """Returns the progress that is stored for these states, if there is any."""
    stored = None if part_file is None else part_file.load(states)
    if stored is None:
        return None
    states, previous = jax.device_put((stored.states, stored.previous), sharding_of(placement))
    return stored._replace(states=states, previous=previous)


def _first_progress(states: TrainState, running: np.ndarray) -> Progress:
    """Returns the progress before the first chunk of steps."""
    size = len(running)
    return Progress(states, states, [np.zeros((size, 0))], [np.zeros((size, 0))], [], running, np.zeros(size, bool))


def _after_chunk(progress: Progress, done: int, chunk: tuple[Any, ...], count: int) -> Progress:
    """Returns the progress after a chunk of `count` steps, which ends at step `done`; its lists become longer in place."""
    states, losses, scores, finite = chunk
    newly_diverged = progress.running & ~np.asarray(finite)
    if newly_diverged.any():
        # Back to the start of the chunk before: the first loss of this chunk may be the one that is not finite.
        states = where_members(newly_diverged, progress.previous, states)
    progress.losses.append(np.asarray(losses)[:, :count])
    progress.scores.append(np.asarray(scores)[:, None])
    progress.steps.append(done)
    return progress._replace(states=states, previous=progress.states, diverged=progress.diverged | newly_diverged)


def _without_ended(
    progress: Progress, num_members: int, max_steps: int | None, budget: Budget | None, race: Continuing | None, last_step: int
) -> Progress:
    """Ends members that diverged, that were not better for `max_steps` steps, or that are far behind; all if no time is left."""
    best, done = progress.states.best, progress.steps[-1]
    running = progress.running & ~progress.diverged
    if max_steps is not None:
        running &= done - np.asarray(best.step) < max_steps
    if budget is not None and budget.is_used():
        running = np.zeros_like(running)
    if race is not None:
        running[:num_members] &= race(done, np.asarray(best.score)[:num_members], last_step)
    return progress._replace(running=running)


def _report_of(progress: Progress, num_members: int, is_end: bool) -> Report:
    """Returns what observers get after a chunk of steps; at the end no member continues."""
    losses, scores, running = progress.losses[-1][:, -1], progress.scores[-1][:, 0], progress.running & (not is_end)
    return Report(progress.steps[-1], *(values[:num_members] for values in (losses, scores, progress.diverged, running)))


def _history_of(progress: Progress, start: int, states: TrainState) -> History:
    """Returns the history of all members up to their last states."""
    losses, scores = (np.concatenate(parts, axis=1) for parts in (progress.losses, progress.scores))
    return until_last_step(History(losses, np.array(progress.steps, int), scores), start, np.asarray(states.step))


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


@jax.jit
def _population_of_one(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)
