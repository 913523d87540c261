"""Windows of 20 steps of people on foot, by scene: read from the files of ETH and UCY, or made up."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.trajectories import crossings
from experiments.trajectories.schema import Paths

OBSERVED, PREDICTED = 8, 12
LENGTH = OBSERVED + PREDICTED
# The files that each scene is tested on; those of the others, and those that stand nowhere here, are trained on.
SCENES: dict[str, tuple[str, ...]] = {
    "eth": ("biwi_eth",),
    "hotel": ("biwi_hotel",),
    "univ": ("students001", "students003"),
    "zara1": ("crowds_zara01",),
    "zara2": ("crowds_zara02",),
}


class Recording(NamedTuple):
    """Rows (frame, pedestrian, x, y) of a file; the first `num_train` are trained on, the rest watched, where it is no test."""

    rows: np.ndarray
    num_train: int


class Scene(NamedTuple):
    """Windows `[N, 20, 2]` in metres to train on, to watch, and of the scene that was left out."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_scenes(config: Paths, seed: int) -> list[Scene]:
    """Each scene that is asked for, with the others to train on.

    Raises: UserError if files or scenes are missing, or not what is expected.
    """
    if config.root is None:
        recordings = {name: Recording(*crossings.record(name, seed, config.num_groups)) for name in crossings.CROSSINGS}
        tests = {name: (name,) for name in recordings}
    else:
        recordings, tests = _read(Path(config.root)), SCENES
    for name in config.scenes:
        if name not in tests:
            raise UserError(f"data.scenes: got {name!r}, expected some of {', '.join(tests)}")
    return [_scene(name, recordings, tests[name]) for name in config.scenes or tests]


def windows(rows: np.ndarray) -> np.ndarray:
    """Paths of 20 steps in a row `[N, 20, 2]`, of every stretch of 20 frames that two people or more are there for."""
    frames, number = np.unique(rows[:, 0], return_inverse=True)
    people = [_tracks(number[rows[:, 1] == who], rows[rows[:, 1] == who, 2:]) for who in np.unique(rows[:, 1])]
    found: list[list[np.ndarray]] = [[] for _ in range(len(frames))]
    for first, path in (track for tracks in people for track in tracks):
        for start in range(len(path) - LENGTH + 1):
            found[first + start].append(path[start : start + LENGTH])
    kept = [path for together in found if len(together) > 1 for path in together]
    return np.array(kept) if kept else np.zeros((0, LENGTH, 2))


def _tracks(number: np.ndarray, places: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Where one person is there without a gap: the number of the first frame, and places."""
    order = np.argsort(number, kind="stable")
    number, places = number[order], places[order]
    gaps = np.flatnonzero(np.diff(number) != 1) + 1
    return [(int(part[0]), place) for part, place in zip(np.split(number, gaps), np.split(places, gaps), strict=True)]


def _scene(name: str, recordings: dict[str, Recording], tests: tuple[str, ...]) -> Scene:
    others = [recording for file, recording in recordings.items() if file not in tests]
    train = np.concatenate([windows(one.rows[: one.num_train]) for one in others])
    validation = np.concatenate([windows(one.rows[one.num_train :]) for one in others])
    test = np.concatenate([windows(recordings[file].rows) for file in tests])
    for part, found in (("train", train), ("validation", validation), ("test", test)):
        if not len(found):
            raise UserError(f"data.root: no two people walk {LENGTH} frames together in the {part} part of {name!r}")
    return Scene(name, train, validation, test)


def _read(root: Path) -> dict[str, Recording]:
    recordings, splits = {}, root / "SPLITS.txt"
    if not splits.is_file():
        raise UserError(
            f"data.root: there is no file {splits}, expected a line 'file rows n_train_rows n_val_rows' for each file"
        )
    for line in splits.read_text().splitlines()[1:]:
        words = line.split()
        if len(words) == 4 and all(word.isdigit() for word in words[1:]):
            recordings[words[0]] = Recording(_rows(root / f"{words[0]}.txt"), int(words[2]))
    for file in (file for files in SCENES.values() for file in files):
        if file not in recordings:
            raise UserError(f"data.root: {splits} has no line of {file!r}; it has {', '.join(recordings) or 'none'}")
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
    _, twice = np.unique(rows[:, :2], axis=0, return_counts=True)
    if (twice > 1).any():
        raise UserError(f"data.root: {path}: a pedestrian is twice in one frame")
    return rows
