"""The straight line from a configuration to a scored mixture; every study of one data set runs along it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.progress import Clock, training
from mdnjax import recipe
from mdnjax.config import Config
from mdnjax.data import SOURCES, Splits, Truth, make_scaler, to_training_units
from mdnjax.mixture import sample
from mdnjax.scores import coverage, crps, nll, pit
from mdnjax.train import Fit
from mdnjax.trained import Trained, predict


class Result(NamedTuple):
    """All that a report needs of a run."""

    splits: Splits
    truth: Truth
    fit: Fit
    trained: Trained
    metrics: dict[str, float]
    pit: np.ndarray
    samples: np.ndarray


def make_data(config: Config) -> tuple[Splits, Truth]:
    """The parts of the data of a configuration, and their truth."""
    make_splits, truth = SOURCES[config.data.name]
    data = config.data
    sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
    return make_splits(config.seed, **sizes), truth


def run(config: Config, splits: Splits, truth: Truth, clock: Clock) -> Result:
    """Model, training, scores and samples, in this order. A run that diverged is scored as its last sound state."""
    scaler = make_scaler(splits.train, config.data.standardise)
    train, validation = (to_training_units(scaler, part) for part in (splits.train, splits.validation))
    with clock.phase("mdn training"), training("mdn", config.train.num_steps, "validation nll") as observe:
        model_shape, train_shape, numbers = recipe.split_sections(config.model, config.train)
        steps = recipe.make_mdn_recipe(model_shape, train_shape, train.x.shape[1], train.y.shape[1])
        inputs = recipe.make_inputs(numbers, config.seed, train, validation)
        offset = float(np.sum(np.log(scaler.y_sd)))  # scaled nats to nats in the data's own units
        fitted = recipe.follow(
            steps, config.train, inputs, lambda step, loss, score: observe(step, loss + offset, score + offset)
        )
        history = fitted.history._replace(loss=fitted.history.loss + offset, held_out=fitted.history.held_out + offset)
        trained = Trained(fitted.state.params, scaler)
    with clock.phase("scores"):
        train_mixture, validation_mixture, test_mixture = (predict(config.model, trained, part.x) for part in splits)
        pit_values = np.asarray(pit(test_mixture, splits.test.y))
        test_nll, truth_nll = _mean(nll(test_mixture, splits.test.y)), -_mean(truth.log_prob(*splits.test))
        metrics = {
            "train_nll": _mean(nll(train_mixture, splits.train.y)),
            "validation_nll": _mean(nll(validation_mixture, splits.validation.y)),
            "test_nll": test_nll,
            "truth_train_nll": -_mean(truth.log_prob(*splits.train)),
            "truth_nll": truth_nll,
            "excess_nll": test_nll - truth_nll,
            "entropy": truth.entropy(),
            "test_crps": _mean(crps(test_mixture, splits.test.y)),
            "coverage_50": float(coverage(pit_values, 0.5)),
            "coverage_90": float(coverage(pit_values, 0.9)),
        }
    with clock.phase("samples"):
        sample_key = jax.random.fold_in(jax.random.key(config.seed), recipe.SAMPLE)
        samples = np.asarray(sample(sample_key, train_mixture))  # one for every training point
    return Result(splits, truth, fitted._replace(history=history), trained, metrics, pit_values, samples)


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
