"""Converts the columns of a table to inputs and targets of a network: numbers, dates, categories and missing values.

A table is any mapping from names to arrays of one length: numbers, dates, or text with None (or NaN) where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mdnjax.data.dates import Dates, date_inputs, date_labels
from mdnjax.data.values import (
    ROW,
    TableError,
    category_indices,
    check_name,
    check_needed,
    column_of,
    days_of,
    is_missing,
    numbers_of,
    short,
    unmasked,
)
from mdnjax.types import AnyArray, Float

MISSING = "(missing)"  # the category of missing values
NAMES_OF = ("keys", "column_names", "columns")  # the names of the columns of a mapping, of pyarrow, of polars


class Column(NamedTuple):
    """An input column: numbers, one of several categories, or with `dates` days since 1970-01-01.

    `fill` replaces a missing number or day (None: none may be missing); if `marked`, one more input is 1 where it was missing.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None
    marked: bool = False
    dates: Dates | None = None

    @property
    def labels(self) -> list[str]:
        """Names of the inputs of the network that the column becomes."""
        if self.categories is not None:
            return [f"{self.name} = {category}" for category in self.categories]
        values = [f"{self.name}, {label}" for label in date_labels(self.dates)] if self.dates else [self.name]
        return [*values, *[f"{self.name} is missing"] * self.marked]

    @property
    def width(self) -> int:
        """Number of inputs of the network that the column becomes."""
        return len(self.labels)


class Columns(NamedTuple):
    """The input columns and the names of the targets, in the order of the networks."""

    inputs: tuple[Column, ...]
    targets: tuple[str, ...]


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

    Categories are one-hot encoded; for a category that training did not see, all inputs of its column are 0. The inputs of a date
    are those of `date_inputs`.
    Raises: TableError if a column is not there or holds a value that cannot be used.
    """
    parts = []
    for column in columns.inputs:
        check_needed(list(table), column.name)
        if column.categories is None:
            read = days_of if column.dates else numbers_of
            parts += _numbers(column, read(table, column.name))
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
        check_needed(list(table), name)
        values = numbers_of(table, name)
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


def category_places(columns: Columns, inputs: Float[AnyArray, "N X"], name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the categories of an input column, and the place of each row's category; their number if training did not see it.

    Raises: TableError if there is no such column, or it has no categories.
    """
    check_name([column.name for column in columns.inputs], name)
    column = next(column for column in columns.inputs if column.name == name)
    if column.categories is None:
        raise TableError(f"column {short(name)}: got numbers, expected categories, such as text or data.categorical=[{name}]")
    of_column = np.asarray(inputs)[:, dict(blocks(columns))[name]] > 0
    return column.categories, np.where(of_column.any(axis=1), of_column.argmax(axis=1), len(column.categories))


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


def input_labels(columns: Columns) -> list[str]:
    """Returns the names of all inputs of the network: those of columns of numbers, and longer ones of dates and categories."""
    return [label for column in columns.inputs for label in column.labels]


def _numbers(column: Column, values: np.ndarray) -> list[np.ndarray]:
    """Returns the inputs of a column of numbers or days: those of the filled values, and where they were missing."""
    missing = np.isnan(values)
    if column.fill is None and missing.any():
        raise TableError(f"column {short(column.name)}, row {ROW}: got nothing, expected a value", int(missing.argmax()))
    numbers = np.where(missing, column.fill or 0.0, values)
    inputs = date_inputs(numbers, column.dates) if column.dates else [numbers]
    return [*inputs, missing] if column.marked else inputs
