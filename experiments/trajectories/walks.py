"""Windows of 20 frames of pedestrian paths, by scene: from the files of ETH and UCY, or simulated."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.trajectories import crossings
from experiments.trajectories.schema import Paths
from mdnjax.config.nearest import nearest

OBSERVED, PREDICTED = 8, 12
LENGTH = OBSERVED + PREDICTED
# The test files of each scene. Its training files are those of the other scenes, and all files that are not listed here.
SCENES: dict[str, tuple[str, ...]] = {
    "eth": ("biwi_eth",),
    "hotel": ("biwi_hotel",),
    "univ": ("students001", "students003"),
    "zara1": ("crowds_zara01",),
    "zara2": ("crowds_zara02",),
}


class Recording(NamedTuple):
    """Rows (frame, pedestrian, x, y) of a file; the first `num_train` are for training, the others for validation."""

    rows: np.ndarray
    num_train: int


class Scene(NamedTuple):
    """Windows `[N, 20, 2]` in metres: train and validation parts of the other scenes, and all windows of this scene as test."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_scenes(config: Paths, seed: int) -> list[Scene]:
    """Returns the configured scenes, each with its training data.

    Raises: UserError if files or scenes are missing, or a file has the wrong content.
    """
    if config.root is None:
        recordings = {name: Recording(*crossings.record(name, seed, config.num_groups)) for name in crossings.CROSSINGS}
        tests = {name: (name,) for name in recordings}
    else:
        recordings, tests = _read(Path(config.root)), SCENES
    for name in config.scenes:
        if name not in tests:
            raise UserError(f"data.scenes: got {name!r}, expected some of {', '.join(tests)}{nearest(name, tests)}")
    return [_scene(name, recordings, tests[name]) for name in config.scenes or tests]


def windows(rows: np.ndarray) -> np.ndarray:
    """Returns the paths `[N, 20, 2]` in all windows of 20 consecutive frames in which two or more pedestrians are present."""
    frames, index = np.unique(rows[:, 0], return_inverse=True)
    by_start: list[list[np.ndarray]] = [[] for _ in range(len(frames))]
    for pedestrian in np.unique(rows[:, 1]):
        own_rows = rows[:, 1] == pedestrian
        for first, track in _tracks(index[own_rows], rows[own_rows, 2:]):
            for start in range(len(track) - LENGTH + 1):
                by_start[first + start].append(track[start : start + LENGTH])
    paths = [path for group in by_start if len(group) > 1 for path in group]
    return np.array(paths) if paths else np.zeros((0, LENGTH, 2))


def _tracks(index: np.ndarray, places: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Splits the frames of one pedestrian at gaps: returns the index of the first frame and the places of each part."""
    order = np.argsort(index, kind="stable")
    index, places = index[order], places[order]
    gaps = np.flatnonzero(np.diff(index) != 1) + 1
    return [(int(part[0]), track) for part, track in zip(np.split(index, gaps), np.split(places, gaps), strict=True)]


def _scene(name: str, recordings: dict[str, Recording], tests: tuple[str, ...]) -> Scene:
    others = [recording for file, recording in recordings.items() if file not in tests]
    train = np.concatenate([windows(recording.rows[: recording.num_train]) for recording in others])
    validation = np.concatenate([windows(recording.rows[recording.num_train :]) for recording in others])
    test = np.concatenate([windows(recordings[file].rows) for file in tests])
    for part, paths in (("train", train), ("validation", validation), ("test", test)):
        if not len(paths):
            expected = f"two or more pedestrians in {LENGTH} consecutive frames"
            raise UserError(f"data.root: got no window in the {part} part of {name!r}, expected {expected}")
    return Scene(name, train, validation, test)


def _read(root: Path) -> dict[str, Recording]:
    recordings, splits = {}, root / "SPLITS.txt"
    if not splits.is_file():
        raise UserError(
            f"data.root: there is no file {splits}, expected a line 'file rows n_train_rows n_val_rows' for each file"
        )
    for line in splits.read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 4 and all(field.isdigit() for field in fields[1:]):
            recordings[fields[0]] = Recording(_rows(root / f"{fields[0]}.txt"), int(fields[2]))
    for file in (file for files in SCENES.values() for file in files):
        if file not in recordings:
            raise UserError(f"data.root: {splits} has no line for {file!r}; it has {', '.join(recordings) or 'none'}")
    return recordings


def _rows(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"data.root: there is no file {path}")
    try:
        rows = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise UserError(f"data.root: {path}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 4 or not np.isfinite(rows).all():
        got = f"{rows.shape[1]} columns" if rows.shape[1] != 4 else "a number that is not finite"
        raise UserError(f"data.root: {path}: got {got}, expected finite frame, pedestrian, x and y in each row")
    _, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"data.root: {path}: got a pedestrian twice in one frame, expected each once")
    return rows
