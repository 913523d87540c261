"""Rows of a table that does not fit in memory, in units of training in one file, of which any rows can be read."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax.data.dataset import Dataset
from mdnjax.data.scaler import Scaler
from mdnjax.data.training_units import limits_of_targets, to_train_on, within_limits
from mdnjax.types import Float, Int
from mdnjax.whole_file import writing

PREFIX = ".rows-"  # files whose names begin with a dot are no results
PAGE = 4096
MAX_RESIDENT_BYTES = 2**28  # of pages of the file that are mapped at a time


class StoreError(ValueError):
    """Raised if rows cannot be stored, or not trained on from a file; the message is one line."""


class RowSource(NamedTuple):
    """Rows that are read in chunks, always in the same order.

    `order` has their numbers in that order: those of the rows to train on, then those of `num_validation` rows to select by.
    chunks() yields examples in their own units, float64. `fingerprint` differs if the rows do. The file is written to `folder`.
    """

    num_rows: int
    order: Int[np.ndarray, " N"]
    num_validation: int
    chunks: Callable[[], Iterator[Dataset]]
    fingerprint: str
    folder: Path


class StoredRows:
    """Rows in units of training, float32, and the order of those to train and select by: training rows, then validation rows.

    Positions are places in that order. Rows can be read from several threads.
    """

    def __init__(self, path: Path, order: Int[np.ndarray, " N"], num_validation: int, widths: tuple[int, int, int, int]) -> None:
        """`widths` are the numbers of columns of inputs, targets, ends of cells, and marks of targets without cells."""
        self.path, self.order, self.num_validation, self.widths = path, order, num_validation, widths
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._values = np.frombuffer(self._map, np.float32).reshape(-1, sum(widths))
        self._num_read = 0

    @property
    def num_train(self) -> int:
        """The number of training rows."""
        return len(self.order) - self.num_validation

    def validation_positions(self, turn: int) -> Int[np.ndarray, " V"]:
        """Returns the positions of the validation rows of a turn of `rotated_split`."""
        return self._first_of_validation(turn) + np.arange(self.num_validation)

    def train_positions(self, turn: int, places: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Returns the positions of some of the training rows of a turn, given by their places among all of them."""
        return np.where(places < self._first_of_validation(turn), places, places + self.num_validation)

    def rows(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n W"]:
        """Returns all columns of rows."""
        found = np.take(self._values, self.order[positions], axis=0)
        self._num_read += len(positions)
        if self._num_read * PAGE > MAX_RESIDENT_BYTES:  # the pages stay in the system's cache, but no longer count as ours
            self._num_read = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)
        return found

    def dataset(self, positions: Int[np.ndarray, " n"]) -> Dataset:
        """Returns rows as examples."""
        num_targets = self.widths[1]
        x, y, cells, exact = np.split(self.rows(positions), np.cumsum(self.widths)[:-1], axis=1)
        ends = cells.reshape(len(y), 2, num_targets) if cells.shape[1] else None
        return Dataset(x, y, None, ends, exact > 0 if exact.shape[1] else None)

    def _first_of_validation(self, turn: int) -> int:
        num, size = len(self.order), self.num_validation
        return num - turn % (num // size) * size - size


def store_rows(source: RowSource, scaler: Scaler, known: Dataset, limited: Dataset) -> StoredRows:
    """Writes the rows of a source in units of training to a file, which is there whole or not at all, unless it is there already.

    Args: `known` are examples from which the units of training were computed, `limited` the same without wild targets.
    Raises: StoreError if the file cannot be written, or a row cannot be trained on.
    """
    limits = limits_of_targets(scaler, known.y, limited.y)
    like = _in_training_units(scaler, limits, Dataset(known.x[:1], known.y[:1]))
    widths = (like.x.shape[1], like.y.shape[1], 0 if like.cells is None else like.cells[0].size)
    widths = (*widths, 0 if like.exact is None else like.exact.shape[1])
    path = source.folder / f"{PREFIX}{_digest(source, (scaler, limits))[:24]}.float32"
    if not path.exists():
        try:
            source.folder.mkdir(parents=True, exist_ok=True)
            for old in source.folder.glob(f"{PREFIX}*"):
                old.unlink()
            _write(path, source, lambda chunk: _in_training_units(scaler, limits, chunk))
        except OSError as error:
            needed = f"{4 * sum(widths) * source.num_rows / 1e9:.3g} GB for {source.num_rows} rows"
            raise StoreError(f"cannot write {needed} to {source.folder}: {error.strerror or error}") from None
    return StoredRows(path, source.order, source.num_validation, widths)


def dtype_of_rows(num_rows: int) -> Any:
    """Returns the smaller dtype of row numbers: they are many."""
    return np.int32 if num_rows < 2**31 else np.int64


def _digest(source: RowSource, units: Any) -> str:
    """Returns a text that differs if the file does."""
    digest = hashlib.sha256(f"{source.fingerprint} {source.num_rows} {jax.tree.structure(units)}".encode())
    for leaf in jax.tree.leaves(units):
        digest.update(np.asarray(leaf, np.float64).tobytes())
    return digest.hexdigest()


def _in_training_units(scaler: Scaler, limits: Float[np.ndarray, "2 D"], chunk: Dataset) -> Dataset:
    return to_train_on(scaler, chunk._replace(y=within_limits(scaler, chunk.y, limits)))


def _write(path: Path, source: RowSource, scaled: Callable[[Dataset], Dataset]) -> None:
    """Writes all rows; a memory-mapped file would end the process if the disk is full."""
    first = 1
    with writing(path) as file:
        for chunk in source.chunks():
            try:
                columns = [part for part in scaled(chunk) if part is not None]
            except ValueError as error:
                raise StoreError(f"rows {first} to {first + len(chunk.x) - 1}: {error}") from None
            parts = [np.asarray(part, np.float32).reshape(len(chunk.x), -1) for part in columns]
            file.write(np.concatenate(parts, axis=1).tobytes())
            first += len(chunk.x)
