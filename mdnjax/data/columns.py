"""Converts the columns of a table to inputs and targets of a network: numbers, categories and missing values.

A table is any mapping from names to arrays of one length: numbers, or text with None (or NaN) where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdnjax.data.values import ROW, TableError, category_indices, check_name, column_of, is_missing, short, unmasked, values_of
from mdnjax.types import AnyArray, Float

MISSING = "(missing)"  # the category of missing values
NAMES_OF = ("keys", "column_names", "columns")  # the names of the columns of a mapping, of pyarrow, of polars
INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")  # of the unnamed index of a data frame in a file


class Column(NamedTuple):
    """An input column: numbers, or one of several categories.

    `fill` replaces a missing number (None: no number may be missing); if `marked`, one more input is 1 where it was missing.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None
    marked: bool = False

    @property
    def width(self) -> int:
        """Number of inputs of the network that the column becomes."""
        return 1 + self.marked if self.categories is None else len(self.categories)


class Columns(NamedTuple):
    """The input columns and the names of the targets, in the order of the networks."""

    inputs: tuple[Column, ...]
    targets: tuple[str, ...]


def fit_columns(
    table: Mapping[str, Any],
    targets: Sequence[str],
    features: Sequence[str] | None = None,
    *,
    rows: np.ndarray | None = None,
    categorical: Sequence[str] = (),
    impute: bool = False,
    remedy: str = "impute=True",
) -> tuple[Columns, list[str]]:
    """Returns the columns that a network can use, and a note on each column that is left out.

    Args: `features` are the names of the inputs, by default all but the targets; only `rows`, by default all, determine
    categories, fills and constant columns; `categorical` columns are categories even if they are numbers; with `impute`, missing
    inputs are allowed, and without it `remedy` is named as the setting that allows them.
    Raises: TableError if a column is not there or cannot be used, or no input is left.
    """
    names = list(table)
    for name in (*targets, *(features or ()), *categorical):
        check_name(names, name)
    if repeated := next((name for i, name in enumerate(targets) if name in targets[:i]), None):
        raise TableError(f"got target {short(repeated)} twice, expected it once")
    if both := next((name for name in targets if name in categorical), None):
        raise TableError(f"column {short(both)} is both target and category, expected a target of numbers")
    if both := next((name for name in targets if name in (features or ())), None):
        raise TableError(f"column {short(both)} is both target and input")
    candidates = [name for name in names if name not in targets] if features is None else list(features)
    inputs, notes, first_names = [], [], {}
    for name in candidates:
        if features is None and name in INDEX_NAMES and _counts_rows(np.asarray(table[name])):
            notes.append(f"column {short(name)} is left out: it only counts the rows")
            continue
        values = values_of(table, name, name in categorical)
        _check_present(values, name, impute, remedy)
        fitted = values if rows is None else values[rows]
        first_name = first_names.setdefault(fitted.tobytes() if fitted.dtype != object else tuple(fitted), name)
        if len(_distinct(fitted)) < 2:
            value = f"{fitted[0]:g}" if isinstance(fitted[0], float) else short(fitted[0])
            notes.append(f"column {short(name)} is left out: it is {value} in every row of training")
        elif first_name != name:
            notes.append(f"column {short(name)} is left out: it is the same as {short(first_name)}")
        else:
            inputs.append(_column(name, fitted, impute))
    if not inputs:
        raise TableError(f"no column is left to predict {short(targets[0])} from, expected at least one that varies")
    columns = Columns(tuple(inputs), tuple(targets))
    y = to_targets(columns, table)
    for name, fitted in zip(targets, (y if rows is None else y[rows]).T, strict=True):
        if (fitted == fitted[0]).all():
            raise TableError(f"target {short(name)} is {fitted[0]:g} in every row of training, expected it to vary")
    return columns, notes


def numbered_columns(num_inputs: int, num_targets: int) -> Columns:
    """Returns columns of numbers with the names x0, x1, ... and y0, y1, ..."""
    return Columns(tuple(Column(f"x{i}") for i in range(num_inputs)), tuple(f"y{i}" for i in range(num_targets)))


def is_table(rows: Any) -> bool:
    """Returns whether rows have named columns: a mapping, or a data frame of pandas, polars or pyarrow."""
    return any(hasattr(rows, name) for name in NAMES_OF)


def names_of(rows: Any) -> list[Any]:
    """Returns the names of the columns of a table."""
    names: Any = next(getattr(rows, name) for name in NAMES_OF if hasattr(rows, name))
    listed: Any = names() if callable(names) else names
    return list(listed)


def as_table(columns: Columns, rows: Any) -> Mapping[str, Any]:
    """Returns rows as a table; they are an array `[N, C]` with a column for each input, or a mapping from names to columns.

    Raises: TableError if an array has another number of columns.
    """
    if is_table(rows):
        return {str(name): rows[name] for name in names_of(rows)}
    names = [column.name for column in columns.inputs]
    rows = unmasked(rows)
    rows = rows[:, None] if rows.ndim == 1 and len(names) == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise TableError(f"x: got shape {rows.shape}, expected [N, {len(names)}]: a column for each of {', '.join(names[:8])}")
    return {name: rows[:, i] for i, name in enumerate(names)}


def to_inputs(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N X"]:
    """Returns the inputs of a network for the rows of a table, in float64 and not standardised.

    Categories are one-hot encoded; for a category that training did not see, all inputs of its column are 0.
    Raises: TableError if a column is not there or holds a value that cannot be used.
    """
    parts = []
    for column in columns.inputs:
        check_name(list(table), column.name)
        if column.categories is None:
            parts += _numbers(column, values_of(table, column.name, numeric=True))
        else:
            indices = category_indices(column_of(table, column.name), column.categories, MISSING)
            parts += [indices == index for index in range(len(column.categories))]
    return np.stack(parts, axis=1).astype(np.float64)


def unseen(columns: Columns, table: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each column with categories that training did not see."""
    for column in columns.inputs:
        if column.categories is not None:
            values = column_of(table, column.name)
            new = category_indices(values, column.categories, MISSING) < 0
            if new.any():
                example = "nothing" if is_missing(values[new.argmax()]) else short(values[new.argmax()])
                yield (
                    f"column {short(column.name)}: {new.sum()} rows have a category that training did not see, such as {example}"
                )


def to_targets(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N D"]:
    """Returns the targets of the rows of a table.

    Raises: TableError if a target is missing or not a number.
    """
    parts = []
    for name in columns.targets:
        check_name(list(table), name)
        values = values_of(table, name, numeric=True)
        if (missing := np.isnan(values)).any():
            raise TableError(f"target {short(name)}, row {ROW}: got nothing, expected a number", int(missing.argmax()))
        parts.append(values)
    return np.stack(parts, axis=1)


def blocks(columns: Columns) -> Iterator[tuple[str, slice]]:
    """Yields the name of each column and the slice of its inputs."""
    start = 0
    for column in columns.inputs:
        yield column.name, slice(start, start + column.width)
        start += column.width


def check_scaled_inputs(columns: Columns, x: AnyArray, z: Float[np.ndarray, "N X"], max_scaled: float) -> None:
    """Raises: TableError if the scaled value z of an input x is larger than `max_scaled`, or nan."""
    wrong = ~(np.abs(z) <= max_scaled)
    if wrong.any():
        row, index = (int(i) for i in np.argwhere(wrong)[0])
        expected = f"expected a number within {max_scaled:.0e} standard deviations of the rows of training"
        raise TableError(f"column {short(input_name(columns, index))}, row {ROW}: got {float(x[row, index]):g}, {expected}", row)


def input_name(columns: Columns, index: int) -> str:
    """Returns the name of the column that an input of the network belongs to."""
    return next(name for name, block in blocks(columns) if index < block.stop)


def _counts_rows(values: np.ndarray) -> bool:
    """Whether a column numbers the rows consecutively, as the index of a data frame does."""
    return values.dtype.kind in "iu" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _column(name: str, values: np.ndarray, impute: bool) -> Column:
    """Returns an input column for its values in the rows of training."""
    if values.dtype == object:
        categories = tuple(sorted({MISSING if value is None else value for value in values}))
        if len(categories) > max(20, len(values) // 2):
            got = f"{len(categories)} different texts in {len(values)} rows"
            raise TableError(f"column {short(name)} has {got}, expected categories; remove the column")
        return Column(name, categories)
    return Column(name, None, float(np.nanmedian(values)) if impute else None, bool(np.isnan(values).any()))


def _numbers(column: Column, values: np.ndarray) -> list[np.ndarray]:
    """Returns the inputs of a column of numbers: the filled numbers, and where they were missing."""
    missing = np.isnan(values)
    if column.fill is None:
        _check_present(values, column.name, False, "")
    numbers = np.where(missing, column.fill or 0.0, values)
    return [numbers, missing] if column.marked else [numbers]


def _check_present(values: np.ndarray, name: str, impute: bool, remedy: str) -> None:
    """Raises: TableError if a value is missing, or with `impute` if all are."""
    missing = np.isnan(values) if values.dtype != object else np.array([value is None for value in values], bool)
    if missing.any() and (not impute or missing.all()):
        expected = "a value in some row" if impute else f"a value ({remedy} fills missing ones)" if remedy else "a value"
        raise TableError(f"column {short(name)}, row {ROW}: got nothing, expected {expected}", int(missing.argmax()))


def _distinct(values: np.ndarray) -> set[Any]:
    return set(values) if values.dtype == object else set(np.unique(values).tolist())
