"""Makes the pure functions of a training from the sections of a configuration.

They are made for the *shape* of the sections (see `mdnjax.config.numbers`). The numbers are passed with the inputs, so that
trainings that differ only in numbers share one compiled program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.cells import mixture_log_cell, mixture_log_prob_or_cell
from mdnjax.components import Component, Sizes
from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.data.dataset import Dataset
from mdnjax.model import Model, make_mdn
from mdnjax.networks import Dropout
from mdnjax.training.initialise import start_at_data
from mdnjax.training.losses import LOSSES, entropy_of_weights
from mdnjax.training.minibatches import minibatch
from mdnjax.training.noise import rule_of_thumb, with_noise
from mdnjax.training.optimizers import STEADY_OPTIMIZERS, is_on, optimizer_of
from mdnjax.training.spread import SCALE_FACTORS
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
MAX_START_ROWS = 2**16  # of training, evenly spaced, that the first parameters are fitted to


class Window(NamedTuple):
    """Marks inputs whose `train` are minibatches of steps from step `first` on, the first axis that of steps.

    Before the first step, `train` are the examples that the first parameters are fitted to. The length of `counted[N, 0]` is the
    number of all training examples, which is known when a program is compiled.
    """

    first: Int[AnyArray, ""]
    counted: Float[AnyArray, "N 0"]


class TrainingInputs(NamedTuple):
    """What a training reads besides its state: the configuration's numbers, the key of its seed, data in units of training.

    Where the data are padded, `sizes` are the numbers of real training and validation examples; the padding follows them. Where
    they are not in memory, a `window` describes `train`. `start` are the training examples that the first parameters are
    fitted to, if these are not all.
    """

    numbers: dict[str, Any]
    key: PRNGKey
    train: Batch
    validation: Batch
    sizes: tuple[Int[AnyArray, ""], Int[AnyArray, ""]] | None = None
    window: Window | None = None
    start: Batch | None = None


class TrainingFunctions(NamedTuple):
    """A training as pure functions of its inputs: `TrainingInputs`, or another record for other kinds of data.

    init(inputs) returns the first state; train_step(state, inputs) returns the next state and the loss before the step.
    validation_score(params, inputs) is lower for better parameters. validation_losses(params, inputs), which only networks that
    are pooled need, are those of the validation examples with the scales multiplied by each of F = len(SCALE_FACTORS) factors.
    """

    init: Callable[[Any], TrainState]
    train_step: Callable[[TrainState, Any], tuple[TrainState, Float[Array, ""]]]
    validation_score: Callable[[Params, Any], Float[Array, ""]]
    validation_losses: Callable[[Params, Any], Float[Array, "F N"]] | None = None


def make_training_inputs(
    numbers: dict[str, Any], key: PRNGKey, train: Dataset, validation: Dataset, num_train: int | None = None
) -> TrainingInputs:
    """Returns the inputs of one training as host arrays: its numbers, its key, and scaled data batch-last.

    Args: `num_train` is the number of training examples if they are not in memory; then `train` are those that the first
    parameters are fitted to.
    """
    bandwidth = rule_of_thumb(num_train or len(train.x), train.x.shape[1] + train.y.shape[1])
    numbers = jax.tree.map(lambda number: bandwidth if number == "rule_of_thumb" else number, numbers)
    window: Any = None if num_train is None else Window(np.zeros((), np.int32), np.zeros((num_train, 0), np.float32))  # pyright: ignore
    batch, spacing = batch_of(train), spacing_of_start(len(train.x))
    start = None if spacing == 1 else jax.tree.map(lambda leaf: np.ascontiguousarray(leaf[..., ::spacing]), batch)
    return TrainingInputs(as_arrays(numbers), key, batch, batch_of(validation), None, window, start)


def pad_inputs(inputs: TrainingInputs, num_train: int, num_validation: int) -> TrainingInputs:
    """Returns the inputs with data padded to these sizes, so that data of other sizes can use the same compiled program."""
    sizes = (inputs.train.x.shape[1], inputs.validation.x.shape[1])

    def padded(part: Batch, num: int, size: int) -> Batch:  # with repeated examples, since `start_at_data` uses the padding
        return jax.tree.map(lambda leaf: leaf[..., np.arange(num) % size], part)

    parts = padded(inputs.train, num_train, sizes[0]), padded(inputs.validation, num_validation, sizes[1])
    return TrainingInputs(inputs.numbers, inputs.key, *parts, tuple(np.int32(size) for size in sizes))  # pyright: ignore


def batch_of(part: Dataset) -> Batch:
    """Returns scaled data batch-last, with weights whose mean is 1, so that minibatches of any size have the right mean loss."""
    batch: Any = Batch(np.ascontiguousarray(part.x.T), np.ascontiguousarray(part.y.T))  # pyright: ignore
    if part.weight is not None:
        batch = batch._replace(weight=part.weight / np.mean(part.weight))
    if part.exact is not None:
        batch = batch._replace(exact=np.ascontiguousarray(part.exact.T))
    return batch if part.cells is None else batch._replace(cells=np.ascontiguousarray(np.moveaxis(part.cells, 0, -1)))


def spacing_of_start(num_train: int) -> int:
    """Returns the distance between the training examples that the first parameters are fitted to."""
    return -(-num_train // MAX_START_ROWS)


def as_arrays(numbers: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration's numbers as arrays of jax's default precision."""
    return jax.tree.map(lambda number: np.asarray(number, jnp.result_type(float)), numbers)


def split_sections(model: schema.Model, train: schema.Train) -> tuple[schema.Model, schema.Train, dict[str, Any]]:
    """Returns the shapes of both sections, and the numbers of both in one dictionary."""
    (model_shape, model_numbers), (train_shape, train_numbers) = split(model), split(train)
    return model_shape, train_shape, {"model": model_numbers, "train": train_numbers}


@functools.cache
def make_training_functions(model: schema.Model, train: schema.Train, num_inputs: int, num_targets: int) -> TrainingFunctions:
    """Returns the functions that train a mixture density network, for the shapes of its sections."""

    def network_and_settings(inputs: TrainingInputs) -> tuple[Model, schema.Train]:
        network = make_mdn(num_inputs, num_targets, **dict(join(model, inputs.numbers["model"])))
        return network, join(train, inputs.numbers["train"])

    def init(inputs: TrainingInputs) -> TrainState:
        network, settings = network_and_settings(inputs)
        key = jax.random.fold_in(inputs.key, INIT)
        params = network.init(key)
        if settings.init.name == "data":
            section = join(model, inputs.numbers["model"])
            params = _params_at_data(params, key, inputs, section, settings, num_targets)
        return first_state(settings, params, validation_score(params, inputs))

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        network, settings = network_and_settings(inputs)
        key = jax.random.fold_in(inputs.key, TRAIN)
        batch = _batch_of_step(settings.batch_size, key, state.step, inputs)
        return step_of(settings, functools.partial(_loss, network, settings))(state, key, batch)

    def validation_losses(params: Params, inputs: TrainingInputs) -> Float[Array, "F N"]:
        logits, component = network_and_settings(inputs)[0].head(params, inputs.validation.x)
        factors = jnp.asarray(SCALE_FACTORS, logits.dtype)
        return jax.lax.map(lambda factor: _losses("nll", logits, component.stretch(factor), inputs.validation), factors)

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        head, weight = network_and_settings(inputs)[0].head(params, inputs.validation.x), inputs.validation.weight
        nll = _losses("nll", *head, inputs.validation)
        if inputs.sizes is None:
            return _mean(nll, weight)
        weighted = nll if weight is None else weight * nll
        return jnp.sum(jnp.where(jnp.arange(len(nll)) < inputs.sizes[1], weighted, 0)) / inputs.sizes[1]

    return TrainingFunctions(jax.jit(init), train_step, validation_score, validation_losses)


def _params_at_data(
    params: Params, key: PRNGKey, inputs: TrainingInputs, model: schema.Model, train: schema.Train, num_targets: int
) -> Params:
    """Returns the first parameters, fitted to the training examples or to some of them."""
    num_stored = (inputs.train.x.T if inputs.window is None else inputs.window.counted).shape[0]
    num_train = num_stored if inputs.sizes is None else inputs.sizes[0]
    noise: Any = train.x_noise
    numbers = {name: getattr(train.init, name) for name in ("slope", "head_scale", "line", "embedding", "experts")}
    numbers |= {"scale_floor": model.scale_floor, "ridge": 1 / num_train + noise**2}
    sizes = Sizes(model.fixed_num_components, num_targets, model.rank)
    x, y, weight = (inputs.train if inputs.start is None else inputs.start)[:3]
    num_experts = num_targets * len(model.experts)
    return start_at_data(params, key, (x, y), model.family, sizes, num_experts=num_experts, weight=weight, **numbers)


def _batch_of_step(size: int | None, key: PRNGKey, step: Int[Array, ""], inputs: TrainingInputs) -> Batch:
    """Returns the minibatch of a step: drawn from the examples, or taken from the minibatches of a window of steps."""
    window = inputs.window
    if window is None:
        return minibatch(size, key, step, inputs.train, inputs.sizes and inputs.sizes[0])
    return jax.tree.map(lambda leaf: leaf[step - window.first], inputs.train)


def _loss(network: Model, train: schema.Train, params: Params, noise_key: PRNGKey, batch: Batch) -> Float[Array, ""]:
    """Returns the mean loss of a batch with noise, and the terms that are added to it."""
    noisy, dropout_key = with_noise(noise_key, batch, train)
    dropout = (Dropout(dropout_key, train.dropout),) if is_on(train.dropout) else ()
    logits, component = network.head(params, noisy.x, *dropout)
    value = _mean(_losses(train.loss, logits, component, noisy), noisy.weight)
    if is_on(train.entropy_bonus):
        value -= train.entropy_bonus * _mean(entropy_of_weights(logits), noisy.weight)
    return value + _penalty(train.optimizer, params)


def _losses(name: str, logits: Float[Array, "K N"], component: Component, batch: Batch) -> Float[Array, " N"]:
    """Returns the loss of every example; for targets with cells it is -log P(cell)."""
    if batch.cells is None:
        return LOSSES[name](logits, component, batch.y)
    if batch.exact is None:
        return -mixture_log_cell(logits, component, batch.cells[0], batch.cells[1])
    return -mixture_log_prob_or_cell(logits, component, batch.y, batch.cells, batch.exact)


def _mean(values: Float[Array, " N"], weight: Float[Array, " N"] | None) -> Float[Array, ""]:
    """Returns the mean over examples, whose weights have mean 1; without weights the program has no array of them."""
    return jnp.mean(values if weight is None else weight * values)


def first_state(loop: schema.Loop, params: Params, score: Float[Array, ""]) -> TrainState:
    """Returns the state before the first step of a training section; its own parameters are the best so far.

    A score that is not finite is stored as infinity, so that any later finite score is better.
    """
    init = init_steady_state if loop.optimizer.name in STEADY_OPTIMIZERS else init_state
    state = init(optimizer_of(loop), params)
    finite_score = jnp.where(jnp.isfinite(score), score, jnp.inf).astype(state.best.score.dtype)
    return state._replace(best=state.best._replace(score=finite_score))


def step_of(loop: schema.Loop, loss: Loss) -> TrainStep:
    """Returns the training step of a training section."""
    make = make_steady_step if loop.optimizer.name in STEADY_OPTIMIZERS else make_train_step
    return make(in_blocks(loss), optimizer_of(loop))


def _penalty(optimizer: schema.Optimizer, params: Params) -> Float[Array, ""] | float:
    """Returns weight_decay / 2 times the sum of the squared kernels for optimisers whose line search needs the decay in the loss.

    For other optimisers it returns 0: they apply the decay to the parameters.
    """
    if optimizer.name not in STEADY_OPTIMIZERS or not is_on(optimizer.weight_decay):
        return 0.0
    squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return 0.5 * optimizer.weight_decay * sum(squares, jnp.zeros(()))
