"""The straight line from a configuration to a scored mixture; every study of one data set runs along it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.command import UserError
from experiments.progress import Clock, training
from mdnjax import recipe
from mdnjax.components import GAUSSIAN
from mdnjax.config import Config
from mdnjax.data import SOURCES, Splits, Truth, make_scaler, make_support, nats_to_data_units, to_training_units
from mdnjax.mixture import Mixture
from mdnjax.population import Fit
from mdnjax.scores import coverage, crps, pit
from mdnjax.statistics import sample
from mdnjax.trained import Trained, nll, predict

MOST_BY_QUADRATURE = 1000
METRICS = ("train_nll", "validation_nll", "test_nll", "truth_nll", "excess_nll")


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
    """The parts of the data of a configuration, and their truth.

    Raises: UserError if a target is not inside of the support that the configuration says.
    """
    make_splits, truth = SOURCES[config.data.name]
    data = config.data
    sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
    splits = make_splits(config.seed, **sizes)
    for name, part in zip(Splits._fields, splits, strict=True):
        try:
            make_scaler(part, standardise=False, support=make_support(data.target_support, part.y.shape[1]))
        except ValueError as error:
            raise UserError(f"data.target_support: {name}: {error}") from None
    return splits, truth


def run(config: Config, splits: Splits, truth: Truth, clock: Clock) -> Result:
    """Model, training, scores and samples, in this order. A run that diverged is scored as its last sound state."""
    support = make_support(config.data.target_support, splits.train.y.shape[1])
    scaler = make_scaler(splits.train, config.data.standardise, support)
    train, validation = (to_training_units(scaler, part) for part in (splits.train, splits.validation))
    with clock.phase("mdn training"), training("mdn", config.train.num_steps, "validation nll") as observe:
        model_shape, train_shape, numbers = recipe.split_sections(config.model, config.train)
        steps = recipe.make_mdn_recipe(model_shape, train_shape, train.x.shape[1], train.y.shape[1])
        inputs = recipe.make_inputs(numbers, config.seed, train, validation)
        offset, offset_held_out = (nats_to_data_units(scaler, part) for part in splits[:2])
        fitted = recipe.follow(
            steps, config.train, inputs, lambda step, loss, score: observe(step, loss + offset, score + offset_held_out)
        )
        history = fitted.history
        history = history._replace(loss=history.loss + offset, held_out=history.held_out + offset_held_out)
        trained = Trained(fitted.state.params, scaler)
    with clock.phase("scores"):
        test_mixture = predict(config.model, trained, splits.test.x)
        pit_values = np.asarray(pit(test_mixture, splits.test.y))
        metrics = {
            **nll_metrics((nll(config.model, trained, part) for part in splits), nll_of_truth(splits, truth)),
            "entropy": truth.entropy(),
            "test_crps": _mean(_crps(test_mixture, splits.test.y)),
            "coverage_50": float(coverage(pit_values, 0.5)),
            "coverage_90": float(coverage(pit_values, 0.9)),
        }
    with clock.phase("samples"):
        sample_key = jax.random.fold_in(jax.random.key(config.seed), recipe.SAMPLE)
        train_mixture = predict(config.model, trained, splits.train.x)
        samples = np.asarray(sample(sample_key, train_mixture))  # one for every training point
    return Result(splits, truth, fitted._replace(history=history), trained, metrics, pit_values, samples)


def nll_of_truth(splits: Splits, truth: Truth) -> dict[str, float]:
    """NLL of the exact density on the very points that a network is trained and scored on."""
    return {
        "truth_train_nll": -_mean(truth.log_prob(*splits.train)),
        "truth_nll": -_mean(truth.log_prob(*splits.test)),
    }


def nll_metrics(nlls: Iterable[Any], known: dict[str, float]) -> dict[str, float]:
    """Mean NLL of each part from the NLL of its examples, beside the truth's; excess is what the network lacks of it."""
    train, validation, test = map(_mean, nlls)
    means = {"train_nll": train, "validation_nll": validation, "test_nll": test}
    return {**means, **known, "excess_nll": test - known["truth_nll"]}


def _crps(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """CRPS of every example; where it has no closed form, of the first thousand: a Student-t costs 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = jax.tree.map(lambda leaf: leaf[:MOST_BY_QUADRATURE], (mixture, y))
    return np.asarray(crps(mixture, y))


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
