"""The straight line from a configuration to a scored mixture; every study of one data set runs along it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.command import UserError
from experiments.progress import Clock, training
from mdnjax import recipe
from mdnjax.components import GAUSSIAN
from mdnjax.config import Config
from mdnjax.data import SOURCES, Scaler, Splits, Truth, make_scaler, make_support, nats_to_data_units, to_training_units
from mdnjax.data.dataset import far_out
from mdnjax.diagnostics import Diagnosis, diagnose, remedies
from mdnjax.mixture import Mixture
from mdnjax.population import Fit, Layout, Observer, local_layout, member, place
from mdnjax.scores import coverage, crps, pit
from mdnjax.selection import best_networks, run_keys
from mdnjax.statistics import sample
from mdnjax.trained import Trained, nll, predict
from mdnjax.types import Params

MOST_BY_QUADRATURE = 1000
METRICS = ("train_nll", "validation_nll", "test_nll", "truth_nll", "train_excess_nll", "excess_nll")


class Result(NamedTuple):
    """All that a report needs of a run."""

    splits: Splits
    truth: Truth | None
    fit: Fit
    trained: Trained
    metrics: dict[str, float]
    diagnosis: Diagnosis
    pit: np.ndarray
    samples: np.ndarray

    @property
    def remarks(self) -> list[str]:
        """What looks wrong, with what helps."""
        return [*far_out(self.splits.train), *remedies(self.diagnosis)]


def make_data(config: Config) -> tuple[Splits, Truth | None]:
    """The parts of the data of a configuration, and their truth.

    Raises: UserError if a target is not inside of the support that the configuration says.
    """
    make_splits, truth = SOURCES[config.data.name]
    data = config.data
    sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
    splits = make_splits(config.seed if data.seed is None else data.seed, **sizes)
    for name, part in zip(Splits._fields, splits, strict=True):
        try:
            make_scaler(part, standardise=False, support=make_support(data.target_support, part.y.shape[1]))
        except ValueError as error:
            raise UserError(f"data.target_support: {name}: {error}") from None
    return splits, truth


def run(config: Config, splits: Splits, truth: Truth | None, clock: Clock) -> Result:
    """Model, training, scores and samples, in this order. A run that diverged is scored as its last sound state."""
    support = make_support(config.data.target_support, splits.train.y.shape[1])
    scaler = make_scaler(splits.train, config.data.standardise, support)
    with clock.phase("mdn training"), training("mdn", config.train.num_steps, "validation nll") as observe:
        params, fitted = train_networks(config, splits, scaler, observe)
    trained = Trained(params, scaler)
    with clock.phase("scores"):
        test_mixture = predict(config.model, trained, splits.test.x)
        metrics = {
            **nll_metrics((nll(config.model, trained, part) for part in splits), nll_of_truth(splits, truth)),
            "entropy": truth.entropy() if truth else math.nan,
        }
        single = splits.test.y.shape[1] == 1
        pit_values = np.asarray(pit(test_mixture, splits.test.y)) if single else np.zeros(0)
        if single:
            metrics["test_crps"] = _mean(_crps(test_mixture, splits.test.y))
            metrics |= {f"coverage_{100 * level:.0f}": float(coverage(pit_values, level)) for level in (0.5, 0.9)}
    with clock.phase("samples"):
        sample_key = jax.random.fold_in(jax.random.key(config.seed), recipe.SAMPLE)
        train_mixture = predict(config.model, trained, splits.train.x)
        samples = np.asarray(sample(sample_key, train_mixture))  # one for every training point
        first = trained._replace(params=jax.tree.map(lambda leaf: leaf[:1], trained.params))  # of an ensemble
        diagnosis = diagnose(predict(config.model, first, splits.train.x), config.model.scale_floor * scaler.y_sd)
    return Result(splits, truth, fitted, trained, metrics, diagnosis, pit_values, samples)


def train_networks(config: Config, splits: Splits, scaler: Scaler, observe: Observer) -> tuple[Params, Fit]:
    """Trains all networks of a configuration, as one population; parameters, networks first, and the training of the first.

    Losses and scores are in the data's own units; the observer sees their means over the runs that have not diverged.
    """
    train, validation = (to_training_units(scaler, part) for part in splits[:2])
    model_shape, train_shape, numbers = recipe.split_sections(config.model, config.train)
    steps = recipe.make_mdn_recipe(model_shape, train_shape, train.x.shape[1], train.y.shape[1])
    keys = run_keys(config.seed, config.ensemble.num_runs)
    layout = local_layout() if len(keys) > 1 else Layout(tuple(jax.local_devices()[:1]), width=1)
    inputs = place(layout, [recipe.make_inputs(numbers, key, train, validation) for key in keys], len(keys))
    offset, offset_held_out = (nats_to_data_units(scaler, part) for part in splits[:2])

    def tell(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if not diverged.all():
            observe(step, float(np.mean(losses[~diverged])) + offset, float(np.mean(scores[~diverged])) + offset_held_out)

    population = recipe.follow_population(steps, config.train, inputs, len(keys), layout, tell)
    chosen, params = best_networks(population, len(keys), config.ensemble.num_restarts, config.train.keep)
    fitted = member(population, int(chosen[0]))
    history = fitted.history._replace(loss=fitted.history.loss + offset, held_out=fitted.history.held_out + offset_held_out)
    return params, Fit(fitted.state, history, bool(population.diverged[chosen].any()))


def nll_of_truth(splits: Splits, truth: Truth | None) -> dict[str, float]:
    """NLL of the exact density on the very points that a network is trained and scored on; NaN where there is none."""
    if truth is None:
        return {"truth_train_nll": math.nan, "truth_nll": math.nan}
    return {
        "truth_train_nll": -_mean(truth.log_prob(*splits.train)),
        "truth_nll": -_mean(truth.log_prob(*splits.test)),
    }


def nll_metrics(nlls: Iterable[Any], known: dict[str, float]) -> dict[str, float]:
    """Mean NLL of each part from the NLL of its examples, beside the truth's; excess is what the network lacks of it."""
    train, validation, test = map(_mean, nlls)
    means = {"train_nll": train, "validation_nll": validation, "test_nll": test}
    excess = {"train_excess_nll": train - known["truth_train_nll"], "excess_nll": test - known["truth_nll"]}
    return {**means, **known, **excess}


def _crps(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """CRPS of every example; where it has no closed form, of the first thousand: a Student-t costs 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = jax.tree.map(lambda leaf: leaf[:MOST_BY_QUADRATURE], (mixture, y))
    return np.asarray(crps(mixture, y))


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
