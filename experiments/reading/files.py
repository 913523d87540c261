"""Reads tables into one array per column: CSV, TSV, Parquet, NPZ, and text files with columns of numbers."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError, import_extra
from experiments.reading.arrays import ArraysError, read_arrays
from experiments.reading.faults import near_file, table_errors
from mdnjax.data.content import DECIMAL_COMMA
from mdnjax.data.values import TableError, parsed

TAB = "tab"  # stands for the character, which is hard to type on a command line
SUFFIXES = {".csv": ",", ".tsv": "\t", ".txt": r"\s+", ".parquet": "", ".npz": ""}


class TextFormat(NamedTuple):
    """The format of a text file, by the keys of `Table`; without a delimiter, the file's suffix determines it."""

    delimiter: str | None = None
    missing_values: tuple[str, ...] = ()
    decimal: str = "."
    encoding: str = "utf-8"


def text_format_of(section: Any) -> TextFormat:
    """Returns the format that a section sets which has these keys: that of a table, or of rows to predict for."""
    return TextFormat(*(getattr(section, name) for name in TextFormat._fields))


PLAIN = TextFormat()
NUMBER_WITH_POINT = re.compile(r"[+-]?\d+\.\d+", re.ASCII)


def read_file(path: Path, text_format: TextFormat = PLAIN, text_columns: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Returns all columns of a file by name; arrays are shared between calls. Columns in `text_columns` are read as text.

    Raises: UserError if the file cannot be read, TableError if it is not a table.
    """
    try:
        modified = os.stat(path).st_mtime_ns
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}{near_file(path)}") from None
    return _read_file(path, text_format, frozenset(text_columns), modified)


def read_chunks(
    path: Path,
    text_format: TextFormat,
    max_rows: int,
    text_columns: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the columns of a file as `read_file` does, in chunks of at most `max_rows` rows; without rows, one empty chunk.

    Args: `only` are the columns of a Parquet file that are read (None: all).
    """
    kind = _kind(path)
    if kind == ".npz":
        table = read_file(path, text_format)
        num = len(next(iter(table.values())))
        yield from ({name: values[i : i + max_rows] for name, values in table.items()} for i in range(0, num, max_rows))
    elif kind == ".parquet":
        parquet = parquet_file(path)
        batches = parquet.iter_batches(max_rows, columns=only and list(only)) if parquet.metadata.num_rows else [parquet.read()]
        for batch in batches:
            frame = batch.to_pandas(ignore_metadata=True)
            yield {name: _with_missing(_to_numpy(column), text_format) for name, column in frame.items()}
    else:
        for frame in _frames(path, text_format, max_rows, text_columns):
            yield _columns_of(frame, text_format, text_columns)


def mixed_columns(path: Path, text_format: TextFormat, max_rows: int, names: Collection[str]) -> list[str]:
    """Returns those of the columns that have one type in some chunks of a text file and another type in others."""
    if _kind(path) in (".npz", ".parquet"):
        return []
    kinds: dict[str, set[str]] = {name: set() for name in names}
    for chunk in read_chunks(path, text_format, max_rows):
        for name in kinds.keys() & chunk.keys():
            kinds[name].add(chunk[name].dtype.kind)
    return [name for name, found in kinds.items() if len(found) > 1]


@functools.lru_cache(maxsize=4)
def _read_file(path: Path, text_format: TextFormat, text_columns: frozenset[str], modified: int) -> dict[str, np.ndarray]:
    kind = _kind(path)
    if kind == ".npz":
        table = {name: _with_missing(values, text_format) for name, values in _npz(path).items()}
    elif kind == ".parquet":
        frame = parquet_file(path).read().to_pandas(ignore_metadata=True)
        table = {name: _with_missing(_to_numpy(column), text_format) for name, column in frame.items()}
    else:
        (frame,) = _frames(path, text_format, None, text_columns)
        bools = [name for name, column in frame.items() if column.dtype == bool]
        if bools:  # read as text, since pandas does not report how the file spells true and false
            (frame,) = _frames(path, text_format, None, {*text_columns, *bools})
        table = _columns_of(frame, text_format, text_columns)
    if not table or not len(next(iter(table.values()))):
        raise TableError("got no rows, expected a header and rows below it" if kind != ".txt" else "got no rows")
    return table


def _kind(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: got a name that ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    return path.suffix.lower()


def _frames(path: Path, text_format: TextFormat, max_rows: int | None, text_columns: Collection[str]) -> Iterator[Any]:
    pandas, delimiter = import_extra("pandas"), text_format.delimiter
    if delimiter not in (None, TAB, "\t") and not (len(delimiter) == 1 and delimiter.isascii() and delimiter.isprintable()):
        raise UserError(f"delimiter: got {delimiter!r}, expected a single ASCII character, or {TAB}")
    separator = ("\t" if delimiter == TAB else delimiter) or SUFFIXES[_kind(path)]
    options: dict[str, Any] = {"sep": separator, "engine": "c", "index_col": False, "skipinitialspace": True}
    options |= {
        "decimal": text_format.decimal,
        "encoding": text_format.encoding,
        "keep_default_na": False,
        "na_values": ["", *text_format.missing_values],
    }
    with table_errors(path, text_format.encoding), warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        if _kind(path) == ".txt":
            options |= {"header": None}
        else:
            header_options = options | {"na_values": []}
            names = pandas.read_csv(path, header=None, nrows=1, dtype=str, **header_options).iloc[0]
            names = [name.strip() for name in names]
            if (twice := _first_duplicate(names)) is not None:
                raise TableError(f"got column {twice[:40]!r} twice in the header, expected each name once")
            options |= {"header": 0, "names": names, "dtype": {name: str for name in text_columns if name in names}}
        frames = pandas.read_csv(path, chunksize=max_rows, low_memory=False, **options)
        with contextlib.nullcontext([frames]) if max_rows is None else frames as chunks:  # closes the file on errors
            empty = True
            for frame in chunks:
                empty = False
                yield frame.rename(columns=str)
            if empty:
                yield pandas.read_csv(path, nrows=0, **options).rename(columns=str)


def parquet_file(path: Path) -> Any:
    """Opens a Parquet file. Raises: TableError if it is none, or has two columns of the same name."""
    parquet = import_extra("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # the base classes of pyarrow's errors
        raise TableError(f"not a Parquet file: {' '.join(str(error).split())[:120]}") from None
    if (twice := _first_duplicate(file.schema_arrow.names)) is not None:
        raise TableError(f"got column {twice[:40]!r} twice, expected each name once")
    return file


def _first_duplicate(names: Sequence[str]) -> str | None:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _npz(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays with one axis as columns, and those with two axes as columns name_0, name_1 and so on."""
    table: dict[str, np.ndarray] = {}
    try:
        arrays = read_arrays(path)
    except ArraysError as error:
        raise TableError(str(error)) from None
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise TableError(f"array {name!r}: got shape {array.shape}, expected rows, or rows and columns")
        columns = {f"{name}_{i}": array[:, i] for i in range(array.shape[1])} if array.ndim == 2 else {name: array}
        if twice := min(columns.keys() & table.keys(), default=None):
            raise TableError(f"got column {twice!r} twice, as an array and as a column of another array")
        table |= columns
    if lengths := {name: len(values) for name, values in table.items()}:
        (first, num), *others = lengths.items()
        if other := next(((name, length) for name, length in others if length != num), None):
            raise TableError(f"got {num} rows of {first!r} and {other[1]} of {other[0]!r}, expected the same number of each")
    return table


def _columns_of(frame: Any, text_format: TextFormat, text_columns: Collection[str]) -> dict[str, np.ndarray]:
    """Returns the columns of a text file as arrays; numbers that pandas leaves as text, since some are words, get a point."""
    table = {name: _to_numpy(column) for name, column in frame.items()}
    if text_format.decimal == ",":
        for name in table.keys() - set(text_columns):
            if table[name].dtype == object:
                table[name] = np.array([_with_point(name, text) for text in table[name]], object)
    return table


def _with_point(name: str, text: Any) -> Any:
    """Returns a number with a decimal comma with a point instead, and any other value as it is.

    Raises: TableError for a number with a point, which may separate thousands.
    """
    if isinstance(text, str) and NUMBER_WITH_POINT.fullmatch(text):
        raise TableError(f"column {name!r}: got {text!r}, expected numbers without a point, since their decimal sign is a comma")
    return text.replace(",", ".") if isinstance(text, str) and DECIMAL_COMMA.fullmatch(text) else text


def _with_missing(values: np.ndarray, text_format: TextFormat) -> np.ndarray:
    """Returns a column of a Parquet or NPZ file without the texts and numbers that mean a missing value."""
    if not text_format.missing_values:
        return values
    if values.dtype.kind in "iuf":
        wrong = np.isin(values, parsed(np.array(text_format.missing_values, object))[0])
        return np.where(wrong, np.nan, values) if wrong.any() else values
    wrong = np.isin(values, text_format.missing_values) if values.dtype.kind in "OU" else np.zeros(1, bool)
    return np.where(wrong, np.array(None, object), values.astype(object)) if wrong.any() else values


def _to_numpy(column: Any) -> np.ndarray:
    """Returns a column of pandas as a numpy array of numbers, of times, or of text with None where it is missing."""
    if column.dtype.kind in "biufM" and isinstance(column.dtype, np.dtype):
        return column.to_numpy()
    if getattr(column.dtype, "kind", "O") in "biuf":  # extension types of pandas, with missing values
        return column.to_numpy(np.float64, na_value=np.nan)
    return column.astype(object).where(column.notna(), None).to_numpy()
