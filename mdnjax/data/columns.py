"""The columns of a table as inputs and targets of a network: numbers, categories, and what stands for what is missing.

A table is any mapping from names to arrays of one length: numbers, or text with None (or NaN) where it is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdnjax.types import Float

MISSING = "(missing)"  # as a category
SHOWN = 40  # characters of what a user wrote


class TableError(ValueError):
    """What is wrong with a table; its text is one line."""


class Column(NamedTuple):
    """An input: a number, or one of some categories.

    `centre` is taken off a number before it is rounded to float32. `fill` stands for a missing number (None: none may be
    missing), and if `marked`, one more input says that it was missing.
    """

    name: str
    categories: tuple[str, ...] | None = None
    centre: float = 0.0
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
    if both := next((name for name in targets if name in (features or ())), None):
        raise TableError(f"column {_short(both)} is both target and input")
    asked = [name for name in names if name not in targets] if features is None else list(features)
    inputs, notes, seen = [], [], {}
    for name in asked:
        values = values_of(table, name, name in categorical)
        _check_present(values, name, impute)
        own = values if rows is None else values[rows]
        twin = seen.setdefault(own.tobytes() if own.dtype != object else tuple(own), name)
        if len(_distinct(own)) < 2:
            notes.append(f"column {_short(name)} is left out: it is {_said(own[0])} in every row of training")
        elif twin != name:
            notes.append(f"column {_short(name)} is left out: it is the same as {_short(twin)}")
        else:
            inputs.append(_column(name, own, impute))
    if not inputs:
        raise TableError(f"no column is left to predict {_short(targets[0])} from, expected at least one that varies")
    columns = Columns(tuple(inputs), tuple(targets))
    y = to_targets(columns, table)
    for name, own in zip(targets, (y if rows is None else y[rows]).T, strict=True):
        if (own == own[0]).all():
            raise TableError(f"target {_short(name)} is {own[0]:g} in every row of training, expected it to vary")
    return columns, notes


def to_inputs(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N X"]:
    """The inputs of a network from the rows of a table. Of a category that was not seen, none of the inputs is 1.

    Raises: TableError if a column is missing, or holds what it should not.
    """
    parts = []
    for column in columns.inputs:
        check_name(list(table), column.name)
        values = values_of(table, column.name, column.categories is not None, column.categories is None)
        if column.categories is None:
            parts += _numbers(column, values)
        else:
            parts += [_texts(values) == category for category in column.categories]
    return np.stack(parts, axis=1).astype(np.float32)


def unseen(columns: Columns, table: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each column with categories that the network was not trained on."""
    for column in columns.inputs:
        if column.categories is not None:
            texts = _texts(values_of(table, column.name, True))
            new = ~np.isin(texts, column.categories)
            if new.any():
                yield (
                    f"column {_short(column.name)}: {new.sum()} rows have a category that training did not see, such as "
                    f"{_short(texts[new.argmax()])}"
                )


def to_targets(columns: Columns, table: Mapping[str, Any]) -> Float[np.ndarray, "N D"]:
    """The targets of the rows of a table.

    Raises: TableError if one is missing, or is no number.
    """
    parts = []
    for name in columns.targets:
        check_name(list(table), name)
        values = values_of(table, name, False, True)
        if (missing := np.isnan(values)).any():
            raise TableError(f"target {_short(name)}, row {missing.argmax() + 1}: got nothing, expected a number")
        parts.append(values)
    return np.stack(parts, axis=1).astype(np.float32)


def blocks(columns: Columns) -> Iterator[tuple[str, slice]]:
    """The name of each column, and where its inputs are."""
    start = 0
    for column in columns.inputs:
        yield column.name, slice(start, start + column.width)
        start += column.width


def columns_as_json(columns: Columns) -> Any:
    """Columns as lists and numbers."""
    return {"inputs": [list(column) for column in columns.inputs], "targets": list(columns.targets)}


def columns_from_json(tree: Any) -> Columns | None:
    """What `columns_as_json` has made; None of None.

    Raises: ValueError, TypeError or KeyError if it is something else.
    """
    if tree is None:
        return None
    inputs = [Column(name, None if texts is None else tuple(texts), *rest) for name, texts, *rest in tree["inputs"]]
    return Columns(tuple(inputs), tuple(tree["targets"]))


def check_name(names: Sequence[str], name: str) -> None:
    """Raises: TableError with the nearest name if there is no such column."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"; did you mean {_short(near[0])}?" if near else ""
        some = ", ".join(_short(one) for one in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise TableError(f"got column {_short(name)}, expected one of {some}{hint}")


def values_of(table: Mapping[str, Any], name: str, categorical: bool = False, numeric: bool = False) -> np.ndarray:
    """A column as float64 numbers (NaN where missing) or as text (None where missing); text that is all numbers is numbers.

    Raises: TableError if it is neither, or has text among numbers, or infinite values.
    """
    values = np.asarray(table[name])
    if values.ndim != 1:
        raise TableError(f"column {_short(name)}: got an array of shape {values.shape}, expected one value a row")
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise TableError(f"column {_short(name)}, row {row + 1}: got {numbers[row]}, expected a finite number")
        return _as_text(numbers) if categorical else numbers
    if values.dtype.kind not in "OUST":
        raise TableError(f"column {_short(name)}: got values of type {values.dtype}, expected numbers or text")
    texts = np.array([None if _is_missing(value) else str(value).strip() for value in values], object)
    if categorical:
        return texts
    numbers, wrong = _parsed(texts)
    present = sum(text is not None for text in texts)
    if not wrong.any():
        return values_of({name: numbers}, name)
    if numeric or wrong.sum() < 0.5 * present:
        row = int(wrong.argmax())
        also = "" if numeric else f" as in {present - wrong.sum()} other rows (or name it among the categorical columns)"
        raise TableError(f"column {_short(name)}, row {row + 1}: got {_short(texts[row])}, expected a number{also}")
    return texts


def _column(name: str, own: np.ndarray, impute: bool) -> Column:
    if own.dtype == object:
        texts = _texts(own)
        categories = tuple(sorted(set(texts)))
        if len(categories) > max(20, len(own) // 2):
            got = f"{len(categories)} different texts in {len(own)} rows"
            raise TableError(f"column {_short(name)} has {got}, expected categories; leave it out")
        return Column(name, categories)
    median = float(np.nanmedian(own))
    return Column(name, None, median, median if impute else None, bool(np.isnan(own).any()))


def _numbers(column: Column, values: np.ndarray) -> list[np.ndarray]:
    missing = np.isnan(values)
    if column.fill is None:
        _check_present(values, column.name, False)
    numbers = np.where(missing, column.fill or 0.0, values) - column.centre
    return [numbers, missing] if column.marked else [numbers]


def _check_present(values: np.ndarray, name: str, impute: bool) -> None:
    missing = np.isnan(values) if values.dtype != object else np.array([value is None for value in values], bool)
    if missing.any() and (not impute or missing.all()):
        expected = "a value" if not impute else "a value in some row"
        raise TableError(f"column {_short(name)}, row {missing.argmax() + 1}: got nothing, expected {expected}")


def _parsed(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of texts, and where there are none."""
    numbers, wrong = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        if text is not None:
            try:
                numbers[row] = float(text)
            except ValueError:
                wrong[row] = True
    return numbers, wrong


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([MISSING if value is None else value for value in values], object)


def _as_text(numbers: np.ndarray) -> np.ndarray:
    return np.array([None if np.isnan(number) else f"{number:.15g}" for number in numbers], object)


def _distinct(values: np.ndarray) -> set[Any]:
    return set(values) if values.dtype == object else set(np.unique(values).tolist())


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else _short(value)


def _short(value: Any) -> str:
    text = repr(str(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...'"
