"""Each walker's own frame: where they stand is the origin, where they look is ahead; predicted is how they deviate from that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.trajectories.walks import OBSERVED, PREDICTED
from mdnjax.data import Dataset

SECONDS = 0.4  # of a step
STILL = 0.02  # metres a step: below it, where somebody came from says more of where they look than the last step


class Frame(NamedTuple):
    """The last place seen, the last step, and axes `[N, 2, 2]` whose rows are ahead and to the left."""

    place: np.ndarray
    step: np.ndarray
    axes: np.ndarray


def frame_of(paths: np.ndarray) -> Frame:
    """The frames of paths `[N, T, 2]`, of which the first 8 places are seen."""
    place, step = paths[:, OBSERVED - 1], paths[:, OBSERVED - 1] - paths[:, OBSERVED - 2]
    way = np.where(_length(step) > STILL, step, place - paths[:, 0])
    ahead = np.where(_length(way) > 0, way / np.maximum(_length(way), 1e-12), [1.0, 0.0])
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    return Frame(place, step, np.stack([ahead, left], axis=1))


def dataset_of(paths: np.ndarray, mirror: bool = False) -> Dataset:
    """Inputs: the 7 velocities seen, m/s. Targets: the 12 places to come less those at constant velocity, m. In the own frame."""
    frame = frame_of(paths)
    seen = np.einsum("nij,ntj->nti", frame.axes, np.diff(paths[:, :OBSERVED], axis=1)) / SECONDS
    to_come = np.einsum("nij,ntj->nti", frame.axes, paths[:, OBSERVED:] - straight_on(frame))
    if mirror:
        seen, to_come = (np.concatenate([values, values * [1, -1]]) for values in (seen, to_come))
    return Dataset(*(values.reshape(len(values), -1).astype(np.float32) for values in (seen, to_come)))


def straight_on(frame: Frame) -> np.ndarray:
    """Places `[N, 12, 2]` of those who keep their last step."""
    return frame.place[:, None] + frame.step[:, None] * np.arange(1, PREDICTED + 1)[:, None]


def to_world(frame: Frame, y: np.ndarray) -> np.ndarray:
    """Places `[*shape, N, 12, 2]` of targets `[*shape, N, 24]`."""
    deviations = y.reshape(*y.shape[:-1], PREDICTED, 2)
    return straight_on(frame) + np.einsum("nij,...nti->...ntj", frame.axes, deviations)


def to_frame(frame: Frame, index: int, step: int, places: np.ndarray) -> np.ndarray:
    """Deviations `[*shape, 2]` of one walker at one step, from places of the world; a rotation, so densities stay."""
    return (places - straight_on(frame)[index, step]) @ frame.axes[index].T


def _length(steps: np.ndarray) -> np.ndarray:
    return np.linalg.norm(steps, axis=-1, keepdims=True)
