"""The inverted sinusoid: u ~ U(-10.5, 10.5), v = 7 sin(0.75 u) + 0.5 u + N(0, 1); u has many solutions for one v.

The forward data set has x = u, y = v; the inverse one has x = v, y = u, and its exact density is known:
p(u|v) = phi(v - f(u)) / Z(v) on [-10.5, 10.5], with Z(v) the integral of the numerator over u.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import equal_panels

HALF_WIDTH = 10.5
NOISE_SD = 1.0
FORWARD_FLOOR_MSE = NOISE_SD**2
NUM_TABLE_NODES = 8000
MAX_POINTS_WITHOUT_TABLE = 100
MAX_ABS_V = 7 + 0.5 * HALF_WIDTH + 10 * NOISE_SD  # |f| <= 7 + 5.25; beyond 10 sd of the noise the density is 0 in float64


def curve(u: np.ndarray) -> np.ndarray:
    """f(u) = 7 sin(0.75 u) + 0.5 u, the mean of v given u."""
    return 7 * np.sin(0.75 * u) + 0.5 * u


def forward(dataset: Dataset) -> Dataset:
    """Returns the same points for the forward problem: predict v from u."""
    return Dataset(x=dataset.y, y=dataset.x)


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(u|v) in nats (to 1e-10), for x = v `[N, 1]` and y = u `[N, 1]`; -inf outside [-10.5, 10.5]."""
    v, u = np.asarray(x, np.float64)[:, 0], np.asarray(y, np.float64)[:, 0]
    log_normaliser = _interpolated(v) if len(v) > MAX_POINTS_WITHOUT_TABLE else _log_normaliser(v)
    return np.where(np.abs(u) <= HALF_WIDTH, -0.5 * (v - curve(u)) ** 2 - log_normaliser, -np.inf)


@functools.cache
def entropy() -> float:
    """E[-log p(u|v)] in nats: h(v|u) + h(u) - h(v), with h(v) by quadrature."""
    v, weight = equal_panels(-MAX_ABS_V, MAX_ABS_V, 400)
    log_p = _log_normaliser(v) - 0.5 * np.log(2 * np.pi) - np.log(2 * HALF_WIDTH)
    entropy_of_v = -np.sum(weight * np.exp(log_p) * log_p)
    return float(0.5 * np.log(2 * np.pi * np.e) + np.log(2 * HALF_WIDTH) - entropy_of_v)


@functools.cache
def floor_mse() -> float:
    """E[Var(u|v)], the smallest mean squared error of any prediction of u from v, by quadrature."""
    v, weight = equal_panels(-MAX_ABS_V, MAX_ABS_V, 400)
    u, du = equal_panels(-HALF_WIDTH, HALF_WIDTH, 64)
    joint = du * np.exp(-0.5 * (v[:, None] - curve(u)) ** 2) / np.sqrt(2 * np.pi) / (2 * HALF_WIDTH)
    explained = np.sum(weight * (joint @ u) ** 2 / np.maximum(joint.sum(axis=1), np.finfo(float).tiny))
    return float(HALF_WIDTH**2 / 3 - explained)


TRUTH = Truth(log_prob, entropy, floor_mse)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    u = generator.uniform(-HALF_WIDTH, HALF_WIDTH, (num, 1))
    v = curve(u) + NOISE_SD * generator.standard_normal((num, 1))
    return Dataset(x=v.astype(np.float32), y=u.astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)


def _interpolated(v: np.ndarray) -> np.ndarray:
    """Interpolates the log-normaliser in a table, a hundred times faster than the quadrature, which is used outside the table."""
    nodes, values, slopes = _table()
    step = nodes[1] - nodes[0]
    i = np.clip(((v - nodes[0]) / step).astype(int), 0, len(nodes) - 2)
    t = (v - nodes[i]) / step
    rise = values[i + 1] - values[i]
    curved = (1 - t) * (step * slopes[i] - rise) + t * (rise - step * slopes[i + 1])  # cubic Hermite, error < step^4
    found = values[i] + t * rise + t * (1 - t) * curved
    outside = np.abs(v) > MAX_ABS_V
    found[outside] = _log_normaliser(v[outside]) if outside.any() else 0.0
    return found


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns nodes, log-normalisers and their derivatives, E[f(u)|v] - v."""
    nodes = np.linspace(-MAX_ABS_V, MAX_ABS_V, NUM_TABLE_NODES)
    u, weight = equal_panels(-HALF_WIDTH, HALF_WIDTH, 64)
    f = curve(u)
    values = _log_normaliser(nodes)
    means = [np.exp(-0.5 * (v[:, None] - f) ** 2 - z[:, None]) @ (weight * f) for v, z in _blocks(nodes, values)]
    return nodes, values, np.concatenate(means) - nodes


def _blocks(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Splits arrays into blocks of fewer than 4000 entries, so that a table over all quadrature nodes fits into the cache."""
    num_blocks = max(1, len(arrays[0]) // 2000)
    yield from zip(*(np.array_split(array, num_blocks) for array in arrays), strict=True)


def _log_normaliser(v: np.ndarray) -> np.ndarray:
    """Returns the log of the integral of exp(-(v - f(u))^2 / 2) over u, by panels of Gauss-Legendre nodes, in blocks of v."""
    u, weight = equal_panels(-HALF_WIDTH, HALF_WIDTH, 64)
    f, log_weight = curve(u), np.log(weight)
    return np.concatenate([_logsumexp(log_weight - 0.5 * (block[:, None] - f) ** 2) for (block,) in _blocks(v)])


def _logsumexp(values: np.ndarray) -> np.ndarray:
    largest = values.max(axis=1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))
