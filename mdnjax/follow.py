"""Training by a recipe: of one run, of a population, of one that threads share."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mdnjax.compilation import JitOnce, beside
from mdnjax.config import schema
from mdnjax.placement import Layout, place, put, spread
from mdnjax.population import Fit, Observer, Population, PopulationObserver, compile_chunk, fit_population, train_loop
from mdnjax.recipe import Inputs, Recipe
from mdnjax.threads import train_in_threads
from mdnjax.train import TrainState
from mdnjax.types import Array, Float, Params

COMPILING = threading.Lock()  # of two threads with one new program, each would compile it


def follow(recipe: Recipe, loop: schema.Loop, inputs: Any, observe: Observer | None = None) -> Fit:
    """Trains by a recipe, from its first state, as long as the section says."""
    return train_loop(
        recipe.train_step,
        recipe.init(inputs),
        (inputs,),
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        held_out_score=recipe.held_out_score,
        patience=loop.patience,
        observe=observe,
    )


def follow_population(
    recipe: Recipe,
    loop: schema.Loop,
    inputs: Inputs,
    num_members: int,
    layout: Layout,
    observe: PopulationObserver | None = None,
    states: TrainState | None = None,
) -> Population:
    """Trains a population by one recipe, from its first states or from these; inputs and states are placed by the layout."""
    if states is None:
        compile_training(recipe, loop, layout, inputs)
    return fit_population(
        recipe.train_step,
        _init_population(recipe.init, layout, inputs) if states is None else states,
        (inputs,),
        num_members=num_members,
        layout=layout,
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        held_out_score=recipe.held_out_score,
        patience=loop.patience,
        observe=observe,
    )


def follow_members(
    recipe: Recipe,
    loop: schema.Loop,
    members: Sequence[Inputs],
    layout: Layout,
    *,
    capacity: int | None = None,
    observe: PopulationObserver | None = None,
    states: TrainState | None = None,
) -> Population:
    """The same for members that are not placed yet, shared out among the threads of the layout, as `states` are.

    Args: `capacity` is the number of members for which a program is compiled, if there may be more of them than these.
    """
    capacity = -(-(capacity or len(members)) // layout.num_threads)

    def train(part: Sequence[int], observe: PopulationObserver | None) -> Population:
        inputs = place(layout, [members[i] for i in part], capacity)
        own = None if states is None else put(layout, jax.tree.map(lambda leaf: np.asarray(leaf)[list(part)], states), capacity)
        return follow_population(recipe, loop, inputs, len(part), layout, observe, own)

    numbers = range(len(members))
    if layout.num_threads == 1 or len(members) == 1:
        return train(numbers, observe)
    return train_in_threads(train, numbers, layout.num_threads, observe)


def compile_training(recipe: Recipe, loop: schema.Loop, layout: Layout, inputs: Inputs) -> None:
    """Compiles the two programs of a training beside each other, if they are not compiled yet."""
    with COMPILING:
        states = _init_population.shapes(recipe.init, layout, inputs)
        score = recipe.held_out_score
        chunk = (recipe.train_step, loop.num_steps, loop.report_every, score, layout, states, (inputs,))
        with beside(functools.partial(compile_chunk, *chunk)):
            _init_population.compile(recipe.init, layout, inputs)


def held_out_losses(recipe: Recipe, params: Params, inputs: Inputs, layout: Layout) -> Float[np.ndarray, "M N"]:
    """Losses of the examples that each of a population watches, those that only pad left out."""
    assert recipe.held_out_losses
    losses = np.asarray(_spread_losses(recipe.held_out_losses, layout, params, inputs))
    return losses if inputs.sizes is None else losses[:, : int(np.asarray(inputs.sizes[1])[0])]


def _losses_of_all(losses: Callable[[Params, Inputs], Array], layout: Layout, params: Params, inputs: Inputs) -> Array:
    return spread(layout, losses)(params, inputs)


def _init_all(init: Callable[[Inputs], TrainState], layout: Layout, inputs: Inputs) -> TrainState:
    return spread(layout, init)(inputs)


_spread_losses, _init_population = (JitOnce(function, static_argnums=(0, 1)) for function in (_losses_of_all, _init_all))
