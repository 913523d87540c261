"""The training loop, of a population or of one run: members share a compiled program and differ in numbers, keys and data.

A population is a tree of arrays with the members first. Its loop runs compiled chunks of steps and comes up for air between them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.deprecated import renamed_argument, warn_of
from mdnjax.training.placement import Placement, sharding_of, spread
from mdnjax.training.steps import Score, TrainState, TrainStep, advance, replay
from mdnjax.types import Array

CALLING = threading.Lock()  # of two threads that call a new program at once, each would compile it


class History(NamedTuple):
    """What the reader needs: the loss before each step, and the held-out score after some of them (numpy arrays)."""

    loss: np.ndarray
    report_steps: np.ndarray
    validation_scores: np.ndarray

    @property
    def held_out(self) -> np.ndarray:
        """The old name of `validation_scores`."""
        warn_of("History.held_out", "validation_scores")
        return self.validation_scores


class Fit(NamedTuple):
    """The end of a training run; if it diverged, the last state whose loss was finite. `state.best` is that by held-out score."""

    state: TrainState
    history: History
    diverged: bool


class Population(NamedTuple):
    """The ends of training runs, members first; what lies behind a diverged member's last sound state is NaN."""

    state: TrainState
    history: History
    diverged: np.ndarray


Observer = Callable[[int, float, float], None]
PopulationObserver = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


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
    """Runs `num_steps` steps in compiled chunks of `report_every`, reporting between them.

    Args: train_step(state, *inputs) and held_out_score(params, *inputs) are pure, and `inputs` are any pytrees.
    Passing the same functions again compiles nothing again. observe(step, loss, held-out score) is called after each chunk.
    With `patience`, a run ends when its held-out score has not fallen for so many reports.
    A run whose loss or parameters are no longer finite stops there, and goes back to its last state with both finite.
    `num_steps` counts from the first step of all: a state of step 300 goes on to 1000 by num_steps=1000.
    Raises: ValueError if the state has so many steps behind it already.
    """
    if 0 < num_steps <= int(state.step):
        raise ValueError(f"num_steps: got {num_steps} for a state that has taken {int(state.step)} steps, expected more")

    def observe_first(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if observe and not diverged[0]:
            observe(step, float(losses[0]), float(scores[0]))

    population = fit_population(
        train_step,
        *_population_of_one((state, inputs)),
        num_members=1,
        placement=Placement(tuple(jax.local_devices()[:1]), width=1),
        num_steps=num_steps,
        report_every=report_every,
        validation_score=validation_score,
        patience=patience,
        observe=observe_first,
    )
    return member(population, 0)


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
) -> Population:
    """`train_loop` for the first `num_members` of a population placed by the layout (the others fill it up).

    All start at the same step; of states that come from a training, those that ended before the others take no more steps. A
    member that diverges stops, and harms no other. observe(step, losses, held-out scores, diverged) is called after each chunk,
    with an entry a member.
    """
    capacity, first = _capacity(num_steps, report_every), np.asarray(states.step)
    done = begun = int(first.max())
    started = (np.arange(len(first)) < num_members) & (first == begun)
    alive, diverged, before = started, np.zeros(len(first), bool), states
    losses, scores, steps = [np.zeros((len(first), 0))], [np.zeros((len(first), 0))], []
    while done < num_steps and alive.any():
        count = min(capacity, num_steps - done)
        counts = np.where(alive, count, 0).astype(np.int32)
        with CALLING:  # it returns at once: only the next line waits for results
            after, chunk_losses, score, finite = _advance(
                train_step, capacity, validation_score, placement, states, inputs, counts
            )
        if (fallen := alive & ~np.asarray(finite)).any():
            after = _choose(fallen, before, after)  # one chunk further back: the loss of its last state was not known yet
            diverged = diverged | fallen
        before, states, done = states, after, done + count
        tired = done - np.asarray(states.best.step) >= capacity * patience if patience else ~started
        alive = alive & ~diverged & ~tired
        steps.append(done)
        losses.append(np.asarray(chunk_losses)[:, :count])
        scores.append(np.asarray(score)[:, None])
        if observe:
            observe(done, losses[-1][:num_members, -1], scores[-1][:num_members, 0], diverged[:num_members])
    for index in np.flatnonzero(diverged):
        states = _rewind(train_step, placement, states, inputs, int(index), 2 * capacity)
    last, report_steps, loss = np.asarray(states.step)[:, None], np.array(steps, int), np.concatenate(losses, axis=1)
    known = np.where(begun + np.arange(loss.shape[1]) <= last, loss, np.nan)
    validation_scores = np.where(report_steps <= last, np.concatenate(scores, axis=1), np.nan)
    return Population(states, History(known, report_steps, validation_scores), diverged)


def compile_chunk(
    train_step: TrainStep, num_steps: int, report_every: int, score: Score | None, placement: Placement, states: Any, inputs: Any
) -> None:
    """Compiles the program that `fit_population` runs, for states of these shapes and dtypes and for inputs that are placed."""
    sharding = sharding_of(placement)
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), states)
    counts = np.zeros(states.step.shape, np.int32)
    _advance.lower(train_step, _capacity(num_steps, report_every), score, placement, states, inputs, counts).compile()


def on_host(population: Population, num_members: int) -> Population:
    """The first members, without those that only fill up the devices, as numpy arrays."""
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[:num_members], population.state)
    loss, report_steps, validation_scores = population.history
    history = History(loss[:num_members], report_steps, validation_scores[:num_members])
    return Population(state, history, population.diverged[:num_members])


def member(population: Population, index: int) -> Fit:
    """One of a population, with as much of its history as there is."""
    state = jax.device_put(jax.tree.map(lambda leaf: np.asarray(leaf)[index], population.state))  # which compiles nothing
    loss, report_steps, scores = population.history
    reports, own_loss = report_steps <= int(state.step), loss[index]
    history = History(own_loss[np.isfinite(own_loss)], report_steps[reports], scores[index][reports])
    return Fit(state, history, bool(population.diverged[index]))


def _capacity(num_steps: int, report_every: int) -> int:
    """Steps of a chunk at most."""
    return max(1, min(report_every, num_steps))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _advance(
    train_step: TrainStep, capacity: int, score: Score | None, placement: Placement, states: TrainState, inputs: Any, counts: Any
) -> Any:
    return spread(placement, partial(advance, train_step, capacity, score))(states, inputs, counts)


_replay = jax.jit(replay, static_argnums=0)


def _rewind(
    train_step: TrainStep, placement: Placement, states: TrainState, inputs: tuple[Any, ...], index: int, limit: int
) -> TrainState:
    """Takes one member on to its last sound state, alone."""

    def back(leaf: Array, like: Array) -> Array:
        return jax.device_put(jnp.broadcast_to(leaf, like.shape), like.sharding)

    sound = _replay(train_step, *jax.device_put((_row(states, index), _row(inputs, index)), placement.devices[0]), limit)
    return _choose(np.arange(len(states.step)) == index, jax.tree.map(back, sound, states), states)


@jax.jit
def _choose(chosen: Array, these: Any, others: Any) -> Any:
    """Members of `these` where chosen, of `others` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b), these, others)


@jax.jit
def _population_of_one(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def _row(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
