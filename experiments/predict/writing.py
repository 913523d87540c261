"""Writes tables in pieces; the file appears only when it is complete."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import locks
from experiments.command import UserError, import_extra

Write = Callable[[Mapping[str, np.ndarray]], None]
RECORD = "mdnjax"  # key of the metadata of a Parquet file


@contextlib.contextmanager
def table_writer(path: Path, overwrite: bool, record: str = "") -> Iterator[Write]:
    """Gives a function that appends rows to a temporary file, which is renamed to `path` at the end, or deleted after an error.

    Temporary files of commands that were killed while they wrote the same file are deleted. Args: `record` is text that a
    Parquet file stores; `record_of` returns it.
    Raises: UserError if the file cannot be written, or exists and must not be replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with locks.temporary_file(temporary):
            with _parquet(temporary, record) if path.suffix == ".parquet" else _csv(temporary) as write:
                yield write
            _rename(temporary, path, overwrite)
    except FileExistsError:
        raise already_exists(path) from None
    except OSError as error:
        raise UserError(f"output: cannot write {path}: {error.strerror or error}") from None


def record_of(path: Path) -> str:
    """Returns the record in a Parquet file; an empty text if there is none, or it is no Parquet file."""
    try:
        found = import_extra("pyarrow.parquet").read_schema(path).metadata or {}
    except (OSError, ValueError):  # the base classes of pyarrow's errors
        return ""
    return found.get(RECORD.encode(), b"").decode(errors="replace")


def already_exists(path: Path) -> UserError:
    """Returns the error that an output file exists and must not be replaced."""
    return UserError(f"output: {path} already exists; choose another file with output=FILE, or replace it with --overwrite")


def _remove_abandoned(path: Path) -> None:
    for file in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if (pid := file.name.rpartition(".")[2]).isdecimal():
            locks.remove_abandoned(file, int(pid))


def _rename(temporary: Path, path: Path, overwrite: bool) -> None:
    """Raises: FileExistsError if another command has written the file in the meantime."""
    if not overwrite:
        try:
            os.link(temporary, path)
            return
        except FileExistsError:
            raise
        except OSError:  # the file system has no hard links
            pass
    os.replace(temporary, path)


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[Write]:
    pandas = import_extra("pandas")
    with open(path, "w", encoding="utf-8", newline="") as file:

        def write(columns: Mapping[str, np.ndarray]) -> None:
            pandas.DataFrame(dict(columns)).to_csv(file, index=False, header=file.tell() == 0)

        yield write
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _parquet(path: Path, record: str) -> Iterator[Write]:
    arrow, parquet = import_extra("pyarrow"), import_extra("pyarrow.parquet")
    writer: Any = None

    def write(columns: Mapping[str, np.ndarray]) -> None:
        nonlocal writer
        table = arrow.table({name: arrow.array(values, from_pandas=True) for name, values in columns.items()})
        # a column without any value so far has no type; it is written as text
        fields = [field.with_type(arrow.string()) if arrow.types.is_null(field.type) else field for field in table.schema]
        table = table.cast(arrow.schema(fields))
        writer = writer or parquet.ParquetWriter(path, table.schema.with_metadata({RECORD: record}))
        writer.write_table(table.cast(writer.schema))

    try:
        yield write
    finally:
        if writer:
            writer.close()
    with open(path, "rb") as file:  # so that a part that has its name also has its content
        os.fsync(file.fileno())
