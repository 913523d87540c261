"""Predicts for new rows: mean, sd, quantiles, intervals, modes, densities or samples of a saved model, as CSV or Parquet."""

from __future__ import annotations

import time

from experiments import command
from experiments.predict.columns import Predict
from experiments.predict.parts import is_pattern
from experiments.predict.rows import predict_file
from experiments.predict.sharing import predict_parts, rows_shown
from experiments.predict.writing import already_exists
from experiments.sentences import say
from mdnjax.checkpoint import CheckpointError
from mdnjax.conformity import EVERY_ROW
from mdnjax.model_file import load
from mdnjax.predictor import Predictor
from mdnjax.progress import ProgressLine, running

SUFFIXES = (".csv", ".parquet")
MAX_VALUES = 1000  # whose probabilities are written, each in a column
FLAGS = {"overwrite": "replace the output file"}


def predict(config: Predict, overwrite: bool) -> None:
    """Reads the rows chunk by chunk, and writes the predictions for each."""
    command.setup_runtime(config.runtime)
    with running("predict: reading the model"):
        predictor, start = _load_model(config), time.perf_counter()
    if not is_pattern(config):
        _check_single(config, overwrite)
    _check_columns(config, predictor)
    progress = ProgressLine()
    with running("predict: compiling and predicting"):
        if is_pattern(config):
            summary, kept = predict_parts(config, predictor, overwrite, progress)
        else:
            summary, kept = predict_file(config, predictor, overwrite, rows_shown(progress)), 0
    progress.end()
    notes = ["modes are those of the mixtures before recalibration"] * _has_other_modes(config, predictor)
    counts = sorted(summary.counts.items(), key=lambda item: -item[1])
    notes += [*summary.notes, *(f"{count:,} of {summary.num_rows:,} rows: {name}" for name, count in counts)]
    notes += [f"{kept} parts were complete already"] * (kept > 0)
    say(*(f"note: {note}" for note in notes))
    say(f"{summary.num_rows:,} rows predicted in {time.perf_counter() - start:.1f} s: {config.output}")


def _check_single(config: Predict, overwrite: bool) -> None:
    """Raises: UserError if the rows of a single file cannot be predicted as the configuration says."""
    if config.cluster.is_used:
        expected = "expected a pattern such as 'rows/*.parquet', whose files the workers share"
        raise command.UserError(f"cluster: got the single file {config.file!r}, {expected}")
    if config.output.suffix not in SUFFIXES:
        raise command.UserError(f"output: got {str(config.output)!r}, expected a name that ends in {' or '.join(SUFFIXES)}")
    if config.output.exists() and not overwrite:
        raise already_exists(config.output)


def _has_other_modes(config: Predict, predictor: Predictor) -> bool:
    return config.modes > 0 and predictor.observed.recalibration is not None


def _check_columns(config: Predict, predictor: Predictor) -> None:
    """Raises: UserError if the model lacks what the configuration asks for."""
    if config.density_at is not None and len(predictor.columns.targets) > 1:
        raise command.UserError(f"density_at: got a model of {len(predictor.columns.targets)} targets, expected a single target")
    scores = predictor.conformal
    if config.guarantee and (scores is None or (scores.column is None and scores.names != (EVERY_ROW,))):
        got = "no rows for it" if scores is None else "rows in groups that are no column"
        raise command.UserError(f"guarantee: got a model with {got}, expected one trained with data.calibration_share=0.2")
    if config.regions and not config.guarantee and predictor.observed.recalibration is not None:
        raise command.UserError("regions: got a recalibrated model, whose regions are not known, expected guarantee=true")
    num_values = 0
    if config.probabilities and predictor.observed.has_probabilities:
        num_values = max(len(predictor.observed.select(d).values) for d in range(len(predictor.columns.targets)))
    if config.probabilities and not 0 < num_values <= MAX_VALUES:
        got = f"{num_values} values" if num_values else "a target on no lattice, such as whole numbers"
        raise command.UserError(f"probabilities: got a model of {got}, expected a lattice of at most {MAX_VALUES} values")


def _load_model(config: Predict) -> Predictor:
    try:
        return load(config.model)
    except CheckpointError as error:
        raise command.UserError(str(error)) from None


if __name__ == "__main__":
    command.main("experiments.predict", __doc__ or "", Predict, None, predict, files=("model", "file"), flags=FLAGS)
