"""Training by a recipe: of one run, of a population, of one that threads share."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mdnjax.compilation import JitOnce, in_background
from mdnjax.config import schema
from mdnjax.training.functions import TrainingFunctions, TrainingInputs
from mdnjax.training.placement import Placement, place, put, spread
from mdnjax.training.population import Fit, Observer, Population, PopulationObserver, compile_chunk, fit_population, train_loop
from mdnjax.training.steps import TrainState
from mdnjax.training.threads import train_in_threads
from mdnjax.types import Array, Float, Params

COMPILATION_LOCK = threading.Lock()  # of two threads with one new program, each would compile it


def train_one(functions: TrainingFunctions, loop: schema.Loop, inputs: Any, observe: Observer | None = None) -> Fit:
    """Trains by a recipe, from its first state, as long as the section says."""
    return train_loop(
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
) -> Population:
    """Trains a population by one recipe, from its first states or from these; inputs and states are placed by the layout."""
    if states is None:
        compile_training(functions, loop, placement, inputs)
    return fit_population(
        functions.train_step,
        _init_population(functions.init, placement, inputs) if states is None else states,
        (inputs,),
        num_members=num_members,
        placement=placement,
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        validation_score=functions.validation_score,
        patience=loop.patience,
        observe=observe,
    )


def train_in_parts(
    functions: TrainingFunctions,
    loop: schema.Loop,
    members: Sequence[TrainingInputs],
    placement: Placement,
    *,
    capacity: int | None = None,
    observe: PopulationObserver | None = None,
    states: TrainState | None = None,
) -> Population:
    """The same for members that are not placed yet, shared out among the threads of the layout, as `states` are.

    Args: `capacity` is the number of members for which a program is compiled, if there may be more of them than these.
    """
    capacity = -(-(capacity or len(members)) // placement.num_threads)

    def train(part: Sequence[int], observe: PopulationObserver | None) -> Population:
        inputs = place(placement, [members[i] for i in part], capacity)
        own = (
            None if states is None else put(placement, jax.tree.map(lambda leaf: np.asarray(leaf)[list(part)], states), capacity)
        )
        return train_population(functions, loop, inputs, len(part), placement, observe, own)

    numbers = range(len(members))
    if placement.num_threads == 1 or len(members) == 1:
        return train(numbers, observe)
    return train_in_threads(train, numbers, placement.num_threads, observe)


def compile_training(functions: TrainingFunctions, loop: schema.Loop, placement: Placement, inputs: TrainingInputs) -> None:
    """Compiles the two programs of a training beside each other, if they are not compiled yet."""
    with COMPILATION_LOCK:
        states = _init_population.shapes(functions.init, placement, inputs)
        score = functions.validation_score
        chunk = (functions.train_step, loop.num_steps, loop.report_every, score, placement, states, (inputs,))
        with in_background(functools.partial(compile_chunk, *chunk)):
            _init_population.compile(functions.init, placement, inputs)


def validation_losses(
    functions: TrainingFunctions, params: Params, inputs: TrainingInputs, placement: Placement
) -> Float[np.ndarray, "M N"]:
    """Losses of the examples that each of a population watches, those that only pad left out."""
    assert functions.validation_losses
    losses = np.asarray(_spread_losses(functions.validation_losses, placement, params, inputs))
    return losses if inputs.sizes is None else losses[:, : int(np.asarray(inputs.sizes[1])[0])]


def _losses_of_all(
    losses: Callable[[Params, TrainingInputs], Array], placement: Placement, params: Params, inputs: TrainingInputs
) -> Array:
    return spread(placement, losses)(params, inputs)


def _init_all(init: Callable[[TrainingInputs], TrainState], placement: Placement, inputs: TrainingInputs) -> TrainState:
    return spread(placement, init)(inputs)


_spread_losses, _init_population = (JitOnce(function, static_argnums=(0, 1)) for function in (_losses_of_all, _init_all))
