"""Runs the training functions of a configuration: for one network, for a population, or for a population in several threads."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np

from mdnjax.compilation import JitOnce, in_background
from mdnjax.config import schema
from mdnjax.training.budget import Budget
from mdnjax.training.chunks import chunk_size, compile_chunk
from mdnjax.training.feed import Feed, OnDisk, feed_of, part_file_of
from mdnjax.training.functions import TrainingFunctions, TrainingInputs
from mdnjax.training.history import PopulationObserver
from mdnjax.training.part_file import PartFile
from mdnjax.training.placement import Placement, map_members, place, place_stacked
from mdnjax.training.population import Continuing, Fit, Population, fit_one, fit_population
from mdnjax.training.racing import Race
from mdnjax.training.steps import TrainState
from mdnjax.training.threads import train_in_threads
from mdnjax.types import Array, Float, Params

COMPILATION_LOCK = threading.Lock()  # without it, two threads that need the same new program would both compile it


def train_one(functions: TrainingFunctions, loop: schema.Loop, inputs: Any, observe: PopulationObserver | None = None) -> Fit:
    """Trains one network from its first state with the settings of `loop`."""
    return fit_one(
        functions.train_step,
        functions.init(inputs),
        (inputs,),
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        validation_score=functions.validation_score,
        patience=loop.patience,
        observe=observe,
    )


def train_population(
    functions: TrainingFunctions,
    loop: schema.Loop,
    inputs: TrainingInputs,
    num_members: int,
    placement: Placement,
    observe: PopulationObserver | None = None,
    states: TrainState | None = None,
    race: Continuing | None = None,
    budget: Budget | None = None,
    feed: Feed | None = None,
    part_file: PartFile | None = None,
) -> Population:
    """Trains a population from its first states or from the given states; inputs and states are placed already."""
    if states is None:
        states = first_states(functions, loop, placement, inputs, None)
    return fit_population(
        functions.train_step,
        states,
        (inputs,),
        num_members=num_members,
        placement=placement,
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        validation_score=functions.validation_score,
        patience=loop.patience,
        observe=observe,
        race=race,
        budget=budget,
        feed=feed,
        part_file=part_file,
    )


def first_states(
    functions: TrainingFunctions, loop: schema.Loop, placement: Placement, inputs: TrainingInputs, feed: Feed | None
) -> TrainState:
    """Returns the states before the first step, and compiles the program of steps at the same time."""
    compile_training(functions, loop, placement, inputs, None if feed is None else feed.shapes(inputs))
    return _init_population(functions.init, placement, inputs)


def train_in_parts(
    functions: TrainingFunctions,
    loop: schema.Loop,
    members: Sequence[TrainingInputs],
    placement: Placement,
    *,
    capacity: int | None = None,
    observe: PopulationObserver | None = None,
    states: TrainState | None = None,
    race: Race | None = None,
    budget: Budget | None = None,
    on_disk: OnDisk | None = None,
) -> Population:
    """Places members, and their `states` if given, and trains them; each of `num_threads` threads trains a part of them.

    Args: `capacity` is the number of members for which a program is compiled, if another call has more members than this one.
    `race` ends members that are far behind others, and `budget` all of them. `on_disk` are the rows if they are not in memory;
    then, without a budget, an interrupted training continues from its files.
    """
    capacity = -(-(capacity or len(members)) // placement.num_threads)
    num_steps = chunk_size(loop.num_steps, loop.report_every)

    def train(part: Sequence[int], observe: PopulationObserver | None) -> Population:
        inputs, part_states = place(placement, [members[i] for i in part], capacity), None
        if states is not None:
            part_states = place_stacked(placement, jax.tree.map(lambda leaf: np.asarray(leaf)[list(part)], states), capacity)
        part_file = None if on_disk is None or budget is not None else part_file_of(on_disk, part, race)
        with _in_race(race, part) as continuing, _open_feed(on_disk, part, members, placement, num_steps, capacity) as feed:
            if feed is not None and part_states is None:
                part_states = first_states(functions, loop, placement, inputs, feed)
                inputs = inputs._replace(train=None)  # pyright: ignore  (the rows that the first parameters are fitted to)
            more = (placement, observe, part_states, continuing, budget, feed, part_file)
            population = train_population(functions, loop, inputs, len(part), *more)
        if race is not None:
            best = np.asarray(population.state.best.score)[: len(part)]
            race.end(part, int(np.max(population.state.step)), best)
        return population

    indices = range(len(members))
    if placement.num_threads == 1 or len(members) == 1:
        return train(indices, observe)
    return train_in_threads(train, indices, placement.num_threads, observe)


@contextlib.contextmanager
def _in_race(race: Race | None, part: Sequence[int]) -> Iterator[Continuing | None]:
    """Gives the function that decides which members of a part continue; if they fail, no other thread waits for them."""
    try:
        yield None if race is None else functools.partial(race.continuing, part)
    except BaseException:
        if race is not None:
            race.stop()
        raise


def _open_feed(on_disk: OnDisk | None, *arguments: Any) -> AbstractContextManager[Feed | None]:
    """Gives the minibatches of a part of the members if their rows are on disk, and ends the thread that reads them."""
    return contextlib.nullcontext() if on_disk is None else contextlib.closing(feed_of(on_disk, *arguments))


def compile_training(
    functions: TrainingFunctions, loop: schema.Loop, placement: Placement, inputs: TrainingInputs, of_steps: Any = None
) -> None:
    """Compiles the two programs of a training at the same time, if they are not compiled yet.

    Args: `of_steps` are the inputs of steps, if they have other shapes than those of the first state.
    """
    with COMPILATION_LOCK:
        states = _init_population.shapes(functions.init, placement, inputs)
        score = functions.validation_score
        chunk = (functions.train_step, loop.num_steps, loop.report_every, score, placement, states, (of_steps or inputs,))
        with in_background(functools.partial(compile_chunk, *chunk)):
            _init_population.compile(functions.init, placement, inputs)


def validation_losses(
    functions: TrainingFunctions, params: Params, inputs: TrainingInputs, placement: Placement
) -> Float[np.ndarray, "M F N"]:
    """Returns the losses of each member's validation examples by `SCALE_FACTORS`, without those of padding."""
    assert functions.validation_losses
    losses = np.asarray(_population_losses(functions.validation_losses, placement, params, inputs))
    return losses if inputs.sizes is None else losses[..., : int(np.asarray(inputs.sizes[1])[0])]


def compile_validation_losses(functions: TrainingFunctions, params: Params, inputs: TrainingInputs, placement: Placement) -> None:
    """Compiles the program of `validation_losses`, for placed arguments or their shapes."""
    _population_losses.compile(functions.validation_losses, placement, params, inputs)


def _losses_of_all(
    losses: Callable[[Params, TrainingInputs], Array], placement: Placement, params: Params, inputs: TrainingInputs
) -> Array:
    return map_members(placement, losses)(params, inputs)


def _init_all(init: Callable[[TrainingInputs], TrainState], placement: Placement, inputs: TrainingInputs) -> TrainState:
    return map_members(placement, init)(inputs)


_population_losses, _init_population = (JitOnce(function, static_argnums=(0, 1)) for function in (_losses_of_all, _init_all))
