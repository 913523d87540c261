"""Hints after an error in a table, and notes on its names and words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.reading.files import SUFFIXES, TAB, TextFormat
from mdnjax.data.columns import Columns
from mdnjax.data.content import DECIMAL_COMMA
from mdnjax.data.dates import Dates
from mdnjax.data.values import TableError

MISSING_WORDS = ("NA", "N/A", "n/a", "None", "none", "NULL", "null", "NaN", "nan", "?", "-", ".")  # common in tables


def check_printable(columns: Columns) -> None:
    """Raises: TableError if a name has a control character, which neither a terminal nor a figure can show."""
    for name in (*(column.name for column in columns.inputs), *columns.targets):
        if not name.isprintable():
            raise TableError(f"column {name!r}: got a name with a control character, expected printable text; rename the column")


def hint(error: TableError, path: Path, text_format: TextFormat, section: str = "") -> str:
    """Returns the settings that would help after an error in a text file, with the prefix of their section, or nothing."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return ""
    text = str(error)
    if "expected one of " in text or "more fields than the header" in text or "not a table: " in text:
        return _delimiter_hint(path, text_format, section)
    if "got bytes that are not " in text:
        with open(path, "rb") as file:
            encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        return f"; if the file is in another encoding, which is often {encoding}, set {section}encoding={encoding}"
    return _value_hint(text, text_format, section)


def _delimiter_hint(path: Path, text_format: TextFormat, section: str) -> str:
    """Returns which delimiter, and which decimal sign, a file seems to have."""
    (header, row), suffix = _first_lines(path, text_format.encoding), path.suffix.lower()
    used = "\t" if text_format.delimiter == TAB else text_format.delimiter or SUFFIXES[suffix]
    found = max((";", "\t", "|", ","), key=header.count)
    if suffix == ".txt" or header.count(found) <= header.count(used):
        return ""
    delimiter = TAB if found == "\t" else found
    words = f"if the columns of the header are separated by {delimiter!r}, set {section}delimiter={delimiter!r}"
    if text_format.decimal == "." and any(DECIMAL_COMMA.fullmatch(field.strip(' "')) for field in row.strip().split(found)):
        words += f" and, as the numbers have a decimal comma, {section}decimal=,"
    return f" ({words})"


def _value_hint(text: str, text_format: TextFormat, section: str) -> str:
    """Returns the settings for a value that is no number or no date: the decimal sign, or what means a missing value."""
    if found := re.search(r"column ('.*'), row \d+: got '.*', a date whose day and month", text):
        return f": {section}leave_out=[{found[1]}] or {section}categorical=[{found[1]}]"
    if (found := re.search(r"got '(.*)', expected a (number|date)", text)) is None:
        return ""
    if text_format.decimal == "." and DECIMAL_COMMA.fullmatch(found[1]):
        return f"; if the comma is the decimal sign, set {section}decimal=, (if it separates thousands, remove it from the file)"
    if found[1].strip() not in MISSING_WORDS and " other rows" not in text:
        return ""
    impute = f" and {section}missing=impute" if section else ""
    names = re.search(r"column '(.*?)', row", text) if section and "a number as in" in text else None
    category = f"; if it is a category, set {section}categorical=[{json.dumps(names[1])}]" if names else ""
    return f"; if {found[1]!r} means a missing value, set {section}missing_values=[{json.dumps(found[1])}]{impute}{category}"


def notes_on_columns(columns: Columns) -> Iterator[str]:
    """Yields notes on dates, on categories that may mean a missing value, and on names that figures cannot show."""
    for column in columns.inputs:
        if column.dates is not None:
            yield _date_note(column.name, column.dates)
        if words := [word for word in column.categories or () if word in MISSING_WORDS]:
            listed = " and the category ".join(map(repr, words))
            yield (
                f"column {column.name!r} has the category {listed}, which counts as any other word; if it means a missing value, "
                f"set data.missing_values={json.dumps(words)} and data.missing=impute"
            )
    for name in (*(column.name for column in columns.inputs), *columns.targets):
        if not _has_glyphs(name):
            yield f"column {name!r} has letters that the font of the figures lacks; figures show them as boxes"


def _date_note(name: str, dates: Dates) -> str:
    """Returns a sentence about the inputs that a column of dates becomes."""
    time = "" if dates == "day" else ", and the sine and cosine of the time of day"
    return (
        f"column {name!r} holds dates and becomes these inputs: the days since 1970-01-01, the sine and cosine of "
        f"the season, 1 or 0 for each weekday{time}; data.leave_out=[{json.dumps(name)}] leaves it out"
    )


def _first_lines(path: Path, encoding: str) -> tuple[str, str]:
    with open(path, encoding=encoding, errors="replace") as file:
        return file.readline(10_000), file.readline(10_000)


def _has_glyphs(text: str) -> bool:
    """Returns whether the font of the figures has all letters of a text."""
    if text.isascii():
        return True
    from matplotlib import font_manager  # here, since the commands that draw nothing would wait for it

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return all(font.get_char_index(ord(letter)) for letter in text)
