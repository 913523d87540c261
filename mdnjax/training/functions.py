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

from mdnjax.components import Sizes
from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.data.dataset import Dataset
from mdnjax.model import Model, make_mdn
from mdnjax.networks import Dropout
from mdnjax.training.initialise import start_at_data
from mdnjax.training.losses import LOSSES, entropy_of_weights
from mdnjax.training.minibatches import minibatch
from mdnjax.training.optimizers import STEADY, check_optimizer, is_on, make_optimizer
from mdnjax.training.steps import (
    Batch,
    Loss,
    TrainState,
    TrainStep,
    in_blocks,
    init_state,
    init_steady_state,
    make_steady_step,
    make_train_step,
)
from mdnjax.types import AnyArray, Array, Float, Int, Params, PRNGKey

INIT, TRAIN, SAMPLE = range(3)  # purposes of keys: fold_in(key of the seed, purpose)
DROPOUT = 2  # of keys below those


class TrainingInputs(NamedTuple):
    """All that a run reads, besides its state: the configuration's numbers, the key of its seed, data in units of training.

    Where data were padded, `sizes` are the points to train on and to watch, which come first; what follows only makes the shape.
    """

    numbers: dict[str, Any]
    key: PRNGKey
    train: Batch
    validation: Batch
    sizes: tuple[Int[AnyArray, ""], Int[AnyArray, ""]] | None = None


class TrainingFunctions(NamedTuple):
    """init(inputs) gives the first state, train_step(state, inputs) the next, held_out_score(params, inputs) a score.

    held_out_losses(params, inputs), where networks are pooled by them, are what the score is the mean of, an entry an example.
    `inputs` are `TrainingInputs`, or what a recipe of another kind of data reads in their place.
    """

    init: Callable[[Any], TrainState]
    train_step: Callable[[TrainState, Any], tuple[TrainState, Float[Array, ""]]]
    validation_score: Callable[[Params, Any], Float[Array, ""]]
    validation_losses: Callable[[Params, Any], Float[Array, " N"]] | None = None


def make_training_inputs(numbers: dict[str, Any], key: PRNGKey, train: Dataset, validation: Dataset) -> TrainingInputs:
    """Scaled data in the hot path's layout, numbers and key: what one member of a population reads, not yet on a device."""
    batches = [Batch(*(np.ascontiguousarray(array.T) for array in part)) for part in (train, validation)]  # pyright: ignore
    bandwidth = rule_of_thumb(len(train.x), train.x.shape[1] + train.y.shape[1])
    numbers = jax.tree.map(lambda number: bandwidth if number == "rule_of_thumb" else number, numbers)
    return TrainingInputs(as_arrays(numbers), key, *batches)


def padded(inputs: TrainingInputs, num_train: int, num_validation: int) -> TrainingInputs:
    """The same run with data of this shape, so that other data of that shape need no other program."""
    sizes = (inputs.train.x.shape[1], inputs.validation.x.shape[1])
    parts = [
        Batch(*(leaf[:, np.arange(num) % size] for leaf in part))  # not zeros: a start at the data looks at all there is
        for part, num, size in zip(inputs[2:4], (num_train, num_validation), sizes, strict=True)
    ]
    return TrainingInputs(inputs.numbers, inputs.key, *parts, tuple(np.int32(size) for size in sizes))  # pyright: ignore


def rule_of_thumb(num: int, num_columns: int) -> float:
    """The normal-reference bandwidth 1.06 N^(-1 / (4 + d)) of N points in d columns of sd 1.

    Source: Silverman (1986); as the sd of training noise: Rothfuss et al. (2019), section 4.
    """
    return 1.06 * num ** (-1 / (4 + num_columns))


def as_arrays(numbers: dict[str, Any]) -> dict[str, Any]:
    """A configuration's numbers as arrays of jax's default precision."""
    return jax.tree.map(lambda number: np.asarray(number, jnp.result_type(float)), numbers)


def split_sections(model: schema.Model, train: schema.Train) -> tuple[schema.Model, schema.Train, dict[str, Any]]:
    """Shapes of both sections, and their numbers together."""
    (model_shape, model_numbers), (train_shape, train_numbers) = split(model), split(train)
    return model_shape, train_shape, {"model": model_numbers, "train": train_numbers}


@functools.cache
def make_training_functions(model: schema.Model, train: schema.Train, num_inputs: int, num_targets: int) -> TrainingFunctions:
    """Training of a mixture density network, for the shapes of its sections."""

    def build(inputs: TrainingInputs) -> tuple[Model, schema.Train]:
        network = make_mdn(num_inputs, num_targets, **dict(join(model, inputs.numbers["model"])))
        return network, join(train, inputs.numbers["train"])

    def init(inputs: TrainingInputs) -> TrainState:
        network, settings = build(inputs)
        key = jax.random.fold_in(inputs.key, INIT)
        params = network.init(key)
        if settings.init.name == "data":
            params = _at_data(params, key, inputs, settings)
        return first_state(settings, params, validation_score(params, inputs))

    def _at_data(params: Params, key: PRNGKey, inputs: TrainingInputs, settings: schema.Train) -> Params:
        num_train = inputs.train.x.shape[1] if inputs.sizes is None else inputs.sizes[0]
        noise: Any = settings.x_noise
        numbers = {name: getattr(settings.init, name) for name in ("slope", "head_scale", "line")}
        numbers |= {"scale_floor": join(model, inputs.numbers["model"]).scale_floor, "ridge": 1 / num_train + noise**2}
        sizes = Sizes(model.fixed_num_components, num_targets, model.rank)
        return start_at_data(params, key, tuple(inputs.train), model.family, sizes, **numbers)  # pyright: ignore

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        network, settings = build(inputs)

        def loss(params: Params, noise_key: PRNGKey, batch: Batch) -> Float[Array, ""]:
            noisy, dropout_key = _with_noise(noise_key, batch, settings)
            dropout = (Dropout(dropout_key, settings.dropout),) if is_on(settings.dropout) else ()
            logits, component = network.head(params, noisy.x, *dropout)
            value = jnp.mean(LOSSES[settings.loss](logits, component, noisy.y))
            if is_on(settings.entropy_bonus):
                value -= settings.entropy_bonus * jnp.mean(entropy_of_weights(logits))
            return value + _penalty(settings.optimizer, params)

        key = jax.random.fold_in(inputs.key, TRAIN)
        batch = minibatch(settings.batch_size, key, state.step, inputs.train, inputs.sizes and inputs.sizes[0])
        return step_of(settings, loss)(state, key, batch)

    def validation_losses(params: Params, inputs: TrainingInputs) -> Float[Array, " N"]:
        network, _ = build(inputs)
        return LOSSES["nll"](*network.head(params, inputs.validation.x), inputs.validation.y)

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        nll = validation_losses(params, inputs)
        if inputs.sizes is None:
            return jnp.mean(nll)
        return jnp.sum(jnp.where(jnp.arange(len(nll)) < inputs.sizes[1], nll, 0)) / inputs.sizes[1]

    return TrainingFunctions(jax.jit(init), train_step, validation_score, validation_losses)


def optimizer_of(loop: schema.Loop) -> Any:
    """The optimiser of a training section."""
    return make_optimizer(num_steps=loop.num_steps, **dict(loop.optimizer))


def check(loop: schema.Loop) -> None:
    """Tries the optimiser of a section, compiling nothing.

    Raises: ValueError if optax cannot work with its options.
    """
    shape, numbers = split(loop.optimizer)
    check_optimizer(lambda numbers: optimizer_of(loop.model_copy(update={"optimizer": join(shape, numbers)})), numbers)


def first_state(loop: schema.Loop, params: Params, score: Float[Array, ""]) -> TrainState:
    """The state before the first step of a training section: the best so far, where it has a score."""
    first = init_steady_state if loop.optimizer.name in STEADY else init_state
    state = first(optimizer_of(loop), params)
    known = jnp.where(jnp.isfinite(score), score, jnp.inf).astype(state.best.score.dtype)
    return state._replace(best=state.best._replace(score=known))


def step_of(loop: schema.Loop, loss: Loss) -> TrainStep:
    """The step of a training section."""
    make = make_steady_step if loop.optimizer.name in STEADY else make_train_step
    return make(in_blocks(loss), optimizer_of(loop))


def _penalty(optimizer: schema.Optimizer, params: Params) -> Float[Array, ""] | float:
    """The decay of an optimiser whose line search must see it: half of it times the kernels' squares."""
    if optimizer.name not in STEADY or not is_on(optimizer.weight_decay):
        return 0.0
    squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return 0.5 * optimizer.weight_decay * sum(squares, jnp.zeros(()))


def _with_noise(noise_key: PRNGKey, batch: Batch, train: schema.Train) -> tuple[Batch, PRNGKey]:
    """The points of a step with their noise, and a key for what else is random."""
    if train.noise_copies > 1:
        batch = jax.tree.map(lambda leaf: jnp.tile(leaf, train.noise_copies), batch)

    def noisy(key: PRNGKey, values: Array, sd: Any) -> Array:
        return values + sd * jax.random.normal(key, values.shape, values.dtype) if is_on(sd) else values

    x_key, y_key = jax.random.split(noise_key)
    noisy_batch = Batch(noisy(x_key, batch.x, train.x_noise), noisy(y_key, batch.y, train.y_noise))
    return noisy_batch, jax.random.fold_in(noise_key, DROPOUT)
