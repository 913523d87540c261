"""Predicts for the rows of one file, chunk by chunk: several chunks at a time, while the next is read and the last is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import command
from experiments.predict.columns import Predict, columns_of
from experiments.predict.writing import table_writer
from experiments.reading import files
from experiments.reading.hints import hint
from mdnjax.batching import padded_size
from mdnjax.data.columns import unseen
from mdnjax.data.scaler import relative_transform
from mdnjax.data.values import TableError, check_name, numbers_of
from mdnjax.guarantees import group_places
from mdnjax.mixture import Mixture
from mdnjax.outside import outside_of_training, unlike_training_of_inputs
from mdnjax.parallel import map_in_threads, max_block_rows
from mdnjax.predictor import Predictor

COMBINATION = "combination"  # what is written for a row that is unlike those of training, though each of its inputs is inside


class Chunk(NamedTuple):
    """Some rows of a file, and how many come before them."""

    first_row: int
    table: dict[str, np.ndarray]


class Predicted(NamedTuple):
    """The predictions for a chunk, sentences about its rows, and further sentences with the number of rows of each."""

    columns: dict[str, np.ndarray]
    notes: list[str]
    counts: Counter[str]


class Summary(NamedTuple):
    """The number of rows that were predicted, and sentences about them."""

    num_rows: int = 0
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = {}

    def plus(self, other: Summary) -> Summary:
        """Returns the summary of both together."""
        notes = tuple(dict.fromkeys([*self.notes, *other.notes]))
        return Summary(self.num_rows + other.num_rows, notes, Counter(self.counts) + Counter(other.counts))


def predict_file(
    config: Predict,
    predictor: Predictor,
    overwrite: bool,
    report: Callable[[int], None],
    *,
    record: str = "",
    compiled: bool = False,
) -> Summary:
    """Writes the predictions for the file of a configuration to its output, which appears whole at the end.

    Args: report(number of rows) is called after each chunk; `record` is text about the predictions that a Parquet file stores;
    the programs are `compiled` if another such file was predicted before.
    Raises: UserError for what the user can correct.
    """
    summary, chunks, predict_chunk = Summary(), _chunks(config, predictor), partial(_predict_chunk, config, predictor)
    with table_writer(config.output, overwrite, record) as write:
        for done in map_in_threads(predict_chunk, chunks, compiled):
            write(done.columns)
            summary = summary.plus(Summary(len(next(iter(done.columns.values()), ())), tuple(done.notes), done.counts))
            report(summary.num_rows)
    return summary


def _chunks(config: Predict, predictor: Predictor) -> Iterator[Chunk]:
    path, inputs, num = Path(config.file), predictor.columns.inputs, 0
    text_format = files.text_format_of(config)
    text_columns = [column.name for column in inputs if column.categories is not None]
    try:
        if config.output.suffix == ".csv":
            text_columns += config.keep  # so that they are copied as they are written in the file
        elif config.keep:
            text_columns += files.mixed_columns(path, text_format, config.chunk_rows, config.keep)
        for table in files.read_chunks(path, text_format, config.chunk_rows, text_columns):
            yield Chunk(num, table)
            num += len(next(iter(table.values())))
    except TableError as error:
        raise command.UserError(f"{path}: {error}{hint(error, path, text_format)}") from None


def _predict_chunk(config: Predict, predictor: Predictor, chunk: Chunk) -> Predicted:
    first_row, table = chunk
    try:
        x = predictor.inputs(table)
        predictor.scaled(x)
        notes = list(unseen(predictor.columns, table))
        density_at = [] if config.density_at is None else [config.density_at]
        for name in (*config.keep, *density_at):
            check_name(list(table), name)
        at = [numbers_of(table, name) for name in density_at]
    except TableError as error:
        words = hint(error, Path(config.file), files.text_format_of(config))
        raise command.UserError(f"{config.file}: {error.below(first_row)}{words}") from None
    key, names = jax.random.key(config.seed), list[str]()

    groups = group_places(predictor, x) if config.guarantee else np.zeros(len(x), int)
    counts = _rows_without_ends(config, predictor, groups)

    def compute(mixture: Mixture, rows: np.ndarray, groups: np.ndarray, *at: np.ndarray) -> list[np.ndarray]:
        columns = columns_of(config, predictor, mixture, groups, at, jax.random.fold_in(key, rows[0]))
        names[:] = columns
        return list(columns.values())

    # The last chunk of a file is padded to the size of a block, since compiling takes longer than predicting a block.
    num = max(len(x), min(padded_size(config.chunk_rows), max_block_rows()) if first_row else 0)
    arrays = [np.resize(values, (num, *values.shape[1:])) for values in (x, first_row + np.arange(len(x)), groups, *at)]
    values = predictor.map_rows(compute, *arrays, transform=relative_transform(predictor.scaler))
    values = [column[: len(x)] for column in values]
    copied = {name: table[name] for name in config.keep}
    if config.outside:
        if "outside" in copied:
            raise _clash("outside")
        copied["outside"] = _names_outside(predictor, x, counts)
        notes += [] if predictor.known else ["the model contains no rows of training, so that only single columns are compared"]
    if clash := next((name for name in copied if name in names), None):
        raise _clash(clash)
    return Predicted({**copied, **dict(zip(names, values, strict=True))}, notes, counts)


def _clash(name: str) -> command.UserError:
    return command.UserError(f"keep: got {name!r}, which is the name of a column of the predictions; rename it in the file")


def _names_outside(predictor: Predictor, inputs: np.ndarray, counts: Counter[str]) -> np.ndarray:
    """Returns the names of the columns in which each row is outside, or COMBINATION, and counts the rows of each."""
    found = outside_of_training(predictor, inputs)
    for name, is_outside in found.items():
        counts[f"column {name!r} is outside of what training had, so that their predictions are a guess"] += int(is_outside.sum())
    names = [[name for name, is_outside in found.items() if is_outside[row]] for row in range(len(inputs))]
    if predictor.known is not None:
        for row in np.flatnonzero(unlike_training_of_inputs(predictor, inputs)).tolist():
            names[row] = names[row] or [COMBINATION]
        share = f"as are about {100 * predictor.known.level:.2g} % of rows like those of training"
        text = f"the combination of inputs is unlike those of training, though each input is inside ({share})"
        counts[text] += sum(of_row == [COMBINATION] for of_row in names)
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
