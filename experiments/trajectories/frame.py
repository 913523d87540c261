"""Coordinates relative to a pedestrian: the origin is the last observed place, the first axis points ahead.

Targets are deviations from constant velocity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.trajectories.walks import OBSERVED, PREDICTED
from mdnjax.data import Dataset

SECONDS = 0.4  # duration of a step
MIN_STEP = 0.02  # metres; a shorter step has no reliable direction, so that of the whole observed path is used


class Frame(NamedTuple):
    """The last observed place and step, and axes `[N, 2, 2]` whose rows point ahead and to the left."""

    place: np.ndarray
    step: np.ndarray
    axes: np.ndarray


def frame_of(paths: np.ndarray) -> Frame:
    """Returns the frames of paths `[N, T, 2]`, of which the first 8 places are observed."""
    place, step = paths[:, OBSERVED - 1], paths[:, OBSERVED - 1] - paths[:, OBSERVED - 2]
    direction = np.where(_length(step) > MIN_STEP, step, place - paths[:, 0])
    ahead = np.where(_length(direction) > 0, direction / np.maximum(_length(direction), 1e-12), [1.0, 0.0])
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    return Frame(place, step, np.stack([ahead, left], axis=1))


def dataset_of(paths: np.ndarray, mirror: bool = False) -> Dataset:
    """Returns inputs (7 observed velocities, m/s) and targets (12 future places minus those at constant velocity, m).

    Both are in the pedestrian's frame; with `mirror` the mirror image of every path is added.
    """
    frame = frame_of(paths)
    velocities = np.einsum("nij,ntj->nti", frame.axes, np.diff(paths[:, :OBSERVED], axis=1)) / SECONDS
    deviations = np.einsum("nij,ntj->nti", frame.axes, paths[:, OBSERVED:] - constant_velocity(frame))
    if mirror:
        velocities, deviations = (np.concatenate([values, values * [1, -1]]) for values in (velocities, deviations))
    return Dataset(*(values.reshape(len(values), -1).astype(np.float32) for values in (velocities, deviations)))


def constant_velocity(frame: Frame) -> np.ndarray:
    """Returns the places `[N, 12, 2]` that are reached by repeating the last observed step."""
    return frame.place[:, None] + frame.step[:, None] * np.arange(1, PREDICTED + 1)[:, None]


def to_world(frame: Frame, y: np.ndarray) -> np.ndarray:
    """Returns the places `[*shape, N, 12, 2]` of targets `[*shape, N, 24]`."""
    deviations = y.reshape(*y.shape[:-1], PREDICTED, 2)
    return constant_velocity(frame) + np.einsum("nij,...nti->...ntj", frame.axes, deviations)


def to_frame(frame: Frame, index: int, step: int, places: np.ndarray) -> np.ndarray:
    """Returns the deviations `[*shape, 2]` of one pedestrian at one step; a rotation and shift, so densities do not change."""
    return (places - constant_velocity(frame)[index, step]) @ frame.axes[index].T


def _length(steps: np.ndarray) -> np.ndarray:
    return np.linalg.norm(steps, axis=-1, keepdims=True)
