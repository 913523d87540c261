"""Hints after an error in a table, and notes on its names and words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.reading.files import SUFFIXES, TAB
from mdnjax.config.data import Table
from mdnjax.data.columns import Columns
from mdnjax.data.values import TableError

MISSING_WORDS = ("NA", "N/A", "n/a", "None", "none", "NULL", "null", "NaN", "nan", "?", "-", ".")  # in the tables of others


def check_printable(columns: Columns) -> None:
    """Raises: TableError if a name has a control character, which neither a terminal nor a figure can show."""
    for name in (*(column.name for column in columns.inputs), *columns.targets):
        if not name.isprintable():
            raise TableError(f"column {name!r}: got a name with a control character, expected printable text; rename the column")


def delimiter_hint(error: TableError, section: Table) -> str:
    """Returns, for a text file without a column that is asked for, a hint which delimiter it seems to have."""
    suffix = Path(section.path).suffix
    if suffix not in (".csv", ".tsv") or "expected one of " not in str(error):
        return ""
    header, used = _first_line(Path(section.path)), "\t" if section.delimiter == TAB else section.delimiter or SUFFIXES[suffix]
    found = max((";", "\t", "|", ","), key=header.count)
    if header.count(found) <= header.count(used):
        return ""
    delimiter = TAB if found == "\t" else found
    return f" (if the columns of the header are separated by {delimiter!r}, set data.delimiter={delimiter!r})"


def missing_hint(error: TableError) -> str:
    """Returns, for a word among numbers that often stands for a missing value, how to say so."""
    found = re.search(r"got '(.*)', expected a number", str(error))
    if found is None or found[1].strip() not in MISSING_WORDS:
        return ""
    return f"; if {found[1]!r} means a missing value, set data.missing_values=[{json.dumps(found[1])}]"


def name_notes(columns: Columns) -> Iterator[str]:
    """Yields notes on categories that may mean a missing value, and on names that figures cannot show."""
    for column in columns.inputs:
        if words := [word for word in column.categories or () if word in MISSING_WORDS]:
            listed = " and the category ".join(map(repr, words))
            yield (
                f"column {column.name!r} has the category {listed}, which counts as any other word; if it means a missing value, "
                f"set data.missing_values={json.dumps(words)} and data.missing=impute"
            )
    for name in (*(column.name for column in columns.inputs), *columns.targets):
        if not _has_glyphs(name):
            yield f"column {name!r} has letters that the font of the figures lacks; figures show them as boxes"


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(10_000)


def _has_glyphs(text: str) -> bool:
    """Returns whether the font of the figures has all letters of a text."""
    if text.isascii():
        return True
    from matplotlib import font_manager  # here, since the commands that draw nothing would wait for it

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return all(font.get_char_index(ord(letter)) for letter in text)
