"""Turns what is wrong with a file of rows into one plain sentence."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.command import UserError, import_extra
from mdnjax.data.values import TableError


@contextlib.contextmanager
def table_errors(path: Path, encoding: str) -> Iterator[None]:
    """Turns the errors of pandas into a TableError, and those of the file into a UserError."""
    errors = import_extra("pandas").errors
    try:
        yield
    except errors.EmptyDataError:
        raise TableError("got an empty file, expected a header and rows below it") from None
    except errors.ParserWarning:
        raise TableError("got rows with more fields than the header has names") from None
    except errors.ParserError as error:
        raise TableError(f"not a table: {_parser_fault(str(error))}") from None
    except UnicodeError:  # not only UnicodeDecodeError, since UTF-16 may lack its first mark
        if path.read_bytes()[:2] == b"\x1f\x8b":
            raise TableError("got a compressed file, expected text; decompress it, for example with gunzip") from None
        raise TableError(f"got bytes that are not {encoding.upper()} text") from None
    except IsADirectoryError:
        raise UserError(f"{path}: got a folder, expected a file, or a pattern such as '{path}/*.parquet'") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}{near_file(path)}") from None


def _parser_fault(text: str) -> str:
    """Returns an error of pandas' parser as a sentence, for those that are frequent."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text):
        return f"line {found[2]} has {found[3]} fields, and the lines before it have {found[1]}"
    if found := re.search(r"EOF inside string starting at row (\d+)", text):
        return f"a quotation mark in line {int(found[1]) + 1} has no second one"
    return " ".join(text.removeprefix("Error tokenizing data. C error: ").split())[:200]


def near_file(path: Path) -> str:
    """Returns a hint with the most similar name in the same folder, or nothing."""
    try:
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    except (OSError, ValueError):
        return ""
    return f"; did you mean {str(path.with_name(near[0]))!r}?" if near else ""
