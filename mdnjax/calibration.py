"""Rows that nothing is trained on: which are held out, and the guarantee and the recalibration that they give to a predictor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mdnjax.config.data import Table
from mdnjax.config.schema import Run
from mdnjax.data.columns import Columns, category_places
from mdnjax.data.dataset import Dataset, select_rows
from mdnjax.data.examples import as_weight
from mdnjax.data.values import TableError
from mdnjax.fitting import make_task
from mdnjax.guarantees import conformal_of_examples, with_guarantee
from mdnjax.observed import Observed, observed_of
from mdnjax.predictor import Predictor
from mdnjax.recalibration import fit_recalibration

CALIBRATION = 7  # purpose of the random numbers that draw the rows


def without_calibration_rows(config: Run, rows: Dataset, columns: Columns) -> tuple[Dataset, Dataset]:
    """Returns the rows to train on, and those of `data.calibration_share`, drawn by the seed of the data.

    Raises: ValueError if `data.calibration_group` is no input column with categories, or rows are censored, or `data.recalibrate`
    cannot be done.
    """
    data = config.data if isinstance(config.data, Table) else Table()
    if data.calibration_share and rows.censoring is not None:
        got = f"got {data.calibration_share:g} with censored rows"
        raise ValueError(f"data.calibration_share: {got}, expected 0, since the guarantee needs targets that are known")
    if data.calibration_group is not None:
        try:
            category_places(columns, rows.x[:0], data.calibration_group)
        except TableError as error:
            raise ValueError(f"data.calibration_group: {error}") from None
    order = np.random.default_rng([config.data_seed, CALIBRATION]).permutation(len(rows.x))
    num = round(data.calibration_share * len(order))
    kept, held = (select_rows(rows, np.sort(part)) for part in (order[num:], order[:num]))
    if data.recalibrate:
        observed = observed_of(make_task(config, kept, select_rows(kept, slice(1))).scaler)
        _check_recalibration("data.recalibrate", rows.y.shape[1], config.model.family, observed)
    return kept, held


def calibrated(config: Run, predictor: Predictor, held: Dataset) -> Predictor:
    """Returns the predictor with a guarantee and recalibrated, by the rows that `without_calibration_rows` held out, if any."""
    if not len(held.x) or not isinstance(config.data, Table):
        return predictor
    predictor = with_guarantee(predictor, conformal_of_examples(predictor, held, config.data.calibration_group))
    return recalibrate_by_examples(predictor, held) if config.data.recalibrate else predictor


def recalibrate(predictor: Predictor, rows: Any, y: Any, weight: Any = None) -> Predictor:
    """Returns the predictor with a monotone map of its PIT, by rows that it was not trained on and their targets y `[n]`.

    The map is used only if it lowers the NLL in cross-validation over these rows, which `predictor.recalibration.gain` says.
    Mean, sd, quantiles, intervals, samples and log densities are then those of the recalibrated distribution; the mixtures and
    the sets with a guarantee do not change. Args: `weight` `[n]` says how much each row counts.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError for several targets, components with
    the tails of Student's t, targets with atoms or on a lattice, or if y or weight has another shape.
    """
    inputs = predictor.inputs(rows)
    weight = None if weight is None else as_weight("weight", weight, len(inputs))
    return recalibrate_by_examples(predictor, Dataset(inputs, predictor.checked_targets(y, len(inputs)), weight))


def recalibrate_by_examples(predictor: Predictor, examples: Dataset) -> Predictor:
    """Does the same as `recalibrate`, by examples whose inputs are those of `predictor.inputs`."""
    observed = observed_of(predictor.scaler)
    _check_recalibration("recalibrate", len(predictor.columns.targets), predictor.model.family, observed)
    return replace(predictor, recalibration=fit_recalibration(predictor.normal_scores(examples), examples.weight))


def recalibration_note(predictor: Predictor) -> str:
    """Returns a sentence about whether the predictor is recalibrated, and the fall of the NLL in cross-validation."""
    known = predictor.recalibration
    assert known is not None
    by = f"by {int(known.num_rows)} rows that nothing was trained on"
    if known.is_identity:
        return f"Not recalibrated {by}: the best map changes the NLL in cross-validation by {-float(known.gain):+.4f}"
    return f"Recalibrated {by}: the map changes the NLL in cross-validation by {-float(known.gain):+.4f}"


def _check_recalibration(name: str, num_targets: int, family: str, observed: Observed) -> None:
    if num_targets > 1:
        raise ValueError(f"{name}: got {num_targets} targets, expected one, since maps of several would change how they depend")
    if family == "student_t":
        raise ValueError(f"{name}: got components of Student's t, expected others, since a map of its tails may have no variance")
    if not observed.is_plain:
        kind, key = ("atoms", "data.atoms=[]") if observed.atoms is not None else ("a lattice of values", "data.lattice=false")
        raise ValueError(f"{name}: got a target with {kind}, expected one with a density of all values, such as by {key}")
