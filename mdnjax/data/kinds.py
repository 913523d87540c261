"""Chooses the input columns of a table, and whether each of them holds numbers, dates or categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdnjax.data.columns import MISSING, Column, Columns, to_targets
from mdnjax.data.content import Content, content_of
from mdnjax.data.dates import text_of_day
from mdnjax.data.values import ROW, TableError, check_name, short, unmasked

# Names of a column that counts the rows: the index of a data frame in a file of pandas or R, and what people call it.
INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__", "X", "rownames", "row.names", "id", "Id", "ID", "index", "Index")
MIN_TEXTS = 20  # more different texts than this, and than half of the rows, are no categories
MAX_CATEGORIES = 1000  # of a column that is named as categorical
MONTH = re.compile(r"\d{4}-\d\d")


def fit_columns(
    table: Mapping[str, Any],
    targets: Sequence[str],
    features: Sequence[str] | None = None,
    *,
    leave_out: Sequence[str] = (),
    rows: np.ndarray | None = None,
    categorical: Sequence[str] = (),
    impute: bool = False,
    remedy: str = "impute=True",
) -> tuple[Columns, list[str]]:
    """Returns the columns that a network can use, and notes on columns that are left out or unusual.

    Args: `features` are the names of the inputs, by default all but the targets and those in `leave_out`; without `features`, a
    column that counts the rows and one of texts that are hardly ever the same are left out; only `rows`, by default all,
    determine categories, fills and constant columns; `categorical` columns are categories even if they are numbers or dates;
    with `impute`, missing inputs are allowed, and without it `remedy` is named as the setting that allows them.
    Raises: TableError if a column is not there or cannot be used, or no input is left.
    """
    _check_names(list(table), targets, features, leave_out, categorical)
    candidates = [name for name in table if name not in (*targets, *leave_out)] if features is None else list(features)
    inputs, notes, first_names = list[Column](), list[str](), dict[Any, str]()
    for name in candidates:
        asked = features is not None or name in categorical
        if not asked and len(candidates) > 1 and (reason := _index_reason(table, name)):
            notes.append(f"column {short(name)} {reason}")
            if name in INDEX_NAMES:
                continue
        whole = content_of(table, name, name in categorical)
        content = whole if rows is None else whole._replace(values=whole.values[rows])
        reason = _too_many_texts(content, name, asked, name in categorical)
        if not reason:  # a column that is left out may lack values
            _check_present(whole.values, name, impute, remedy)
            reason = _useless(content, name, first_names)
        if reason:
            notes.append(f"column {short(name)} is left out: {reason}")
        else:
            inputs.append(_column(name, content, impute))
            notes += [content.note] * bool(content.note)
    if not inputs:
        why = f": {notes[0]}" if notes else ""
        raise TableError(f"no column is left to predict {short(targets[0])} from, expected at least one that varies{why}")
    columns = Columns(tuple(inputs), tuple(targets))
    _check_targets(columns, table, rows)
    return columns, notes


def _check_names(
    names: list[str], targets: Sequence[str], features: Sequence[str] | None, leave_out: Sequence[str], categorical: Sequence[str]
) -> None:
    """Raises: TableError if a name is not that of a column, or has two meanings that exclude each other."""
    chosen = features or ()
    for name in (*targets, *chosen, *leave_out, *categorical):
        check_name(names, name)
    if repeated := next((name for i, name in enumerate(targets) if name in targets[:i]), None):
        raise TableError(f"got target {short(repeated)} twice, expected it once")
    if both := next((name for name in targets if name in categorical), None):
        raise TableError(f"column {short(both)} is both target and category, expected a target of numbers")
    for kind, those, other, others in (
        ("target", targets, "input", chosen),
        ("target", targets, "left out", leave_out),
        ("input", chosen, "left out", leave_out),
    ):
        if both := next((name for name in those if name in others), None):
            raise TableError(f"column {short(both)} is both {kind} and {other}")


def _check_targets(columns: Columns, table: Mapping[str, Any], rows: np.ndarray | None) -> None:
    """Raises: TableError if a target is not a column of numbers that vary."""
    y = to_targets(columns, table)
    for name, fitted in zip(columns.targets, (y if rows is None else y[rows]).T, strict=True):
        if (fitted == fitted[0]).all():
            raise TableError(f"target {short(name)} is {fitted[0]:g} in every row of training, expected it to vary")


def _index_reason(table: Mapping[str, Any], name: str) -> str:
    """Returns a note on a column of whole numbers that counts the rows; an empty text for another column."""
    values = unmasked(table[name])
    if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) < 2 or not (np.diff(values) == 1).all():
        return ""
    if name in INDEX_NAMES:
        return (
            "is left out: it only counts the rows; if it is an input, rename it, or list all inputs (in data.features for a file)"
        )
    return "counts the rows: leave it out (by data.leave_out for a file), unless new rows continue this order"


def _useless(content: Content, name: str, first_names: dict[Any, str]) -> str:
    """Returns why a column has no information, or an empty text; `first_names`, the columns so far by their values, grows."""
    values = content.values
    first_name = first_names.setdefault(values.tobytes() if values.dtype != object else tuple(values), name)
    if len(_distinct(values)) < 2:
        value = (
            text_of_day(values[0]) if content.dates else f"{values[0]:g}" if isinstance(values[0], float) else short(values[0])
        )
        return f"it is {value} in every row of training"
    return f"it is the same as {short(first_name)}" if first_name != name else ""


def _too_many_texts(content: Content, name: str, asked: bool, categorical: bool) -> str:
    """Returns why texts that are hardly ever the same are left out, or nothing.

    Raises: TableError if the column was asked for.
    """
    values = content.values
    num = len(_distinct(values)) if values.dtype == object else 0
    if num <= (MAX_CATEGORIES if categorical else max(MIN_TEXTS, len(values) // 2)):
        return ""
    got = f"{num} different texts in {len(values)} rows"
    if asked:
        expected = f"at most {MAX_CATEGORIES} categories" if categorical else "categories; remove the column"
        raise TableError(f"column {short(name)} has {got}, expected {expected}")
    example = short(next(value for value in values if value is not None))
    months = "; write months as 2024-03-01 to use them as dates" if MONTH.fullmatch(example.strip("'")) else ""
    return f"it has {got}, such as {example}, so it has no information about a new row; name it as categorical if it does{months}"


def _column(name: str, content: Content, impute: bool) -> Column:
    """Returns an input column for its values in the rows of training."""
    values = content.values
    if values.dtype == object:
        return Column(name, tuple(sorted({MISSING if value is None else value for value in values})))
    present, marked = values[~np.isnan(values)], bool(np.isnan(values).any())
    if not content.dates:
        return Column(name, None, float(np.median(present)) if impute else None, marked)
    fill = float(np.quantile(present, 0.5, method="lower")) if impute else None  # the lower of two medians is a day that occurs
    return Column(name, None, fill, marked, "time" if np.any(present % 1) else "day")


def _check_present(values: np.ndarray, name: str, impute: bool, remedy: str) -> None:
    """Raises: TableError if a value is missing, or with `impute` if all are."""
    missing = np.isnan(values) if values.dtype != object else np.array([value is None for value in values], bool)
    if missing.any() and (not impute or missing.all()):
        expected = "a value in some row" if impute else f"a value ({remedy} fills missing ones)"
        raise TableError(f"column {short(name)}, row {ROW}: got nothing, expected {expected}", int(missing.argmax()))


def _distinct(values: np.ndarray) -> set[Any]:
    return set(values) if values.dtype == object else set(np.unique(values).tolist())
