"""The training step in mdnjax, and the data and first parameters of all contenders."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmark.timing import Contender
from experiments.benchmark.work import STUDY, Sizes, Work
from experiments.command import CONFIGS
from experiments.pipeline import make_data
from experiments.schemas import InverseSine
from mdnjax.config import load
from mdnjax.config.schema import Loop, Run
from mdnjax.data import Dataset, Splits
from mdnjax.training import functions
from mdnjax.training.population import train_loop
from mdnjax.training.steps import TrainState

NUM_VALIDATION = 10  # rows, which a configuration must have and which are never scored


def study_work(loss: str = "nll") -> Work:
    """Returns the original study's step: 1000 points, 20 units, 5 components, Adam on the full batch."""
    config = load(InverseSine, CONFIGS / "inverse_sine_original.yaml")
    config = config.model_copy(update={"train": config.train.model_copy(update={"loss": loss})})
    return work_of_config(config, make_data(config)[0])


def work_of_sizes(sizes: Sizes) -> Work:
    """Returns a step like the study's but of these sizes; the data are noise with one input."""
    config = load(InverseSine, CONFIGS / "inverse_sine_original.yaml")
    changes = {"num_components": sizes.num_components, "hidden_sizes": sizes.hidden_sizes, "family": sizes.family}
    model = config.model.model_copy(update=changes)
    train = config.train.model_copy(update={"batch_size": sizes.batch_size})
    generator, num = np.random.default_rng(0), sizes.num_examples
    x, y = (generator.standard_normal((num, width), np.float32) for width in (1, sizes.num_targets))
    few = Dataset(x[:NUM_VALIDATION], y[:NUM_VALIDATION])
    return work_of_config(config.model_copy(update={"model": model, "train": train}), Splits(Dataset(x, y), few, few), sizes)


def _start(config: Run, splits: Splits) -> tuple[functions.TrainingFunctions, TrainState, functions.TrainingInputs]:
    """Returns functions, first state and inputs of a training in raw units, as in the original study."""
    model, train, numbers = functions.split_sections(config.model, config.train)
    steps = functions.make_training_functions(model, train, splits.train.x.shape[1], splits.train.y.shape[1])
    inputs = functions.make_training_inputs(numbers, jax.random.key(config.seed), splits.train, splits.validation)
    return steps, steps.init(inputs), inputs


def of_mdnjax(work: Work, num_steps: int, name: str = "mdnjax") -> Contender:
    """Returns the contender: the training of the study, without reports before the last step."""
    steps, state, inputs = work.start
    run = partial(train_loop, steps.train_step, state, (inputs,), num_steps=num_steps, report_every=num_steps)
    return Contender(name, lambda: _done(run()), work.first_loss, num_steps)


def loop_of(num_steps: int) -> Loop:
    """Returns a loop of this number of steps, without reports before the last one."""
    return Loop(num_steps=num_steps, report_every=num_steps)


def work_of_config(config: Run, splits: Splits, sizes: Sizes = STUDY) -> Work:
    """Returns the training steps of a configuration."""
    steps, state, inputs = _start(config, splits)
    names = [*(f"hidden_{i}" for i in range(len(sizes.hidden_sizes))), "head"]
    layers = [tuple(np.asarray(state.params[name][part]) for part in ("kernel", "bias")) for name in names]
    first_loss = float(jax.jit(steps.train_step)(state, inputs)[1])
    return Work(sizes, layers, splits.train.x, splits.train.y, (steps, state, inputs), first_loss)


def _done(fitted: Any) -> None:
    jax.block_until_ready(fitted.state.params)
