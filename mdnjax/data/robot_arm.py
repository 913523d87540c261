"""Bishop's robot arm: two links, joint angles a and b; predict the angles from the position of the hand.

x1 = L1 cos a - L2 cos(a + b), x2 = L1 sin a - L2 sin(a + b), L1 = 0.8, L2 = 0.2, a ~ U(0.3, 1.2), b ~ U(pi/2, 3 pi/2). There is
no noise: a position has two solutions (elbow up or down), of which one may be outside of the range of a and b. So there is no
density, and a prediction is scored by the position of the hand that it results in. Source: Bishop (1994), section 5.
"""

from __future__ import annotations

import functools

import numpy as np

from mdnjax.data.dataset import Dataset, draw_splits
from mdnjax.data.panels import equal_panels

LENGTHS = (0.8, 0.2)
ROUNDING = 1e-4  # error of an angle from float32 positions; largest at b = pi, where the slope of the solutions is infinite
LOW, HIGH = np.array([0.3, np.pi / 2]), np.array([1.2, 3 * np.pi / 2])


def hand(angles: np.ndarray) -> np.ndarray:
    """Returns the position of the hand `[*batch, 2]` for angles (a, b) `[*batch, 2]`."""
    a, both = angles[..., 0], angles[..., 0] + angles[..., 1]
    x1 = LENGTHS[0] * np.cos(a) - LENGTHS[1] * np.cos(both)
    x2 = LENGTHS[0] * np.sin(a) - LENGTHS[1] * np.sin(both)
    return np.stack([x1, x2], axis=-1)


def solutions(position: np.ndarray) -> np.ndarray:
    """Returns the two pairs of angles that reach a position, `[*batch, 2, 2]`, b <= pi first; nan for a pair out of range.

    |x|^2 = L1^2 + L2^2 - 2 L1 L2 cos b has the solutions b and 2 pi - b, and each determines a.
    """
    x = np.asarray(position, np.float64)
    first, second = LENGTHS
    cosine = (first**2 + second**2 - np.sum(x**2, axis=-1)) / (2 * first * second)
    acute = np.arccos(np.where(np.abs(cosine) <= 1 + 1e-6, np.clip(cosine, -1, 1), np.nan))
    b = np.stack([acute, 2 * np.pi - acute], axis=-1)
    a = np.arctan2(x[..., 1], x[..., 0])[..., None] - _tilt(b)
    angles = np.stack([a, b], axis=-1)
    inside = np.all((angles >= LOW - ROUNDING) & (angles <= HIGH + ROUNDING), axis=-1, keepdims=True)
    return np.where(inside, angles, np.nan)


@functools.cache
def share_of_two() -> float:
    """Returns P(both solutions are in range).

    The other solution has b' = 2 pi - b and a' = a + 2 tilt(b), which is in range for a share of 1 - 2 |tilt| / 0.9 of all a.
    """
    b, weight = _nodes()
    return float(np.sum(weight * _share_at(b)))


@functools.cache
def rms_of_conditional_mean() -> float:
    """Returns the root mean square distance of the hand from its position at the mean of the angles given the position.

    |det dx/d(a, b)| = L1 L2 |sin b| is the same for both solutions, so each has weight 1/2, and their mean is an arm stretched
    straight that points in the right direction: it misses by L1 + L2 - |x|. A single solution is its own mean and misses by 0.
    """
    b, weight = _nodes()
    miss = sum(LENGTHS) - np.linalg.norm(hand(np.stack([0 * b, b], axis=-1)), axis=-1)
    return float(np.sqrt(np.sum(weight * _share_at(b) * miss**2)))


def _draw(seed: list[int], num: int) -> Dataset:
    angles = np.random.default_rng(seed).uniform(LOW, HIGH, (num, 2))
    return Dataset(x=hand(angles).astype(np.float32), y=angles.astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)


def _tilt(b: np.ndarray) -> np.ndarray:
    """Returns the angle from the first link to the direction of the hand."""
    return np.arctan2(-LENGTHS[1] * np.sin(b), LENGTHS[0] - LENGTHS[1] * np.cos(b))


def _share_at(b: np.ndarray) -> np.ndarray:
    """Returns P(both solutions are in range | b)."""
    return 1 - 2 * np.abs(_tilt(b)) / (HIGH[0] - LOW[0])


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes in b and weights that add up to 1; b < pi suffices, since both halves are symmetric."""
    b, weight = equal_panels(LOW[1], np.pi, 20)
    return b, weight / (np.pi - LOW[1])
