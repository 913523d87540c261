"""From the sections of a configuration to the pure functions of a training run.

A recipe is made for the *shape* of its sections (see `mdnjax.config.numbers`); the numbers come in with the inputs, so that runs
which differ in numbers alone share one compiled program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.data.dataset import Dataset
from mdnjax.losses import LOSSES, mse
from mdnjax.model import Model, make_mdn
from mdnjax.networks import Network, make_mlp
from mdnjax.optimizers import check_optimizer, make_optimizer
from mdnjax.population import Fit, Layout, Observer, Population, PopulationObserver, fit, fit_population, spread
from mdnjax.train import Batch, TrainState, init_state, make_train_step
from mdnjax.types import Array, Float, Params, PRNGKey

INIT, TRAIN, SAMPLE = range(3)  # purposes of keys: fold_in(key of the seed, purpose)


class Inputs(NamedTuple):
    """All that a run reads, besides its state: the configuration's numbers, the key of its seed, data in units of training."""

    numbers: dict[str, Any]
    key: PRNGKey
    train: Batch
    validation: Batch


class Recipe(NamedTuple):
    """init(inputs) gives the first state, train_step(state, inputs) the next, held_out_score(params, inputs) a score."""

    init: Callable[[Inputs], TrainState]
    train_step: Callable[[TrainState, Inputs], tuple[TrainState, Float[Array, ""]]]
    held_out_score: Callable[[Params, Inputs], Float[Array, ""]]


def make_inputs(numbers: dict[str, Any], seed: int, train: Dataset, validation: Dataset) -> Inputs:
    """Scaled data in the hot path's layout, numbers and key: what one member of a population reads, not yet on a device."""
    batches = [Batch(*(np.ascontiguousarray(array.T) for array in part)) for part in (train, validation)]  # pyright: ignore
    return Inputs(as_arrays(numbers), jax.random.key(seed), *batches)


def as_arrays(numbers: dict[str, Any]) -> dict[str, Any]:
    """A configuration's numbers as arrays of jax's default precision."""
    return jax.tree.map(lambda number: np.asarray(number, jnp.result_type(float)), numbers)


def split_sections(model: schema.Model, train: schema.Train) -> tuple[schema.Model, schema.Train, dict[str, Any]]:
    """Shapes of both sections, and their numbers together."""
    (model_shape, model_numbers), (train_shape, train_numbers) = split(model), split(train)
    return model_shape, train_shape, {"model": model_numbers, "train": train_numbers}


@functools.cache
def make_mdn_recipe(model: schema.Model, train: schema.Train, num_inputs: int, num_targets: int) -> Recipe:
    """Training of a mixture density network, for the shapes of its sections."""

    def build(inputs: Inputs) -> tuple[Model, schema.Train]:
        network = make_mdn(num_inputs, num_targets, **dict(join(model, inputs.numbers["model"])))
        return network, join(train, inputs.numbers["train"])

    def init(inputs: Inputs) -> TrainState:
        network, settings = build(inputs)
        return init_state(optimizer_of(settings), network.init(jax.random.fold_in(inputs.key, INIT)))

    def train_step(state: TrainState, inputs: Inputs) -> tuple[TrainState, Float[Array, ""]]:
        network, settings = build(inputs)

        def loss(params: Params, noise_key: PRNGKey, batch: Batch) -> Float[Array, ""]:
            noisy = _with_noise(noise_key, batch, settings)
            return jnp.mean(LOSSES[settings.loss](*network.head(params, noisy.x), noisy.y))

        step = make_train_step(loss, optimizer_of(settings))
        return step(state, jax.random.fold_in(inputs.key, TRAIN), inputs.train)

    def held_out_score(params: Params, inputs: Inputs) -> Float[Array, ""]:
        network, _ = build(inputs)
        return jnp.mean(LOSSES["nll"](*network.head(params, inputs.validation.x), inputs.validation.y))

    return Recipe(jax.jit(init), train_step, held_out_score)


@functools.cache
def make_regression_recipe(regression: schema.Regression, num_inputs: int, num_targets: int) -> Recipe:
    """Training of a plain network by mean squared error, for the shape of its section."""
    network = make_regression(regression, num_inputs, num_targets)

    def loss(params: Params, noise_key: PRNGKey, batch: Batch) -> Float[Array, ""]:
        return jnp.mean(mse(network.apply(params, batch.x), batch.y))

    def init(inputs: Inputs) -> TrainState:
        optimizer = optimizer_of(join(regression, inputs.numbers))
        return init_state(optimizer, network.init(jax.random.fold_in(inputs.key, INIT)))

    def train_step(state: TrainState, inputs: Inputs) -> tuple[TrainState, Float[Array, ""]]:
        step = make_train_step(loss, optimizer_of(join(regression, inputs.numbers)))
        return step(state, inputs.key, inputs.train)

    def held_out_score(params: Params, inputs: Inputs) -> Float[Array, ""]:
        return loss(params, inputs.key, inputs.validation)

    return Recipe(jax.jit(init), train_step, held_out_score)


def follow(recipe: Recipe, loop: schema.Loop, inputs: Inputs, observe: Observer | None = None) -> Fit:
    """Trains by a recipe, from its first state, as long as the section says."""
    return fit(
        recipe.train_step,
        recipe.init(inputs),
        (inputs,),
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        held_out_score=recipe.held_out_score,
        observe=observe,
    )


def follow_population(
    recipe: Recipe, loop: schema.Loop, inputs: Inputs, num_members: int, layout: Layout, observe: PopulationObserver | None = None
) -> Population:
    """Trains a population by one recipe; its inputs are placed by the layout."""
    return fit_population(
        recipe.train_step,
        _init_population(recipe.init, layout, inputs),
        (inputs,),
        num_members=num_members,
        layout=layout,
        num_steps=loop.num_steps,
        report_every=loop.report_every,
        held_out_score=recipe.held_out_score,
        observe=observe,
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init_population(init: Callable[[Inputs], TrainState], layout: Layout, inputs: Inputs) -> TrainState:
    return spread(layout, init)(inputs)


def make_regression(regression: schema.Regression, num_inputs: int, num_targets: int) -> Network:
    """The network of the warm-up."""
    return make_mlp(num_inputs, (num_targets,), hidden_sizes=regression.hidden_sizes, activation=regression.activation)


def optimizer_of(loop: schema.Loop) -> Any:
    """The optimiser of a training section."""
    return make_optimizer(num_steps=loop.num_steps, **dict(loop.optimizer))


def check(loop: schema.Loop) -> None:
    """Tries the optimiser of a section, compiling nothing.

    Raises: ValueError if optax cannot work with its options.
    """
    shape, numbers = split(loop)
    check_optimizer(lambda numbers: optimizer_of(join(shape, numbers)), numbers)


def _with_noise(noise_key: PRNGKey, batch: Batch, train: schema.Train) -> Batch:
    def noisy(key: PRNGKey, values: Array, sd: Any) -> Array:
        off = isinstance(sd, float) and sd == 0  # a static 0: see Rides.off
        return values if off else values + sd * jax.random.normal(key, values.shape, values.dtype)

    x_key, y_key = jax.random.split(noise_key)
    return Batch(noisy(x_key, batch.x, train.x_noise), noisy(y_key, batch.y, train.y_noise))
