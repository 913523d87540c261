"""The straight line from a configuration to a scored mixture; every study of one data set runs along it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import tables
from experiments.command import UserError
from experiments.progress import Clock, training
from mdnjax import recipe
from mdnjax.components import GAUSSIAN
from mdnjax.config.data import Data, Examples, Table
from mdnjax.config.schema import Run
from mdnjax.data import SOURCES, Scaler, Splits, Truth, make_scaler, make_support, nats_to_data_units
from mdnjax.data.dataset import far_out
from mdnjax.diagnostics import Diagnosis, diagnose, remedies
from mdnjax.ensemble import Kept, compile_networks, held_out_offset, train_networks, trained_of
from mdnjax.mixture import Mixture
from mdnjax.placement import Layout, local_layout
from mdnjax.population import Fit, Observer, member
from mdnjax.scores import coverage, crps, pit
from mdnjax.statistics import sample
from mdnjax.trained import Trained, nll, predict, some_networks, untrained

COMPILING = threading.Lock()  # of two threads that score at once, each would compile what the other one does
MOST_BY_QUADRATURE = 1000
MOST_SAMPLED = 50_000
OF_TRUTH = ("truth_train_nll", "truth_nll", "train_excess_nll", "excess_nll", "entropy")  # nan where there is none
METRICS = ("train_nll", "validation_nll", "test_nll", "truth_nll", "train_excess_nll", "excess_nll")


class Result(NamedTuple):
    """All that a report needs of a run; `of_settings` are the parts of the settings that there was a choice of."""

    config: Run
    of_settings: np.ndarray
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


def make_data(config: Run) -> tuple[Splits, Truth | None]:
    """The parts of the data of a configuration, and their truth.

    Raises: UserError if a target is not inside of the support that the configuration says.
    """
    data, truth, seed = config.data, None, config.data_seed
    if isinstance(data, Table):
        splits = tables.read(data, seed).splits
    else:
        assert isinstance(data, Data)
        make_splits, truth = SOURCES[data.name]
        sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
        splits = make_splits(seed, **sizes)
    check_support(data, splits)
    return splits, truth


def check_support(data: Examples, splits: Splits) -> None:
    """Raises: UserError if a target is not inside of the support that the configuration says."""
    for name, part in zip(Splits._fields, splits, strict=True):
        try:
            make_scaler(part, standardise=False, support=make_support(data.target_support, part.y.shape[1]))
        except ValueError as error:
            raise UserError(f"data.target_support: {name}: {error}") from None


def run(config: Run, splits: Splits, truth: Truth | None, clock: Clock) -> Result:
    """Model, training, scores and samples, in this order. A run that diverged is scored as its last sound state."""
    support = make_support(config.data.target_support, splits.train.y.shape[1])
    scaler = make_scaler(splits.train, config.data.standardise, support)
    with clock.phase("mdn training"), training("mdn", config.train.num_steps, "validation nll") as observe:
        kept, fitted = train(config, splits, scaler, observe)
    trained = trained_of(config, kept, scaler)
    with clock.phase("scores"), COMPILING:
        metrics, pit_values = score(config, trained, splits, truth)
        if config.ensemble.rotate:  # to the mixture of all networks no row of train and validation is new
            metrics["validation_nll"] = float(kept.held_out_nll[0]) + held_out_offset(config, scaler, *splits[:2])
    with clock.phase("samples"):
        samples, diagnosis = look_at(config, trained, splits)
    return Result(config, kept.of_settings[0], splits, truth, fitted, trained, metrics, diagnosis, pit_values, samples)


def compile_ahead(config: Run, splits: Splits) -> Trained:
    """Compiles what `run` runs, by an untrained network of the same shapes, which it returns."""
    support = make_support(config.data.target_support, splits.train.y.shape[1])
    scaler = make_scaler(splits.train, config.data.standardise, support)
    trained = untrained(config.model, scaler, config.ensemble.num_members)
    with COMPILING:
        compile_networks(config, scaler, *splits[:2], layout_of(config))
        look_at(config, trained, splits)
        score(config, trained, splits, None)
    return trained


def score(config: Run, trained: Trained, splits: Splits, truth: Truth | None) -> tuple[dict[str, float], np.ndarray]:
    """Scores by their names, and the PIT of the test rows where there is one target."""
    test_mixture = predict(config.model, trained, splits.test.x)
    metrics = {
        **nll_metrics((nll(config.model, trained, part) for part in splits), nll_of_truth(splits, truth)),
        "entropy": truth.entropy() if truth else math.nan,
    }
    if splits.test.y.shape[1] > 1:
        return metrics, np.zeros(0)
    pit_values = np.asarray(pit(test_mixture, splits.test.y))
    metrics["test_crps"] = _mean(crps_of(test_mixture, splits.test.y))
    metrics |= {f"coverage_{100 * level:.0f}": float(coverage(pit_values, level)) for level in (0.5, 0.9)}
    return metrics, pit_values


def look_at(config: Run, trained: Trained, splits: Splits) -> tuple[np.ndarray, Diagnosis]:
    """A sample for each training point that is shown, and what the network of the largest part makes of these points."""
    sample_key = jax.random.fold_in(jax.random.key(config.seed), recipe.SAMPLE)
    shown = splits.train.x[:MOST_SAMPLED]
    samples = np.asarray(sample(sample_key, predict(config.model, trained, shown)))
    first = some_networks(trained, [0 if trained.weight is None else int(np.argmax(trained.weight))])
    floor = config.model.scale_floor if first.scale_floor is None else float(first.scale_floor[0])
    return samples, diagnose(predict(config.model, first, shown), floor * trained.scaler.y_sd)


def layout_of(config: Run) -> Layout:
    """Where the networks of a configuration are trained."""
    return local_layout() if config.num_runs > 1 else Layout(tuple(jax.local_devices()[:1]), width=1)


def train(config: Run, splits: Splits, scaler: Scaler, observe: Observer) -> tuple[Kept, Fit]:
    """Trains all networks of a configuration, as one population; those kept, and the training of the one with the largest part.

    Losses and scores are in the data's own units; the observer sees their means over the runs that have not diverged.
    """
    offset, offset_held_out = (nats_to_data_units(scaler, part) for part in splits[:2])

    def tell(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if not diverged.all():
            observe(step, float(np.mean(losses[~diverged])) + offset, float(np.mean(scores[~diverged])) + offset_held_out)

    kept, population = train_networks(config, scaler, *splits[:2], layout_of(config), observe=tell)
    fitted = member(population, int(kept.leading[0]))
    history = fitted.history._replace(loss=fitted.history.loss + offset, held_out=fitted.history.held_out + offset_held_out)
    return kept, Fit(fitted.state, history, bool((population.diverged[kept.runs] & (kept.weight > 0)).any()))


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


def crps_of(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """CRPS of every example; where it has no closed form, of the first thousand: a Student-t costs 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = jax.tree.map(lambda leaf: leaf[:MOST_BY_QUADRATURE], (mixture, y))
    return np.asarray(crps(mixture, y))


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
