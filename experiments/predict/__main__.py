"""Predicts for new rows: mean, sd, quantiles, intervals, modes, densities or samples of a saved model, into CSV or Parquet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments import command
from experiments.predict.columns import Predict, answered
from experiments.predict.writing import writing
from experiments.progress import ProgressLine
from experiments.reading import files
from mdnjax.checkpoint import CheckpointError
from mdnjax.data.columns import unseen
from mdnjax.data.scaler import relative_transform, relative_units
from mdnjax.data.values import TableError, check_name, values_of
from mdnjax.mixture import Mixture
from mdnjax.model_file import load
from mdnjax.predictor import Predictor

SUFFIXES = (".csv", ".parquet")


def predict(config: Predict, overwrite: bool) -> None:
    """Reads the rows chunk by chunk, and writes what is predicted for each."""
    command.settle(config.runtime)
    predictor = _model(config)
    if config.output.suffix not in SUFFIXES:
        raise command.UserError(f"output: got {str(config.output)!r}, expected a name that ends in {' or '.join(SUFFIXES)}")
    if config.output.exists() and not overwrite:
        raise command.UserError(f"output: {config.output} is there already; choose another with output=FILE, or --overwrite")
    if config.density_at is not None and len(predictor.columns.targets) > 1:
        raise command.UserError(f"density_at: got a model of {len(predictor.columns.targets)} targets, expected a single one")
    num, notes, progress, start = 0, dict[str, None](), ProgressLine(), time.perf_counter()
    with writing(config.output, overwrite) as write:
        for chunk in _chunks(config, predictor):
            write(_predicted(config, predictor, chunk, num, notes))
            num += len(next(iter(chunk.values())))
            progress.tell(lambda now, num=num: f"predict: {num:,} rows  {num / (now - start):,.0f} rows/s")
        if not num:
            raise command.UserError(f"{config.file}: got no rows")
    progress.end()
    for note in notes:
        print(f"note: {note}")
    print(f"{num:,} rows in {time.perf_counter() - start:.1f} s: {config.output}")


def _model(config: Predict) -> Predictor:
    try:
        return load(config.model)
    except CheckpointError as error:
        raise command.UserError(str(error)) from None


def _chunks(config: Predict, predictor: Predictor) -> Iterator[dict[str, np.ndarray]]:
    path, inputs = Path(config.file), predictor.columns.inputs
    texts = [column.name for column in inputs if column.categories is not None]
    try:
        if config.output.suffix == ".csv":
            texts += config.keep  # as it is written in the file
        elif config.keep:
            texts += files.mixed_columns(path, config.delimiter, config.chunk_rows, config.keep)
        yield from files.read_chunks(path, config.delimiter, config.chunk_rows, texts)
    except TableError as error:
        raise command.UserError(f"{path}: {error}") from None


def _predicted(
    config: Predict, predictor: Predictor, chunk: dict[str, np.ndarray], first: int, notes: dict[str, None]
) -> dict[str, np.ndarray]:
    try:
        x = predictor.inputs(chunk)
        predictor.scaled(x)
        notes |= dict.fromkeys(unseen(predictor.columns, chunk))
        density_at = [] if config.density_at is None else [config.density_at]
        for name in (*config.keep, *density_at):
            check_name(list(chunk), name)
        at = [_relative(predictor, values_of(chunk, name, numeric=True)) for name in density_at]
    except TableError as error:
        raise command.UserError(f"{config.file}: {error.below(first)}") from None
    key, names = jax.random.fold_in(jax.random.key(config.seed), first), list[str]()

    def question(mixture: Mixture, *at: np.ndarray) -> list[np.ndarray]:
        found = answered(config, predictor, mixture, at, key)
        names[:] = found
        return list(found.values())

    values = predictor.map_rows(question, x, *at, transform=relative_transform(predictor.scaler), most=config.chunk_rows)
    copied = {name: chunk[name] for name in config.keep}
    if both := next((name for name in copied if name in names), None):
        raise command.UserError(f"keep: got {both!r}, which is the name of a column of the predictions; rename it in the file")
    return {**copied, **dict(zip(names, values, strict=True))}


def _relative(predictor: Predictor, y: np.ndarray) -> np.ndarray:
    return relative_units(predictor.scaler).relative(y).astype(np.float32)


if __name__ == "__main__":
    command.main("experiments.predict", __doc__ or "", Predict, None, predict, files=("model", "file"))
