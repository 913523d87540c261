"""The values of one column of a table: numbers, or texts, whichever type they came as."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 40  # characters of what a user wrote
ROW = "\0"  # stands for the number of a row until it is known how many rows of a file come before
TRUTH = {"true": ("true", "1", "1.0"), "false": ("false", "0", "0.0")}  # how a column of these may be written


class TableError(ValueError):
    """What is wrong with a table; its text is one line, in which ROW stands for the number of a row, counted from 1."""

    def __init__(self, text: str, row: int = 0) -> None:
        super().__init__(text.replace(ROW, str(row + 1)))
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


def unmasked(values: Any) -> np.ndarray:
    """An array in which what a mask hides is missing."""
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.array(None, object), np.ma.getdata(values).astype(object))
    return np.asarray(values)


def column_of(table: Mapping[str, Any], name: str) -> np.ndarray:
    """A column as an array of one value a row: numbers, or Python's own values where they are anything else.

    Raises: TableError if it has another shape, or values that are neither numbers nor text.
    """
    values = unmasked(table[name])
    if values.ndim != 1:
        raise TableError(f"column {short(name)}: got an array of shape {values.shape}, expected one value a row")
    if values.dtype.kind not in "biufOUST":
        raise TableError(f"column {short(name)}: got values of type {values.dtype}, expected numbers or text")
    if values.dtype.kind in "biuf":
        return values
    for row, value in enumerate(values := values.astype(object)):
        if isinstance(value, bytes):
            values[row] = value.decode(errors="replace")
        elif isinstance(value, list | tuple | dict | set | np.ndarray | complex):
            got = f"got a value of type {type(value).__name__}"
            raise TableError(f"column {short(name)}, row {ROW}: {got}, expected a number or text", row)
    return values


def values_of(table: Mapping[str, Any], name: str, categorical: bool = False, numeric: bool = False) -> np.ndarray:
    """A column as float64 numbers (NaN where missing) or as text (None where missing); text that is all numbers is numbers.

    Raises: TableError if it is neither, or has text among numbers, or infinite values.
    """
    values = column_of(table, name)
    if (values.dtype.kind == "b" and not numeric) or (values.dtype.kind in "iu" and categorical):
        return values.astype(str).astype(object)
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise TableError(f"column {short(name)}, row {ROW}: got {numbers[row]}, expected a finite number", row)
        return np.array([_text_of(value) for value in _shortest(values)], object) if categorical else numbers
    texts = np.array([_text_of(int(value) if numeric and _is_bool(value) else value) for value in values], object)
    if categorical:
        return texts
    numbers, wrong = _parsed(texts)
    present = sum(text is not None for text in texts)
    if not wrong.any():
        return values_of({name: numbers}, name)
    if numeric or wrong.sum() < 0.5 * present:
        row = int(wrong.argmax())
        also = "" if numeric else f" as in {present - wrong.sum()} other rows (or name it among the categorical columns)"
        raise TableError(f"column {short(name)}, row {ROW}: got {short(texts[row])}, expected a number{also}", row)
    return texts


def places_of(values: np.ndarray, categories: Sequence[str], missing: str) -> np.ndarray:
    """The place of each value of a column among categories, -1 where it is none of them.

    The same text is the same category, and so is the same value where the column comes as another type: the number 1.0 and the
    text "1.0" are the category "1"; True, 1 and "TRUE" are the category "True" where the only others are "False" and what is
    missing, which is the category of that name.
    """
    places = {text: place for place, text in enumerate(categories)}
    words = {text.casefold(): place for text, place in places.items() if text != missing}
    if set(words) <= set(TRUTH):
        places |= {text: words[word] for word in words for text in TRUTH[word]}
        return np.array(
            [places.get(missing if is_missing(value) else str(value).strip().casefold(), -1) for value in values], int
        )

    def place(value: Any) -> int:
        text = missing if is_missing(value) else str(_text_of(value))
        if text in places:
            return places[text]
        try:  # the same number, as numpy or pandas write it
            number = float(text)
        except ValueError:
            return -1
        forms = (f"{number:.15g}", repr(number))
        return next((places[form] for form in forms if text in forms and form in places), -1)

    return np.array([place(value) for value in _shortest(values)], int)


def _shortest(values: np.ndarray) -> Any:
    """Values whose text has no more digits than they have: float32 numbers as such."""
    return values if values.dtype in (np.float32, np.float16) else values.tolist()


def _text_of(value: Any) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).strip().removesuffix(".0") if isinstance(value, np.floating) else str(value).strip()


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


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


def is_missing(value: Any) -> bool:
    """Whether a value is none: None, NaN, pandas' NA or NaT, or blank text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return not value.strip() if isinstance(value, str) else isinstance(value, float | np.floating) and bool(np.isnan(value))


def short(value: Any) -> str:
    """What a user wrote, in quotes and not too long."""
    text = repr(str(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...'"
