"""The straight line from a configuration to a scored mixture; every study of one data set runs along it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.progress import Clock, training
from mdnjax import recipe
from mdnjax.config import Config
from mdnjax.data import SOURCES, Splits, Truth, make_scaler, scale
from mdnjax.data.dataset import Dataset
from mdnjax.mixture import Mixture, sample
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


def run(config: Config, clock: Clock) -> Result:
    """Data, model, training, scores and samples, in this order. A run that diverged is scored as its last sound state."""
    with clock.phase("data"):
        splits, truth = make_data(config)
        scaler = make_scaler(splits.train, config.data.standardise)
        train, validation = (scale(scaler, part) for part in (splits.train, splits.validation))
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
        on_test = predict(config.model, trained, splits.test.x)
        pit_values = np.asarray(pit(on_test, splits.test.y))
        metrics = {
            **_nll_metrics(config, trained, splits, truth),
            "test_crps": _mean(crps(on_test, splits.test.y)),
            "coverage_50": float(coverage(pit_values, 0.5)),
            "coverage_90": float(coverage(pit_values, 0.9)),
        }
    with clock.phase("samples"):
        samples = draw(config, trained, splits.train.x)
    return Result(splits, truth, fitted._replace(history=history), trained, metrics, pit_values, samples)


def make_data(config: Config) -> tuple[Splits, Truth]:
    """The parts of the data of a configuration, and their truth."""
    make_splits, truth = SOURCES[config.data.name]
    data = config.data
    sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
    return make_splits(config.seed, **sizes), truth


def draw(config: Config, trained: Trained, x: np.ndarray) -> np.ndarray:
    """One Gumbel-max sample of y for every x `[N, X]`."""
    key = jax.random.fold_in(jax.random.key(config.seed), recipe.SAMPLE)
    return np.asarray(sample(key, predict(config.model, trained, x)))


def _nll_metrics(config: Config, trained: Trained, splits: Splits, truth: Truth) -> dict[str, float]:
    def learnt(part: Dataset) -> float:
        mixture: Mixture = predict(config.model, trained, part.x)
        return _mean(nll(mixture, part.y))

    test, true_test = learnt(splits.test), -_mean(truth.log_prob(*splits.test))
    return {
        "train_nll": learnt(splits.train),
        "validation_nll": learnt(splits.validation),
        "test_nll": test,
        "truth_train_nll": -_mean(truth.log_prob(*splits.train)),
        "truth_nll": true_test,
        "excess_nll": test - true_test,
        "entropy": truth.entropy(),
    }


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
