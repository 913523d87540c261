"""Reads the values of one column of a table as numbers, dates or texts, whatever their type."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from mdnjax.data.dates import EXAMPLES, day_of

MAX_SHOWN = 40  # characters of a user's text in a message
ROW = "\0"  # placeholder for a row number, which depends on how many rows of the file come before the table
SPELLINGS = {"true": ("true", "1", "1.0"), "false": ("false", "0", "0.0")}  # of truth values


class TableError(ValueError):
    """Raised for a table that cannot be used; the message is one line, in which ROW becomes the row's number, counted from 1."""

    def __init__(self, text: str, row: int = 0) -> None:
        super().__init__(text.replace(ROW, str(row + 1)))
        self._text, self._row = text, row

    def below(self, num_rows: int) -> TableError:
        """Returns the error for a table that follows `num_rows` rows of the same file."""
        return TableError(self._text, self._row + num_rows)

    def among(self, rows: np.ndarray) -> TableError:
        """Returns the error for a table whose rows are these of the file."""
        return TableError(self._text, int(rows[self._row]))


def check_name(names: Sequence[str], name: str) -> None:
    """Raises: TableError with the nearest name if there is no such column."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"; did you mean {short(near[0])}?" if near else ""
        raise TableError(f"got column {short(name)}, expected one of {_listed(names)}{hint}")


def check_needed(names: Sequence[str], name: str) -> None:
    """Raises: TableError with the columns that there are, if one that a model needs is not among them."""
    if name not in names:
        raise TableError(f"got no column {short(name)}, which the model needs, but {_listed(names) or 'no column'}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(short(column) for column in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def unmasked(values: Any) -> np.ndarray:
    """Returns values as an array, in which masked values are None."""
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.array(None, object), np.ma.getdata(values).astype(object))
    return np.asarray(values)


def column_of(table: Mapping[str, Any], name: str) -> np.ndarray:
    """Returns a column as an array `[N]` of numbers, or else of Python objects.

    Raises: TableError if it has another shape, or values that are neither numbers nor dates nor text.
    """
    values = unmasked(table[name])
    if values.ndim != 1:
        raise TableError(f"column {short(name)}: got an array of shape {values.shape}, expected one value a row")
    if values.dtype.kind not in "biufMOUST":
        raise TableError(f"column {short(name)}: got values of type {values.dtype}, expected numbers, dates or text")
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]").astype(object)
    for row, value in enumerate(values := values.astype(object)):
        if isinstance(value, bytes):
            values[row] = value.decode(errors="replace")
        elif isinstance(value, np.datetime64):
            values[row] = value.astype("datetime64[us]").item()
        elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise TableError(f"column {short(name)}, row {ROW}: got {short(value)}, which is not valid Unicode", row)
        elif isinstance(value, list | tuple | dict | set | np.ndarray | complex):
            got = f"got a value of type {'list' if isinstance(value, np.ndarray) else type(value).__name__}"
            raise TableError(f"column {short(name)}, row {ROW}: {got}, expected a number or text", row)
    return values


def numbers_of(table: Mapping[str, Any], name: str) -> np.ndarray:
    """Returns a column as float64 numbers, nan where they are missing.

    Raises: TableError if a value is not a number, or is infinite.
    """
    values = column_of(table, name)
    if values.dtype.kind not in "biuf":
        texts = np.array([_text_of(int(value) if _is_bool(value) else value) for value in values], object)
        values, wrong = parsed(texts)
        if wrong.any():
            row = int(wrong.argmax())
            got, expected = short(texts[row]), "expected a number"
            if day_of(texts[row]) is not None:
                got, expected = f"the date {got}", "expected a number; replace the dates by the days since the first of them"
            raise TableError(f"column {short(name)}, row {ROW}: got {got}, {expected}", row)
    check_finite(values, name)
    return values.astype(np.float64)


def days_of(table: Mapping[str, Any], name: str) -> np.ndarray:
    """Returns the days since 1970-01-01 of a column of dates, nan where they are missing.

    Raises: TableError if a value is not a date.
    """
    values = column_of(table, name)
    days, wrong = parsed_days(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(f"column {short(name)}, row {ROW}: got {short(values[row])}, expected {EXAMPLES}", row)
    return days


def check_finite(numbers: np.ndarray, name: str) -> None:
    """Raises: TableError if a number of a column is infinite."""
    if np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        raise TableError(f"column {short(name)}, row {ROW}: got {numbers[row]}, expected a finite number", row)


def category_indices(values: np.ndarray, categories: Sequence[str], missing: str) -> np.ndarray:
    """Returns the index of the category of each value of a column, -1 for a value of no category.

    A value has the same category as text and as a number: the number 1.0 and the text "1.0" have the category "1". If the only
    categories are "True", "False" and `missing`, then True, 1 and "TRUE" have the category "True". A missing value has the
    category `missing`.
    """
    indices = {text: index for index, text in enumerate(categories)}
    words = {text.casefold(): index for text, index in indices.items() if text != missing}
    if set(words) <= set(SPELLINGS):
        indices |= {text: words[word] for word in words for text in SPELLINGS[word]}
        return np.array(
            [indices.get(missing if is_missing(value) else str(value).strip().casefold(), -1) for value in values], int
        )

    def index_of(value: Any) -> int:
        text = missing if is_missing(value) else str(_text_of(value))
        if text in indices:
            return indices[text]
        try:  # the same number in another spelling, as numpy or pandas write it
            number = number_in(text)
        except ValueError:
            return -1
        forms = (f"{number:.15g}", repr(number))
        return next((indices[form] for form in forms if text in forms and form in indices), -1)

    return np.array([index_of(value) for value in _with_shortest_text(values)], int)


def _with_shortest_text(values: np.ndarray) -> Any:
    """Returns values whose texts have no spurious digits: float32 as numpy scalars, all others as Python values."""
    return values if values.dtype in (np.float32, np.float16) else values.tolist()


def texts_of(values: np.ndarray) -> np.ndarray:
    """Returns the texts of a column, None where they are missing."""
    if values.dtype.kind in "biu":
        return values.astype(str).astype(object)
    return np.array([_text_of(value) for value in _with_shortest_text(values)], object)


def _text_of(value: Any) -> str | None:
    """Returns the text of a value, without a trailing ".0" of a number and without midnight; None if it is missing."""
    if is_missing(value):
        return None
    if isinstance(value, date):
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).strip().removesuffix(".0") if isinstance(value, np.floating) else str(value).strip()


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def number_in(text: str) -> float:
    """Returns the number that a text contains. Raises: ValueError if it is none, as `1_000`, which Python reads as a number."""
    if "_" in text:
        raise ValueError(f"got {text!r}, expected a number")
    return float(text)


def parsed(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers that texts contain (nan if missing), and a mask of the texts that are not numbers."""
    numbers, wrong = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        if text is not None:
            try:
                numbers[row] = number_in(text)
            except ValueError:
                wrong[row] = True
    return numbers, wrong


def parsed_days(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the days since 1970-01-01 of values (nan if missing), and a mask of the values that are not dates."""
    days = [math.nan if is_missing(value) else day_of(value) for value in values]
    wrong = np.array([day is None for day in days], bool)
    return np.array([math.nan if day is None else day for day in days], np.float64), wrong


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, pandas' NA or NaT, or blank text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return not value.strip() if isinstance(value, str) else isinstance(value, float | np.floating) and bool(np.isnan(value))


def short(value: Any) -> str:
    """Returns a user's text in quotes, shortened."""
    text = repr(str(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...'"
