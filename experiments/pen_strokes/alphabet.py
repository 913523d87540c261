"""A small generated alphabet with random slants, sizes and tremor; the default data."""

from __future__ import annotations

import numpy as np

SIZE = 60.0  # of a letter, in units of the offsets
STEP = 6.0  # distance between two points


def _arc(start: float, stop: float, centre: tuple[float, float] = (0, 0), radius: float = 1.0) -> np.ndarray:
    angle = np.linspace(start, stop, 60) * np.pi
    return np.array(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


# Strokes of each letter, approximately within [-1, 1] x [-1, 1]; y points downwards as on a screen.
LETTERS: dict[str, list[np.ndarray]] = {
    "c": [_arc(-0.3, -1.7)],
    "o": [_arc(-0.5, -2.5)],
    "s": [np.concatenate([_arc(-0.2, -1.5, (0, -0.5), 0.5), _arc(-0.5, 0.8, (0, 0.5), 0.5)])],
    "u": [np.concatenate([[[-0.7, -1]], _arc(1, 0, (0, 0.3), 0.7), [[0.7, -1]]])],
    "n": [np.array([[-0.7, -1], [-0.7, 1]]), np.concatenate([[[-0.7, 0]], _arc(-1, 0, (0, -0.3), 0.7), [[0.7, 1]]])],
    "v": [np.array([[-0.8, -1], [0, 1], [0.8, -1]])],
    "z": [np.array([[-0.8, -1], [0.8, -1], [-0.8, 1], [0.8, 1]])],
    "l": [np.array([[0, -1], [0, 1], [0.7, 1]])],
    "t": [np.array([[0, -1], [0, 1]]), np.array([[-0.7, -0.4], [0.7, -0.4]])],
    "x": [np.array([[-0.8, -1], [0.8, 1]]), np.array([[0.8, -1], [-0.8, 1]])],
    "h": [np.array([[-0.7, -1], [-0.7, 1]]), np.array([[0.7, -1], [0.7, 1]]), np.array([[-0.7, 0], [0.7, 0]])],
}


def write(seed: list[int], num: int) -> list[np.ndarray]:
    """Returns `num` letters `[points, 3]`: integer offsets, and whether the pen is lifted after the point; uniformly chosen."""
    generator = np.random.default_rng(seed)
    return [_letter(generator, LETTERS[name]) for name in generator.choice(list(LETTERS), num)]


def _letter(generator: np.random.Generator, strokes: list[np.ndarray]) -> np.ndarray:
    slant, turn = generator.normal(0, 0.15), generator.normal(0, 0.1)
    shape = np.array([[1, slant], [0, 1]]) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shape = SIZE / 2 * shape * generator.uniform(0.7, 1.2, 2)[:, None]
    parts = [_points(generator, stroke @ shape.T) for stroke in strokes]
    path = np.round(np.concatenate(parts))
    lifted = np.concatenate([np.arange(len(part)) == len(part) - 1 for part in parts])
    offsets = np.diff(path, axis=0, prepend=path[:1])
    return np.concatenate([offsets, lifted[:, None]], axis=1)[1:]  # the first point has no offset


def _points(generator: np.random.Generator, stroke: np.ndarray) -> np.ndarray:
    """Returns points along a stroke at nearly equal steps, displaced by a smooth tremor."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stroke, axis=0), axis=1))])
    num = max(4, round(length[-1] / STEP))
    at = np.linspace(0, length[-1], num)
    along = np.stack([np.interp(at, length, axis) for axis in stroke.T], axis=1)
    tremor = np.cumsum(generator.normal(0, 0.6, (num, 2)), axis=0)
    return along + tremor - tremor.mean(axis=0)
