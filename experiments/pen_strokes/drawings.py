"""Drawings as arrays of points (dx, dy, pen lifted after the point), from a file or from a generated alphabet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.pen_strokes import alphabet
from experiments.pen_strokes.schema import Drawings
from experiments.reading.arrays import ArraysError, read_arrays

NAMES = ("train", "valid", "test")


class Parts(NamedTuple):
    """Drawings `[points, 3]` for training, validation and test."""

    train: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray]


def make_drawings(config: Drawings, seed: int) -> Parts:
    """Returns the drawings of a configuration; each ends with a lifted pen.

    Raises: UserError if the file is missing or does not hold the expected arrays.
    """
    if config.path is not None:
        return _read(Path(config.path))
    sizes = (config.num_train, config.num_validation, config.num_test)
    return Parts(*(alphabet.write([seed, part], num) for part, num in enumerate(sizes)))


def as_arrays(drawings: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns points and lengths of drawings, in the layout of files that are read."""
    return {"points": np.concatenate(drawings).astype(np.float32), "lengths": np.array(list(map(len, drawings)), np.int32)}


def _read(path: Path) -> Parts:
    try:
        arrays = read_arrays(path)
    except OSError as error:
        raise UserError(f"data.path: cannot read {path}: {error.strerror or error}") from None
    except ArraysError as error:
        raise UserError(f"data.path: {path}: {error}") from None
    return Parts(*(_part(path, arrays, name) for name in NAMES))


def _part(path: Path, arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    for array in (f"{name}_points", f"{name}_lengths"):
        if array not in arrays:
            raise UserError(f"data.path: {path} has no array {array!r}; it has {', '.join(sorted(arrays)) or 'none'}")
    points, lengths = arrays[f"{name}_points"], arrays[f"{name}_lengths"]

    def wrong(got: str, expected: str) -> UserError:
        return UserError(f"data.path: {path}: {got}, expected {expected}")

    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "iuf":
        raise wrong(f"{name}_points: got shape {points.shape} of {points.dtype}", "[points, 3] numbers")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise wrong(
            f"{name}_lengths: got shape {lengths.shape} of {lengths.dtype}", "[drawings] whole numbers from 1, one or more"
        )
    if lengths.sum() != len(points):
        raise wrong(f"{name}_lengths: got a sum of {lengths.sum()} points", f"the {len(points)} of {name}_points")
    if not np.isfinite(points).all():
        raise wrong(f"{name}_points: got {points[~np.isfinite(points)][0]}", "finite numbers")
    if not np.isin(points[:, 2], (0, 1)).all():
        invalid = points[~np.isin(points[:, 2], (0, 1)), 2][0]
        raise wrong(f"{name}_points: got {invalid} in the last column", "0 (pen down) or 1 (lifted after the point)")
    points = points.astype(np.float32)
    ends = np.cumsum(lengths)
    points[ends - 1, 2] = 1  # at the end of a drawing the pen is lifted
    return np.split(points, ends[:-1])
