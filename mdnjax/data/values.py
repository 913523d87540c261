"""The values of one column of a table: numbers, or texts, whichever type they came as."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 40  # characters of what a user wrote


class TableError(ValueError):
    """What is wrong with a table; its text is one line, in which "{row}" stands for the number of a row, counted from 1."""

    def __init__(self, text: str, row: int = 0) -> None:
        super().__init__(text.replace("{row}", str(row + 1)))
        self._text, self._row = text, row

    def below(self, num_rows: int) -> TableError:
        """The same in a file that has so many rows before those of the table."""
        return TableError(self._text, self._row + num_rows)


def check_name(names: Sequence[str], name: str) -> None:
    """Raises: TableError with the nearest name if there is no such column."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"; did you mean {short(near[0])}?" if near else ""
        some = ", ".join(short(one) for one in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise TableError(f"got column {short(name)}, expected one of {some}{hint}")


def values_of(table: Mapping[str, Any], name: str, categorical: bool = False, numeric: bool = False) -> np.ndarray:
    """A column as float64 numbers (NaN where missing) or as text (None where missing); text that is all numbers is numbers.

    Raises: TableError if it is neither, or has text among numbers, or infinite values.
    """
    values = np.asarray(table[name])
    if values.ndim != 1:
        raise TableError(f"column {short(name)}: got an array of shape {values.shape}, expected one value a row")
    if values.dtype.kind == "b" and not numeric:
        return values.astype(str).astype(object)
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise TableError(f"column {short(name)}, row {{row}}: got {numbers[row]}, expected a finite number", row)
        return _as_text(numbers) if categorical else numbers
    if values.dtype.kind not in "OUST":
        raise TableError(f"column {short(name)}: got values of type {values.dtype}, expected numbers or text")
    texts = np.array([None if is_missing(value) else str(value).strip() for value in values], object)
    if categorical:
        return texts
    numbers, wrong = _parsed(texts)
    present = sum(text is not None for text in texts)
    if not wrong.any():
        return values_of({name: numbers}, name)
    if numeric or wrong.sum() < 0.5 * present:
        row = int(wrong.argmax())
        also = "" if numeric else f" as in {present - wrong.sum()} other rows (or name it among the categorical columns)"
        raise TableError(f"column {short(name)}, row {{row}}: got {short(texts[row])}, expected a number{also}", row)
    return texts


def places_of(values: np.ndarray, categories: Sequence[str], missing: str) -> np.ndarray:
    """The place of each value among categories, -1 where it is none of them: by its text, a number by what it is.

    Where the same column comes as another type, the same value is the same category: 1.0 is the category "1", or "1.0"; True is
    "True", or "true". What is missing is the category of that name.
    """
    by_text = {text: place for place, text in enumerate(categories)}
    numbers, wrong = _parsed(np.array(categories, object))
    by_number = {number: place for place, (number, bad) in enumerate(zip(numbers.tolist(), wrong, strict=True)) if not bad}
    by_word = {text.casefold(): place for text, place in by_text.items()}

    def place(value: Any) -> int:
        if is_missing(value):
            return by_text.get(missing, -1)
        if isinstance(value, bool | np.bool_):
            return by_word.get(str(value).casefold(), -1)
        if isinstance(value, int | float | np.number):
            return by_text.get(f"{value:.15g}", by_number.get(float(value), -1))
        return by_text.get(str(value).strip(), -1)

    known: dict[Any, int] = {}
    return np.array([known.setdefault((type(value), value), place(value)) for value in values.tolist()], int)


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


def _as_text(numbers: np.ndarray) -> np.ndarray:
    return np.array([None if np.isnan(number) else f"{number:.15g}" for number in numbers], object)


def is_missing(value: Any) -> bool:
    """Whether a value is none: None, NaN, or blank text."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def short(value: Any) -> str:
    """What a user wrote, in quotes and not too long."""
    text = repr(str(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...'"
