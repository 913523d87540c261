"""EconDensity: x = |N(0, 1)|, y = x^2 + (1 + x) N(0, 1), a Gaussian whose scale grows with x. Source: Rothfuss et al. (2019)."""

from __future__ import annotations

import functools

import numpy as np

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import equal_panels

LOG_2PI = float(np.log(2 * np.pi))


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(y|x) in nats, for x `[N, 1]` and y `[N, 1]`."""
    x, y = np.asarray(x, np.float64)[:, 0], np.asarray(y, np.float64)[:, 0]
    return -0.5 * ((y - x**2) / (1 + x)) ** 2 - np.log(1 + x) - 0.5 * LOG_2PI


@functools.cache
def entropy() -> float:
    """E[log(1 + x)] + log(2 pi e) / 2 in nats, by quadrature."""
    x, weight = equal_panels(0.0, 12.0, 60)
    return float(np.sum(weight * _density(x) * np.log(1 + x)) + 0.5 * (1 + LOG_2PI))


def floor_mse() -> float:
    """E[(1 + x)^2] = 2 + 2 sqrt(2 / pi)."""
    return float(2 + 2 * np.sqrt(2 / np.pi))


TRUTH = Truth(log_prob, entropy, floor_mse)


def _density(x: np.ndarray) -> np.ndarray:
    return 2 * np.exp(-0.5 * x**2 - 0.5 * LOG_2PI)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    x = np.abs(generator.standard_normal((num, 1)))
    y = x**2 + (1 + x) * generator.standard_normal((num, 1))
    return Dataset(x=x.astype(np.float32), y=y.astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)
