"""Predicts for new rows: mean, sd, quantiles, intervals, modes, densities or samples of a saved model, as CSV or Parquet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np

from experiments import command
from experiments.predict.columns import Predict, columns_of
from experiments.predict.writing import already_exists, writing
from experiments.reading import files
from experiments.reading.hints import hint
from mdnjax.checkpoint import CheckpointError
from mdnjax.conformity import EVERY_ROW
from mdnjax.data.columns import unseen
from mdnjax.data.scaler import relative_transform
from mdnjax.data.values import TableError, check_name, numbers_of
from mdnjax.guarantees import group_places
from mdnjax.mixture import Mixture
from mdnjax.model_file import load
from mdnjax.outside import outside_of_training
from mdnjax.predictor import Predictor
from mdnjax.progress import ProgressLine

SUFFIXES = (".csv", ".parquet")
MAX_VALUES = 1000  # whose probabilities are written, each in a column
FLAGS = {"overwrite": "replace the output file"}


def predict(config: Predict, overwrite: bool) -> None:
    """Reads the rows chunk by chunk, and writes the predictions for each."""
    command.setup_runtime(config.runtime)
    predictor = _load_model(config)
    if config.output.suffix not in SUFFIXES:
        raise command.UserError(f"output: got {str(config.output)!r}, expected a name that ends in {' or '.join(SUFFIXES)}")
    if config.output.exists() and not overwrite:
        raise already_exists(config.output)
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
    num, notes, progress, start = 0, dict[str, None](), ProgressLine(), time.perf_counter()
    if config.modes and predictor.observed.recalibration is not None:
        notes["modes are those of the mixtures before recalibration"] = None
    counts = Counter[str]()
    with writing(config.output, overwrite) as write:
        for chunk in _chunks(config, predictor):
            write(_predict_chunk(config, predictor, chunk, num, notes, counts))
            num += len(next(iter(chunk.values())))
            progress.update(lambda now, num=num: f"predict: {num:,} rows  {num / (now - start):,.0f} rows/s")
    progress.end()
    for note in (*notes, *(f"{count:,} of {num:,} rows: {name}" for name, count in counts.most_common())):
        print(f"note: {note}")
    print(f"{num:,} rows predicted in {time.perf_counter() - start:.1f} s: {config.output}")


def _names_outside(found: Mapping[str, np.ndarray], num_rows: int, counts: Counter[str]) -> np.ndarray:
    """Returns the names of the columns in which each row is outside, and counts the rows of each."""
    for name, is_outside in found.items():
        counts[f"column {name!r} is outside of what training had, so that their predictions are a guess"] += int(is_outside.sum())
    names = [[name for name, is_outside in found.items() if is_outside[row]] for row in range(num_rows)]
    return np.array(["; ".join(of_row) for of_row in names], dtype=object)


def _rows_without_ends(config: Predict, predictor: Predictor, groups: np.ndarray) -> Counter[str]:
    """Returns how many rows have intervals without ends, since their group has too few rows with scores."""
    counts, scores = Counter[str](), predictor.conformal
    if config.guarantee and scores is not None:
        sizes = np.bincount(scores.group, minlength=len(scores.names))[groups]
        for level in sorted({*config.intervals, *config.regions}):
            few = sizes < scores.min_rows(level)
            counts[f"a set of {100 * level:g} % has no ends, which takes {scores.min_rows(level)} rows with scores"] += int(
                few.sum()
            )
    return +counts  # without zeros


def _load_model(config: Predict) -> Predictor:
    try:
        return load(config.model)
    except CheckpointError as error:
        raise command.UserError(str(error)) from None


def _chunks(config: Predict, predictor: Predictor) -> Iterator[dict[str, np.ndarray]]:
    path, inputs = Path(config.file), predictor.columns.inputs
    text_format = files.text_format_of(config)
    text_columns = [column.name for column in inputs if column.categories is not None]
    try:
        if config.output.suffix == ".csv":
            text_columns += config.keep  # so that they are copied as they are written in the file
        elif config.keep:
            text_columns += files.mixed_columns(path, text_format, config.chunk_rows, config.keep)
        yield from files.read_chunks(path, text_format, config.chunk_rows, text_columns)
    except TableError as error:
        raise command.UserError(f"{path}: {error}{hint(error, path, text_format)}") from None


def _predict_chunk(
    config: Predict,
    predictor: Predictor,
    chunk: dict[str, np.ndarray],
    first_row: int,
    notes: dict[str, None],
    counts: Counter[str],
) -> dict[str, np.ndarray]:
    try:
        x = predictor.inputs(chunk)
        predictor.scaled(x)
        notes |= dict.fromkeys(unseen(predictor.columns, chunk))
        density_at = [] if config.density_at is None else [config.density_at]
        for name in (*config.keep, *density_at):
            check_name(list(chunk), name)
        at = [numbers_of(chunk, name) for name in density_at]
    except TableError as error:
        words = hint(error, Path(config.file), files.text_format_of(config))
        raise command.UserError(f"{config.file}: {error.below(first_row)}{words}") from None
    key, names = jax.random.fold_in(jax.random.key(config.seed), first_row), list[str]()

    groups = group_places(predictor, x) if config.guarantee else np.zeros(len(x), int)
    counts.update(_rows_without_ends(config, predictor, groups))

    def compute(mixture: Mixture, groups: np.ndarray, *at: np.ndarray) -> list[np.ndarray]:
        columns = columns_of(config, predictor, mixture, groups, at, key)
        names[:] = columns
        return list(columns.values())

    values = predictor.map_rows(
        compute, x, groups, *at, transform=relative_transform(predictor.scaler), max_rows=config.chunk_rows
    )
    copied = {name: chunk[name] for name in config.keep}
    if config.outside:
        if "outside" in copied:
            raise command.UserError(
                "keep: got 'outside', which is the name of a column of the predictions; rename it in the file"
            )
        copied["outside"] = _names_outside(outside_of_training(predictor, x), len(x), counts)
    if clash := next((name for name in copied if name in names), None):
        raise command.UserError(f"keep: got {clash!r}, which is the name of a column of the predictions; rename it in the file")
    return {**copied, **dict(zip(names, values, strict=True))}


if __name__ == "__main__":
    command.main("experiments.predict", __doc__ or "", Predict, None, predict, files=("model", "file"), flags=FLAGS)
