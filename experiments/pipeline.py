"""The steps from a configuration to a scored mixture, which all studies of one data set share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import reading
from experiments.command import UserError
from experiments.progress import Clock
from experiments.reading.on_disk import MAX_SCORED_ROWS
from mdnjax.config.data import Data, Examples, Table
from mdnjax.config.schema import Run
from mdnjax.data import SOURCES, Splits, Truth, make_scaler, to_training_units
from mdnjax.data.bounds import check_inside
from mdnjax.data.columns import Columns
from mdnjax.data.dataset import joined, mean_over_rows, select_rows
from mdnjax.data.notes import outliers
from mdnjax.data.scaler import mixture_units
from mdnjax.data.stored import RowSource, StoreError
from mdnjax.data.training_units import support_and_atoms
from mdnjax.diagnostics import Diagnosis, diagnose, remedies
from mdnjax.ensemble import floors_of, select_networks, untrained
from mdnjax.evaluation import crps_of, mean_of_first_rows, weight_of_observed
from mdnjax.fitting import fit_networks, make_task, placement_of, preparation_of
from mdnjax.model_file import save
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.progress import training_progress
from mdnjax.scores import coverage, pit
from mdnjax.training import functions
from mdnjax.training.population import Fit
from mdnjax.training.tasks import compile_networks

COMPILATION_LOCK = threading.Lock()  # without it, two threads that score at once would both compile the same programs
MAX_SAMPLED_POINTS = 50_000
TRUTH_METRICS = ("truth_train_nll", "truth_nll", "train_excess_nll", "excess_nll", "entropy")  # NaN if the truth is unknown
METRICS = ("train_nll", "validation_nll", "test_nll", "truth_nll", "train_excess_nll", "excess_nll")


class Result(NamedTuple):
    """Everything that a report of a run needs; `setting_weights` are those of `selection.settings` in the mixture.

    `test_scores` are arrays with a number for each test row: "nll" and, for a single target, "crps" and "pit".
    """

    config: Run
    setting_weights: np.ndarray
    splits: Splits
    truth: Truth | None
    fit: Fit
    predictor: Predictor
    metrics: dict[str, float]
    diagnosis: Diagnosis
    test_scores: dict[str, np.ndarray]
    samples: np.ndarray

    @property
    def pit(self) -> np.ndarray:
        """The PIT of each test row; empty if there are several targets."""
        return self.test_scores.get("pit", np.zeros(0))

    @property
    def noisy(self) -> bool:
        """Whether noise is added to the training points, in any of the settings."""
        trains = [self.config.with_setting(i).train for i in range(self.config.selection.num_settings)]
        return any(noise != 0 for train in trains for noise in (train.x_noise, train.y_noise))

    @property
    def notes(self) -> list[str]:
        """Sentences about what looks wrong, each with a remedy; the outliers of a table are reported when it is read."""
        of_data = () if isinstance(self.config.data, Table) else outliers(self.splits.train)
        cells = self.predictor.observed.lattice is not None  # there the NLL does not depend on the scale floor
        return [*of_data, *remedies(self.diagnosis._replace(share_at_floor=0.0) if cells else self.diagnosis, self.config)]


def make_data(config: Run) -> tuple[Splits, Truth | None]:
    """Returns the train, validation and test parts of a configuration's data, and the exact density where it is known.

    Raises: UserError if a table cannot be read, or as `check_support` does.
    """
    data, truth, seed = config.data, None, config.data_seed
    if isinstance(data, Table):
        splits = reading.read_table(data, seed).splits
    else:
        assert isinstance(data, Data)
        make_splits, truth = SOURCES[data.name]
        sizes = {"num_train": data.num_train, "num_validation": data.num_validation, "num_test": data.num_test}
        splits = make_splits(seed, **sizes)
        check_support(data, splits)
    return splits, truth


def columns_of(config: Run) -> Columns | None:
    """Returns the columns of a configuration's table; None if its data are not a table."""
    return reading.read_table(config.data, config.data_seed).columns if isinstance(config.data, Table) else None


def check_support(data: Examples, splits: Splits) -> None:
    """Raises: UserError if a target is outside of the configured support, or a value is too large for the units of training."""
    try:
        support, atoms = support_and_atoms(data, joined(*splits[:2]))
    except ValueError as error:
        raise UserError(str(error)) from None
    for name, part in zip(Splits._fields, splits, strict=True):
        try:
            check_inside(support, part.y if atoms is None else atoms.latent(part.y))
        except ValueError as error:
            raise UserError(f"data.target_support: {name}: {error}") from None
    try:
        scaler = make_scaler(splits.train, data.standardise, support, atoms)
        for part in splits:
            to_training_units(scaler, part)
    except ValueError as error:
        raise UserError(f"data: {error}") from None


def run(
    config: Run,
    splits: Splits,
    truth: Truth | None,
    clock: Clock,
    model_file: Path,
    columns: Columns | None = None,
    calibrate: Callable[[Predictor], Predictor] = lambda predictor: predictor,
    source: RowSource | None = None,
) -> Result:
    """Trains, scores and samples, in this order; a run that diverged is scored at its last finite parameters.

    The model is saved right after training, so that no later error can lose it, and again after `calibrate`, if that changes it.
    Args: `source` has all rows to train on, if the splits are only some of them.
    Raises: UserError if these rows cannot be stored in a file.
    """
    budget = getattr(config, "budget", None)
    preparation = preparation_of(config) if source is None else "storing rows and compiling"
    progress = training_progress("mixture", config.train.num_steps, preparation=preparation, budget=budget)
    with clock.phase("mixture training"), progress as observe:
        try:
            fitted = fit_networks(config, *splits[:2], columns=columns, observe=observe, budget=budget, source=source)
        except StoreError as error:
            raise UserError(f"data: {error}") from None
    if source is not None and source.num_rows > sum(len(part.x) for part in splits):
        spacing = -(-len(splits.train.x) // MAX_SCORED_ROWS)
        splits = splits._replace(train=select_rows(splits.train, slice(None, None, spacing)))
    predictor, selected = fitted.predictor, fitted.selected
    save(model_file, predictor)
    if (changed := calibrate(predictor)) is not predictor:
        predictor = changed
        save(model_file, predictor)
    with clock.phase("scores"), COMPILATION_LOCK:
        metrics, test_scores = score(predictor, splits, truth)
        if config.ensemble.rotate:  # the networks of the mixture have trained on all rows, each on others
            metrics["validation_nll"] = float(selected.validation_nll[0])
    with clock.phase("samples"):
        samples, diagnosis = sample_and_diagnose(predictor, splits, config.seed)
    return Result(
        config, selected.setting_weights[0], splits, truth, fitted.leading, predictor, metrics, diagnosis, test_scores, samples
    )


def compile_ahead(config: Run, splits: Splits) -> Predictor:
    """Compiles the programs of `run`, and returns the untrained predictor of the same shapes that it uses for this."""
    task = make_task(config, *splits[:2])
    sizes = (splits.train.x.shape[1], splits.train.y.shape[1])
    predictor = make_predictor(config.model, untrained(config.model, *sizes, config.ensemble.num_members), task.scaler)
    with COMPILATION_LOCK:
        compile_networks(task, placement_of(config))
        sample_and_diagnose(predictor, splits, config.seed)
        score(predictor, splits, None)
    return predictor


def score(predictor: Predictor, splits: Splits, truth: Truth | None) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Returns scores by name, and those of each test row (see `Result`)."""
    test, observed = splits.test, predictor.observed
    nlls = [predictor.nll(part) for part in splits]
    metrics = {**nll_metrics(nlls, splits, nll_of_truth(splits, truth)), "entropy": truth.entropy() if truth else math.nan}
    test_scores = {"nll": nlls[-1]}
    if test.y.shape[1] > 1:
        return metrics, test_scores
    mixture, units = predictor.at(test.x), predictor.units
    of_known = test.weight if test.censoring is None else weight_of_observed(test.censoring, test.weight)
    if observed.is_plain:
        y = units.relative(test.y).astype(np.float32)
        test_scores["crps"] = np.asarray(crps_of(mixture, y), np.float64) * float(units.factor[0])
        test_scores["pit"] = np.asarray(pit(mixture, y))
    else:
        scores = observed.as_recorded().scores(mixture, units, test.y)
        test_scores |= {"crps": scores.crps, "pit": scores.pit}
    metrics["test_crps"] = mean_of_first_rows(test_scores["crps"], of_known)
    if test.censoring is not None:
        test_scores["pit"] = observed.pit(mixture, units, test.y, test.censoring)
        test_scores["crps"] = np.where(test.censoring[: len(test_scores["crps"])] == 0, test_scores["crps"], np.nan)
    metrics |= {f"coverage_{100 * level:.0f}": float(coverage(test_scores["pit"], level, test.weight)) for level in (0.5, 0.9)}
    return metrics, test_scores


def sample_and_diagnose(predictor: Predictor, splits: Splits, seed: int) -> tuple[np.ndarray, Diagnosis]:
    """Returns a sample for each of the first training points, and a diagnosis of the network with the largest weight on them."""
    sample_key = jax.random.fold_in(jax.random.key(seed), functions.SAMPLE)
    x, networks = splits.train.x[:MAX_SAMPLED_POINTS], predictor.networks
    samples = np.asarray(predictor.observed.mixture_draws(sample_key, predictor.at(x), 1))[0]
    samples = predictor.observed.draws(predictor.units.absolute(samples))
    largest = select_networks(networks, [0 if networks.weight is None else int(np.argmax(networks.weight))])
    largest = largest._replace(least_squares=None)
    floor = float(floors_of(largest, predictor.model.scale_floor)[0])
    return samples, diagnose(replace(predictor, networks=largest).at(x), floor * mixture_units(predictor.scaler)[1].sd)


def nll_of_truth(splits: Splits, truth: Truth | None) -> dict[str, float]:
    """Returns the NLL of the exact density on the training and test points; NaN where it is unknown."""
    if truth is None:
        return {"truth_train_nll": math.nan, "truth_nll": math.nan}
    return {
        "truth_train_nll": -float(mean_over_rows(truth.log_prob(splits.train.x, splits.train.y))),
        "truth_nll": -float(mean_over_rows(truth.log_prob(splits.test.x, splits.test.y))),
    }


def nll_metrics(nlls: Iterable[np.ndarray], splits: Splits, truth: dict[str, float]) -> dict[str, float]:
    """Returns the mean NLL of each part, that of the truth (`truth`), and the excess of the one over the other."""
    weights = (part.weight for part in splits)
    train, validation, test = (float(mean_over_rows(*part)) for part in zip(nlls, weights, strict=True))
    means = {"train_nll": train, "validation_nll": validation, "test_nll": test}
    excess = {"train_excess_nll": train - truth["truth_train_nll"], "excess_nll": test - truth["truth_nll"]}
    return {**means, **truth, **excess}
