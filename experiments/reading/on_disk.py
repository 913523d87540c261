"""Parquet files of one table that may not fit in memory: which files, how large they are, and some rows or all rows in chunks."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError, import_extra
from experiments.reading.files import TextFormat, parquet_file, read_chunks
from experiments.reading.splits import Rows
from mdnjax.data.columns import Columns, to_inputs, to_targets
from mdnjax.data.dataset import Dataset
from mdnjax.data.values import TableError

CHUNK_ROWS = 2**16
BYTES_OF_NUMBER = 8
MAX_SCORED_ROWS = 5_000  # of each part, if the table is so large that not all rows are scored
# Of the machine's memory. In memory, each of the 60 trainings of the recommended settings has a copy of its rows in float32.
MAX_SHARE_OF_MEMORY = 1 / 40


class Parts(NamedTuple):
    """The files of one table, and the number of rows of each."""

    paths: tuple[Path, ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """The number of rows of all files."""
        return sum(self.sizes)

    @property
    def fingerprint(self) -> str:
        """A text that is different after a change of one of the files."""
        return " ".join(f"{path.resolve()} {(stat := path.stat()).st_size} {stat.st_mtime_ns}" for path in self.paths)

    def place_of(self, row: int) -> tuple[Path, int]:
        """Returns the file of a row of the table, and its number in the file, both counted from 0."""
        ends = np.cumsum(self.sizes)
        part = int(np.searchsorted(ends, row, side="right"))
        return self.paths[part], row - int(ends[part] - self.sizes[part])


def paths_of(pattern: str) -> tuple[Path, ...]:
    """Returns the file of a path, or all files that match a pattern such as train/*.parquet, in the order of their names.

    Raises: UserError if no file matches a pattern, or several do of which one is no Parquet file.
    """
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return (Path(pattern),)
    paths = tuple(map(Path, sorted(glob.glob(pattern, recursive=True))))
    if not paths:
        raise UserError(f"data.path: no file matches {pattern}, expected Parquet files")
    if other := next((path for path in paths if path.suffix.lower() != ".parquet"), None):
        raise UserError(f"data.path: {pattern} matches {other}, expected only files that end in .parquet")
    return paths


def parts_of(paths: Sequence[Path]) -> Parts:
    """Returns the files of one table.

    Raises: UserError if one of them is no Parquet file, or has other columns than the first.
    """
    names, sizes = list[tuple[str, ...]](), list[int]()
    for path in paths:
        try:
            file = parquet_file(path)
        except TableError as error:
            raise UserError(f"{path}: {error}") from None
        names.append(tuple(file.schema_arrow.names))
        sizes.append(file.metadata.num_rows)
        if different := sorted({*names[0]} ^ {*names[-1]}):
            where = "lacks" if different[0] in names[0] else "has"
            raise UserError(f"{path}: it {where} column {different[0]!r}, expected the columns of {paths[0]}")
    return Parts(tuple(paths), tuple(sizes), names[0])


def fits_in_memory(parts: Parts) -> bool:
    """Returns whether the numbers of a table have at most a fortieth of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34
    return parts.num_rows * len(parts.names) * BYTES_OF_NUMBER <= MAX_SHARE_OF_MEMORY * memory


class ColumnsOfParts(Mapping[str, Any]):
    """The columns of a table, each of which is read from all files when it is asked for."""

    def __init__(self, parts: Parts, text_format: TextFormat) -> None:
        self._parts, self._text_format = parts, text_format

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._parts.names:
            raise KeyError(name)
        return np.concatenate([chunk[name] for chunk in chunks_of(self._parts, self._text_format, [name])])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts.names)

    def __len__(self) -> int:
        return len(self._parts.names)


def chunks_of(parts: Parts, text_format: TextFormat, names: Sequence[str] | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Yields all rows in chunks, with these columns or all, in the order of the first file."""
    wanted = list(names or parts.names)
    try:
        for path in parts.paths:
            for chunk in read_chunks(path, text_format, CHUNK_ROWS, only=wanted):
                if len(chunk[wanted[0]]):  # the columns of an empty file have no types
                    yield {name: chunk[name] for name in wanted}
    finally:
        import_extra("pyarrow").default_memory_pool().release_unused()  # without this, some hundred megabytes stay occupied


def read_rows(parts: Parts, text_format: TextFormat, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Returns the columns of all rows, or of some rows, given by their numbers in ascending order."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in parts.names}
    first = 0
    for chunk in chunks_of(parts, text_format):
        num = len(chunk[parts.names[0]])
        if rows is None:
            wanted: Any = slice(None)
        else:
            wanted = rows[slice(*np.searchsorted(rows, [first, first + num]))] - first
        for name, values in chunk.items():
            found[name].append(values[wanted])
        first += num
    return {name: np.concatenate(values) for name, values in found.items()}


def examples_of(parts: Parts, text_format: TextFormat, columns: Columns) -> Iterator[Dataset]:
    """Yields all rows as examples in chunks.

    Raises: UserError with the file and the row if a value cannot be used.
    """
    needed, first = [*(column.name for column in columns.inputs), *columns.targets], 0
    for chunk in chunks_of(parts, text_format, list(dict.fromkeys(needed))):
        try:
            yield Dataset(to_inputs(columns, chunk), to_targets(columns, chunk))
        except TableError as error:
            path, before = parts.place_of(first)
            raise UserError(f"{path}: {error.below(before)}") from None
        first += len(chunk[needed[0]])


def thinned(rows: Rows, most: int) -> Rows:
    """Returns at most `most` rows, evenly spaced: at most a tenth of them for testing and a tenth for validation."""
    if sum(map(len, rows)) <= most:
        return rows
    test, validation = (evenly_spaced(part, min(most // 10, MAX_SCORED_ROWS)) for part in (rows.test, rows.validation))
    return Rows(evenly_spaced(rows.train, most - len(test) - len(validation)), validation, test)


def evenly_spaced(values: np.ndarray, most: int) -> np.ndarray:
    """Returns at most `most` of the values."""
    return values[:: -(-len(values) // most)]


def on_disk_notes(parts: Parts, rows: Rows, num_known: int) -> Iterator[str]:
    """Yields sentences about what rows on disk change."""
    train, validation, test = map(len, rows)
    all_rows = f"{parts.num_rows:,} rows in {len(parts.paths)} file{'s' * (len(parts.paths) > 1)}"
    yield f"{all_rows} are read from disk: {train:,} for training, {validation:,} for validation, {test:,} for testing"
    if num_known < parts.num_rows:
        yield (
            f"columns, units of training, notes and scores are those of {num_known:,} of these rows, evenly spaced in each part; "
            "the networks are trained on all rows for training"
        )


def scratch_folder(scratch: str, output: Path) -> Path:
    """Returns the folder of the files of one run in a folder that runs share."""
    return Path(scratch) / f"mdnjax-{hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:12]}"
