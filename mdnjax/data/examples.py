"""Converts raw data to examples: arrays of numbers, or a table and the names of its targets."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from mdnjax.data.censoring import sides_of
from mdnjax.data.columns import Columns, as_table, input_labels, names_of, numbered_columns, to_inputs, to_targets
from mdnjax.data.dataset import Dataset
from mdnjax.data.kinds import fit_columns
from mdnjax.data.notes import outliers
from mdnjax.data.values import check_name, numbers_of, unmasked

INNER = ("mdnjax", "sklearn", "jaxtyping", "beartype")  # packages whose lines do not help a user; the last two check types


def target_names(num: int, taken: Collection[str]) -> tuple[str, ...]:
    """Returns names for unnamed targets: y0, y1, ..., with underscores where these names are taken."""
    prefix = "y"
    while any(f"{prefix}{i}" in taken for i in range(num)):
        prefix += "_"
    return tuple(f"{prefix}{i}" for i in range(num))


def examples_of_table(
    x: Any, y: Any, categorical: Sequence[str], impute: bool, weight: Any = None, event: Any = None
) -> tuple[Dataset, Columns]:
    """Returns the examples of a table x and its columns; y is the name of a target column, a list of names, or an array.

    Args: `weight` and `event` are names of columns, which are then no inputs, or arrays.
    Warns of columns that are left out, and of outliers.
    Raises: ValueError if the table, the targets or the weights cannot be used.
    """
    if isinstance(categorical, str):
        categorical = [categorical]
    table = {str(name): unmasked(x[name]) for name in names_of(x)}
    if len(table) < len(names_of(x)):
        raise ValueError("x: got two columns of the same name, expected each name once")
    names = [y] if isinstance(y, str) else list(y) if _all_text(y) else None
    if names is None:
        values = as_numbers("y", y)
        names = target_names(values.shape[1], set(table))
        table |= {name: values[:, i] for i, name in enumerate(names)}
    leave_out = tuple(name for name in (weight, event) if isinstance(name, str))
    for name in leave_out:
        check_name(list(table), name)
    weight = numbers_of({weight: table[weight]}, weight) if isinstance(weight, str) else weight
    event = table[event] if isinstance(event, str) else event
    lengths = {name: len(values) if values.ndim else 0 for name, values in table.items()}
    if not all(lengths.values()):
        raise ValueError("x: got no rows, or no columns")
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{length} of {name!r}" for name, length in list(lengths.items())[:6])
        raise ValueError(f"got columns of different lengths, expected the same number of rows: {shown}")
    columns, notes = fit_columns(table, names, leave_out=leave_out, categorical=tuple(categorical), impute=impute)
    dataset = _with_rows(Dataset(to_inputs(columns, table), to_targets(columns, table)), weight, event)
    warn_caller([*notes, *outlier_notes(dataset, columns)])
    return dataset, columns


def examples_of_arrays(x: Any, y: Any, weight: Any = None, event: Any = None) -> tuple[Dataset, Columns]:
    """Returns the examples of arrays of numbers, and their columns.

    Warns of outliers. Raises: ValueError if the arrays cannot be used.
    """
    inputs, targets = as_numbers("x", x), as_numbers("y", y)
    if len(inputs) != len(targets):
        raise ValueError(f"got {len(inputs)} rows of x and {len(targets)} of y, expected the same number")
    for target, values in enumerate(targets.T):
        if len(values) > 1 and (values == values[0]).all():
            raise ValueError(f"y: target {target} is {values[0]:g} in every row, expected it to vary")
    columns = numbered_columns(inputs.shape[1], targets.shape[1])
    dataset = _with_rows(Dataset(to_inputs(columns, as_table(columns, inputs)), targets), weight, event)
    warn_caller(outlier_notes(dataset, columns))
    return dataset, columns


def outlier_notes(dataset: Dataset, columns: Columns) -> list[str]:
    """Returns the notes on outliers; rows are counted from 0, as those of arrays and data frames."""
    return list(outliers(dataset, [*input_labels(columns), *columns.targets], first_row=0))


def warn_caller(notes: Iterable[str]) -> None:
    """Warns of each note, at the line that called this package, directly or through scikit-learn."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in INNER:
        frame, level = frame.f_back, level + 1
    for note in notes:
        warnings.warn(note, stacklevel=level)


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Returns numbers `[N]` or `[N, C]` as `[N, C]` in float64.

    Raises: ValueError if they have another shape, or are not all finite numbers (dates, text, masked or missing values).
    """
    try:
        array = unmasked(values)
        if array.dtype.kind in "mM":
            raise ValueError(f"{name}: got dates or times, expected numbers, such as the days since the first of them")
        if array.dtype.kind == "c":
            raise ValueError(f"{name}: got complex numbers, expected real ones")
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name}: got values that are not numbers; pass a table with named columns if some are text") from None
    numbers = numbers[:, None] if numbers.ndim == 1 else numbers
    if numbers.ndim == 2 and not numbers.shape[1]:
        raise ValueError(f"{name}: got shape {array.shape}, expected at least one column")
    if numbers.ndim != 2:
        raise ValueError(f"{name}: got shape {array.shape}, expected [N] or [N, C]")
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise ValueError(f"{name}: got {numbers[row, column]} in row {row + 1}, column {column + 1}, expected a finite number")
    return numbers


def as_weight(name: str, weight: Any, num_rows: int) -> np.ndarray:
    """Returns the weights of rows `[num_rows]` in float64.

    Raises: ValueError if they have another shape, if one is negative or not a finite number, or if all are 0.
    """
    try:
        numbers = np.asarray(unmasked(weight), np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got values that are not numbers, expected a number for each row") from None
    if numbers.shape != (num_rows,):
        raise ValueError(f"{name}: got shape {numbers.shape}, expected [{num_rows}]: a number for each row")
    if (wrong := ~(np.isfinite(numbers) & (numbers >= 0))).any():
        row = int(wrong.argmax())
        raise ValueError(f"{name}: got {numbers[row]:g} in row {row + 1}, expected a finite number that is not negative")
    if not numbers.any():
        raise ValueError(f"{name}: got zero in every row, expected a positive number in some row")
    return numbers


def as_probabilities(name: str, values: Any) -> np.ndarray:
    """Returns probabilities as an array. Raises: ValueError if they are not a list of numbers from 0 to 1."""
    try:
        probabilities = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {values!r}, expected a list of numbers from 0 to 1") from None
    if probabilities.ndim != 1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(f"{name}: got {values!r}, expected a list of numbers from 0 to 1")
    return probabilities


def _with_rows(dataset: Dataset, weight: Any, event: Any) -> Dataset:
    """Returns the examples with the weights of their rows, and with which of them are censored."""
    num = len(dataset.x)
    weight = None if weight is None else as_weight("weight", weight, num)
    return dataset._replace(weight=weight, censoring=None if event is None else sides_of("event", event, num))


def _all_text(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(value, str) for value in values)
