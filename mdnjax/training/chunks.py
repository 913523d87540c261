"""Chunks of steps of a population: their program is compiled and run, and members that diverged go back to a finite state."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.training.placement import Placement, map_members, sharding_of
from mdnjax.training.steps import Score, TrainState, TrainStep, advance, replay
from mdnjax.types import Array

CALL_LOCK = threading.Lock()  # without it, two threads that call a new program at the same time would both compile it


def chunk_size(num_steps: int, report_every: int) -> int:
    """Returns the largest number of steps in a chunk."""
    return max(1, min(report_every, num_steps))


def compile_chunk(
    train_step: TrainStep, num_steps: int, report_every: int, score: Score | None, placement: Placement, states: Any, inputs: Any
) -> None:
    """Compiles the program that `fit_population` runs, for states of these shapes and dtypes and for placed inputs."""
    sharding = sharding_of(placement)
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), states)
    counts = np.zeros(states.step.shape, np.int32)
    _advance.lower(train_step, chunk_size(num_steps, report_every), score, placement, states, inputs, counts).compile()


def run_chunk(
    train_step: TrainStep, max_steps: int, score: Score | None, placement: Placement, states: TrainState, inputs: Any, counts: Any
) -> tuple[TrainState, Array, Array, Array]:
    """Starts `counts` steps of each member, at most `max_steps`; reading the results waits until the steps are done.

    Returns: the states, the losses before the steps, the validation scores, and whether losses and parameters are finite.
    """
    with CALL_LOCK:
        return _advance(train_step, max_steps, score, placement, states, inputs, counts)


def rewind_all(
    train_step: TrainStep, placement: Placement, states: TrainState, inputs: Any, diverged: np.ndarray, limit: int, feed: Any
) -> TrainState:
    """Replaces the state of each member that diverged by its last finite one, at most `limit` steps later."""
    for index in map(int, np.flatnonzero(diverged)):
        of_one = _row(inputs, index)
        if feed is not None:
            of_one = (feed.inputs_of_one(of_one[0], index, int(states.step[index]), limit), *of_one[1:])
        states = _rewind(train_step, placement, states, of_one, index, limit)
    return states


@jax.jit
def where_members(mask: Array, these: Any, others: Any) -> Any:
    """Returns the members of `these` where the mask is true, and of `others` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), these, others)


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
    return where_members(np.arange(len(states.step)) == index, jax.tree.map(to_all_members, last_finite, states), states)


def _row(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
