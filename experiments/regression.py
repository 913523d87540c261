"""A plain network trained by mean squared error, with which a mixture density network is compared."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from experiments.schemas import Regression
from mdnjax.compilation import JitOnce
from mdnjax.config.numbers import join
from mdnjax.networks import Network, make_mlp
from mdnjax.training.functions import INIT, TrainingFunctions, TrainingInputs, first_state, step_of
from mdnjax.training.losses import mse
from mdnjax.training.steps import Batch, TrainState
from mdnjax.types import Array, Float, Params, PRNGKey


@functools.cache
def make_regression_functions(regression: Regression, num_inputs: int, num_targets: int) -> TrainingFunctions:
    """Returns the functions that train a plain network by mean squared error."""
    network = make_regression(regression, num_inputs, num_targets)

    def loss(params: Params, noise_key: PRNGKey, batch: Batch) -> Float[Array, ""]:
        return jnp.mean(mse(network.apply(params, batch.x), batch.y))

    def init(inputs: TrainingInputs) -> TrainState:
        params = network.init(jax.random.fold_in(inputs.key, INIT))
        return first_state(join(regression, inputs.numbers), params, validation_score(params, inputs))

    def train_step(state: TrainState, inputs: TrainingInputs) -> tuple[TrainState, Float[Array, ""]]:
        return step_of(join(regression, inputs.numbers), loss)(state, inputs.key, inputs.train)

    def validation_score(params: Params, inputs: TrainingInputs) -> Float[Array, ""]:
        return loss(params, inputs.key, inputs.validation)

    return TrainingFunctions(JitOnce(init), train_step, validation_score)


def make_regression(regression: Regression, num_inputs: int, num_targets: int) -> Network:
    """Returns the plain network of a section."""
    return make_mlp(num_inputs, (num_targets,), hidden_sizes=regression.hidden_sizes, activation=regression.activation)
