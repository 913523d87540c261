"""SkewNormal: x ~ N(0, .5^2), y = .1 x + (.05 + .1 x^2) SN(alpha(x)), alpha(x) = -4 + 3.9 sigmoid(x): one skewed mode.

SN(alpha) has the density 2 phi(z) Phi(alpha z). Source: Rothfuss et al. (2019); the distribution: Azzalini (1985).
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import equal_panels

X_SD = 0.5


def parameters(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns location, scale and alpha at an input."""
    return 0.1 * x, 0.05 + 0.1 * x**2, -4 + 3.9 * special.expit(x)


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(y|x) in nats, for x `[N, 1]` and y `[N, 1]`."""
    loc, scale, alpha = parameters(np.asarray(x, np.float64)[:, 0])
    return _log_density((np.asarray(y, np.float64)[:, 0] - loc) / scale, alpha) - np.log(scale)


@functools.cache
def entropy() -> float:
    """E[h(SN(alpha(x))) + log scale(x)] in nats, by quadrature over x and z."""
    (x, x_weight), (z, z_weight) = equal_panels(-9 * X_SD, 9 * X_SD, 40), equal_panels(-9.0, 9.0, 60)
    _, scale, alpha = parameters(x)
    log_p = _log_density(z, alpha[:, None])
    entropies = -np.sum(z_weight * np.exp(log_p) * log_p, axis=1) + np.log(scale)
    return float(np.sum(x_weight * _density(x) * entropies))


@functools.cache
def floor_mse() -> float:
    """E[scale(x)^2 (1 - 2 delta^2 / pi)], delta = alpha / sqrt(1 + alpha^2)."""
    x, weight = equal_panels(-9 * X_SD, 9 * X_SD, 40)
    _, scale, alpha = parameters(x)
    return float(np.sum(weight * _density(x) * scale**2 * (1 - 2 / np.pi * alpha**2 / (1 + alpha**2))))


TRUTH = Truth(log_prob, entropy, floor_mse)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (x / X_SD) ** 2) / (X_SD * np.sqrt(2 * np.pi))


def _log_density(z: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.log(2) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) + special.log_ndtr(alpha * z)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    x = X_SD * generator.standard_normal((num, 1))
    loc, scale, alpha = parameters(x)
    delta = alpha / np.sqrt(1 + alpha**2)
    u, v = np.abs(generator.standard_normal((num, 1))), generator.standard_normal((num, 1))
    z = delta * u + np.sqrt(1 - delta**2) * v
    return Dataset(x=x.astype(np.float32), y=(loc + scale * z).astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)
