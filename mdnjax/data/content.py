"""Finds what a column of a table contains: numbers, dates, or texts that are categories."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mdnjax.data.dates import DAY_OR_MONTH_FIRST, EXAMPLES
from mdnjax.data.values import ROW, TableError, check_finite, column_of, parsed, parsed_days, short, texts_of

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
MAX_CATEGORIES_OF_NUMBERS = 20  # among numbers with a few words; each must also have at least this many rows on average:
MIN_ROWS_PER_CATEGORY = 4
MAX_WORDS = 4  # in a message


class Content(NamedTuple):
    """What a column contains: numbers, days since 1970-01-01 if `dates` (both nan if missing), or texts (None if missing)."""

    values: np.ndarray
    dates: bool = False
    note: str = ""


def content_of(table: Mapping[str, Any], name: str, categorical: bool = False) -> Content:
    """Returns what a column contains; texts of which most are numbers or dates are parsed, and with `categorical` all are texts.

    Raises: TableError if a number is infinite, or a value does not fit to most of the others.
    """
    values = column_of(table, name)
    if values.dtype.kind == "f":
        check_finite(values, name)
    if categorical or values.dtype.kind == "b":
        return Content(texts_of(values))
    if values.dtype.kind in "iuf":
        return Content(values.astype(np.float64))
    texts = texts_of(values)
    numbers, wrong = parsed(texts)
    if not wrong.any():
        check_finite(numbers, name)
        return Content(numbers)
    days, no_date = parsed_days(values)
    num = sum(text is not None for text in texts)
    if num - no_date.sum() > 0.5 * num:
        _check_dates(texts, days, no_date, name)
        return Content(days, dates=True)
    _check_notation(texts, wrong, name)
    return Content(texts, note=_words_among_numbers(texts, wrong, name) if wrong.sum() < 0.5 * num else "")


def _check_dates(texts: np.ndarray, days: np.ndarray, wrong: np.ndarray, name: str) -> None:
    """Raises: TableError if a value of a column of dates is not a date."""
    if wrong.any():
        row, num = int(wrong.argmax()), np.isfinite(days).sum()
        expected = f"expected {EXAMPLES}, as in {num} other rows; correct it, or make it missing"
        raise TableError(f"column {short(name)}, row {ROW}: got {short(texts[row])}, {expected}", row)


def _check_notation(texts: np.ndarray, wrong: np.ndarray, name: str) -> None:
    """Raises: TableError if most texts that are not numbers have a decimal comma, or are dates with the day or month first."""
    expected = {
        DECIMAL_COMMA: "expected a number with a decimal point",
        DAY_OR_MONTH_FIRST: "a date whose day and month can be confused, expected the year first, as in 2024-03-01; rewrite the "
        "dates, leave the column out, or name it among the categorical columns",
    }
    for pattern, words in expected.items():
        found = [row for row in np.flatnonzero(wrong) if pattern.fullmatch(texts[row])]
        if len(found) > 0.5 * wrong.sum():
            raise TableError(f"column {short(name)}, row {ROW}: got {short(texts[found[0]])}, {words}", int(found[0]))


def _words_among_numbers(texts: np.ndarray, wrong: np.ndarray, name: str) -> str:
    """Returns a note on a column of few numbers and words. Raises: TableError if the numbers are too many for categories."""
    words, known, num = sorted(set(texts[wrong])), {text for text in texts if text is not None}, int(wrong.sum())
    rows = f"{num} row{'s' * (num > 1)}"
    if len(known) <= min(MAX_CATEGORIES_OF_NUMBERS, len(texts) // MIN_ROWS_PER_CATEGORY):
        shown = json.dumps(words[:MAX_WORDS], ensure_ascii=False)
        return (
            f"column {short(name)} has {len(known)} different values, which are numbers, and in {rows} words, such as "
            f"{short(words[0])}: each of them is a category; if the words mean missing values, make them missing (in a file "
            f"by data.missing_values={shown})"
        )
    row, others = int(wrong.argmax()), sum(text is not None for text in texts) - num
    expected = f"expected a number as in {others} other rows ({rows} with {', '.join(map(short, words[:MAX_WORDS]))})"
    remedy = "correct it, make it missing, or name the column among the categorical columns"
    raise TableError(f"column {short(name)}, row {ROW}: got {short(texts[row])}, {expected}; {remedy}", row)
