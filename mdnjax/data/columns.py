"""The columns of a table as inputs and targets of a network: numbers, categories, and what stands for what is missing.

A table is any mapping from names to arrays of one length: numbers, or text with None (or NaN) where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdnjax.data.values import ROW, TableError, check_name, column_of, is_missing, places_of, short, unmasked, values_of
from mdnjax.types import AnyArray, Float

MISSING = "(missing)"  # as a category
UNNAMED = ("", "Unnamed: 0", "__index_level_0__")  # what the index of a data frame is called in a file


class Column(NamedTuple):
    """An input: a number, or one of some categories.

    `fill` stands for a missing number (None: none may be missing), and if `marked`, one more input says that it was missing.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None
    marked: bool = False

    @property
    def width(self) -> int:
        """Inputs of the network that it takes."""
        return 1 + self.marked if self.categories is None else len(self.categories)


class Columns(NamedTuple):
    """Inputs and targets, in their order."""

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
) -> tuple[Columns, list[str]]:
    """What the columns are, seen from the rows of training (all, if none are given), and a word on each that is left out.

    Raises: TableError if a column is not there, holds what cannot be used, or nothing is left to predict from.
    """
    names = list(table)
    for name in (*targets, *(features or ()), *categorical):
        check_name(names, name)
    if twice := next((name for i, name in enumerate(targets) if name in targets[:i]), None):
        raise TableError(f"got target {short(twice)} twice, expected it once")
    if both := next((name for name in targets if name in categorical), None):
        raise TableError(f"column {short(both)} is both target and category, expected a target of numbers")
    if both := next((name for name in targets if name in (features or ())), None):
        raise TableError(f"column {short(both)} is both target and input")
    asked = [name for name in names if name not in targets] if features is None else list(features)
    inputs, notes, seen = [], [], {}
    for name in asked:
        if features is None and name in UNNAMED and _counts_rows(np.asarray(table[name])):
            notes.append(f"column {short(name)} is left out: it only counts the rows")
            continue
        values = values_of(table, name, name in categorical)
        _check_present(values, name, impute)
        own = values if rows is None else values[rows]
        twin = seen.setdefault(own.tobytes() if own.dtype != object else tuple(own), name)
        if len(_distinct(own)) < 2:
            notes.append(f"column {short(name)} is left out: it is {_said(own[0])} in every row of training")
        elif twin != name:
            notes.append(f"column {short(name)} is left out: it is the same as {short(twin)}")
        else:
            inputs.append(_column(name, own, impute))
    if not inputs:
        raise TableError(f"no column is left to predict {short(targets[0])} from, expected at least one that varies")
    columns = Columns(tuple(inputs), tuple(targets))
    y = to_targets(columns, table)
    for name, own in zip(targets, (y if rows is None else y[rows]).T, strict=True):
        if (own == own[0]).all():
            raise TableError(f"target {short(name)} is {own[0]:g} in every row of training, expected it to vary")
    return columns, notes


def numbered(num_inputs: int, num_targets: int) -> Columns:
    """Columns of numbers without names of their own: x0, x1, ... and y0, y1, ..."""
    return Columns(tuple(Column(f"x{i}") for i in range(num_inputs)), tuple(f"y{i}" for i in range(num_targets)))


def as_table(columns: Columns, rows: Any) -> Mapping[str, Any]:
    """Rows as a table: an array `[N, C]` with a column for each input, or a mapping from names to columns as it is.

    Raises: TableError if an array has another number of columns.
    """
    if hasattr(rows, "keys"):
        return {str(name): rows[name] for name in rows.keys()}  # noqa: SIM118 (a data frame is no dict)
    names = [column.name for column in columns.inputs]
    rows = unmasked(rows)
    rows = rows[:, None] if rows.ndim == 1 and len(names) == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise TableError(f"x: got shape {rows.shape}, expected [N, {len(names)}]: a column for each of {', '.join(names[:8])}")
    return {name: rows[:, i] for i, name in enumerate(names)}


def to_inputs(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N X"]:
    """The inputs of a network from the rows of a table, in float64 and in their own units. Of a category that was not seen, none
    of the inputs is 1.

    Raises: TableError if a column is missing, or holds what it should not.
    """
    parts = []
    for column in columns.inputs:
        check_name(list(table), column.name)
        if column.categories is None:
            parts += _numbers(column, values_of(table, column.name, numeric=True))
        else:
            places = places_of(column_of(table, column.name), column.categories, MISSING)
            parts += [places == place for place in range(len(column.categories))]
    return np.stack(parts, axis=1).astype(np.float64)


def unseen(columns: Columns, table: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each column with categories that the network was not trained on."""
    for column in columns.inputs:
        if column.categories is not None:
            values = column_of(table, column.name)
            new = places_of(values, column.categories, MISSING) < 0
            if new.any():
                example = "nothing" if is_missing(values[new.argmax()]) else short(values[new.argmax()])
                some = f"{new.sum()} rows have a category that training did not see"
                yield f"column {short(column.name)}: {some}, such as {example}"


def to_targets(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N D"]:
    """The targets of the rows of a table.

    Raises: TableError if one is missing, or is no number.
    """
    parts = []
    for name in columns.targets:
        check_name(list(table), name)
        values = values_of(table, name, False, True)
        if (missing := np.isnan(values)).any():
            raise TableError(f"target {short(name)}, row {ROW}: got nothing, expected a number", int(missing.argmax()))
        parts.append(values)
    return np.stack(parts, axis=1)


def blocks(columns: Columns) -> Iterator[tuple[str, slice]]:
    """The name of each column, and where its inputs are."""
    start = 0
    for column in columns.inputs:
        yield column.name, slice(start, start + column.width)
        start += column.width


def check_reach(columns: Columns, x: AnyArray, z: Float[np.ndarray, "N X"], most: float) -> None:
    """Raises: TableError if a scaled input z of an input x is larger than this, or is no number."""
    wrong = ~(np.abs(z) <= most)
    if wrong.any():
        row, index = (int(place) for place in np.argwhere(wrong)[0])
        expected = f"expected a number within {most:.0e} standard deviations of the rows of training"
        raise TableError(f"column {short(input_name(columns, index))}, row {ROW}: got {float(x[row, index]):g}, {expected}", row)


def input_name(columns: Columns, index: int) -> str:
    """The name of the column that an input of the network comes from."""
    return next(name for name, block in blocks(columns) if index < block.stop)


def _counts_rows(values: np.ndarray) -> bool:
    """Whether a column is the running number of each row, as data frames write it."""
    return values.dtype.kind in "iu" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _column(name: str, own: np.ndarray, impute: bool) -> Column:
    if own.dtype == object:
        texts = _texts(own)
        categories = tuple(sorted(set(texts)))
        if len(categories) > max(20, len(own) // 2):
            got = f"{len(categories)} different texts in {len(own)} rows"
            raise TableError(f"column {short(name)} has {got}, expected categories; leave it out")
        return Column(name, categories)
    return Column(name, None, float(np.nanmedian(own)) if impute else None, bool(np.isnan(own).any()))


def _numbers(column: Column, values: np.ndarray) -> list[np.ndarray]:
    missing = np.isnan(values)
    if column.fill is None:
        _check_present(values, column.name, False)
    numbers = np.where(missing, column.fill or 0.0, values)
    return [numbers, missing] if column.marked else [numbers]


def _check_present(values: np.ndarray, name: str, impute: bool) -> None:
    missing = np.isnan(values) if values.dtype != object else np.array([value is None for value in values], bool)
    if missing.any() and (not impute or missing.all()):
        expected = "a value" if not impute else "a value in some row"
        raise TableError(f"column {short(name)}, row {ROW}: got nothing, expected {expected}", int(missing.argmax()))


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([MISSING if value is None else value for value in values], object)


def _distinct(values: np.ndarray) -> set[Any]:
    return set(values) if values.dtype == object else set(np.unique(values).tolist())


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else short(value)
