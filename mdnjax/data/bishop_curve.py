"""Bishop's curve: x = t + 0.3 sin(2 pi t) + U(-0.1, 0.1), t ~ U(0, 1); predict t from x, which has up to three solutions.

Given x, t is uniform on the set where |x - f(t)| <= 0.1, up to three intervals. With G(v) the length of {t: f(t) <= v}, that set
has the length Z(x) = G(x + 0.1) - G(x - 0.1), so p(t|x) = 1 / Z(x) on it and p(x) = Z(x) / 0.2. Source: Bishop (1994), section 4.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import graded_panels

HALF_WIDTH = 0.1
HEIGHT = 0.3
NUM_BISECTIONS = 54  # reduces an interval shorter than 1 to the last digit of float64
_FOLD = float(np.arccos(-1 / (2 * np.pi * HEIGHT)) / (2 * np.pi))
FOLDS = (_FOLD, 1 - _FOLD)  # where f'(t) = 0


def curve(t: np.ndarray) -> np.ndarray:
    """f(t) = t + 0.3 sin(2 pi t), the middle of x given t."""
    return t + HEIGHT * np.sin(2 * np.pi * t)


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(t|x) in nats, for x `[N, 1]` and y = t `[N, 1]`; -inf where |x - f(t)| > 0.1."""
    x, t = np.asarray(x, np.float64)[:, 0], np.asarray(y, np.float64)[:, 0]
    inside = (np.abs(x - curve(t)) <= HALF_WIDTH + _rounding(x)) & (t >= 0) & (t <= 1)
    length, _ = _below(x + HALF_WIDTH) - _below(x - HALF_WIDTH)
    return np.where(inside, -np.log(np.maximum(length, np.finfo(float).tiny)), -np.inf)


@functools.cache
def entropy() -> float:
    """E[log Z(x)] in nats, by quadrature."""
    x, weight = _nodes()
    length, _ = _below(x + HALF_WIDTH) - _below(x - HALF_WIDTH)
    return float(np.sum(weight * length * np.log(length)) / (2 * HALF_WIDTH))


@functools.cache
def floor_mse() -> float:
    """E[Var(t|x)] = 1/3 - E[E[t|x]^2]."""
    x, weight = _nodes()
    length, moment = _below(x + HALF_WIDTH) - _below(x - HALF_WIDTH)
    return float(1 / 3 - np.sum(weight * moment**2 / length) / (2 * HALF_WIDTH))


TRUTH = Truth(log_prob, entropy, floor_mse)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    t = generator.uniform(0, 1, (num, 1))
    x = curve(t) + generator.uniform(-HALF_WIDTH, HALF_WIDTH, (num, 1))
    return Dataset(x=x.astype(np.float32), y=t.astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)


def _rounding(x: np.ndarray) -> np.ndarray:
    """Returns the rounding error of float32, within which a draw at the edge counts as inside."""
    return 1e-6 * (1 + np.abs(x))


def _below(v: np.ndarray) -> np.ndarray:
    """Returns the length of {t: f(t) <= v} and the integral of t over it, `[2, N]`; f falls only between the folds."""
    first, middle, last = (_inverse(v, *piece) for piece in ((0.0, FOLDS[0]), (FOLDS[1], FOLDS[0]), (FOLDS[1], 1.0)))
    length = first + (FOLDS[1] - middle) + (last - FOLDS[1])
    moment = (first**2 + (FOLDS[1] ** 2 - middle**2) + (last**2 - FOLDS[1] ** 2)) / 2
    return np.stack([length, moment])


def _inverse(v: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns t with f(t) = v between two ends with f(low) <= f(high); the nearer end if there is none."""
    below, above = np.full_like(v, low), np.full_like(v, high)
    for _ in range(NUM_BISECTIONS):
        middle = (below + above) / 2
        under = curve(middle) <= v
        below, above = np.where(under, middle, below), np.where(under, above, middle)
    found = (below + above) / 2
    return np.where(v <= curve(np.array([low])), low, np.where(v >= curve(np.array([high])), high, found))


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights over all x, in pieces between the x where |x - f(t)| = 0.1 at an end or a fold of the curve."""
    values = curve(np.array([0.0, *FOLDS, 1.0]))
    cuts = np.unique(np.concatenate([values - HALF_WIDTH, values + HALF_WIDTH]))
    pieces = [graded_panels(low, high, 40) for low, high in itertools.pairwise(cuts)]
    x, weight = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return x, weight
