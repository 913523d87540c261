"""ArmaJump: a first-order autoregression that occasionally jumps down; predict the next value from the last.

x_t+1 given x_t = x is .95 N(m, .05^2) + .05 N(m - .3, .1^2) with m = .1 (1 - .9) + .9 x. The pairs come from one chain that
starts at x_0 = 0, without its first 100 steps; each part has another chain. Source: Rothfuss et al. (2019).
"""

from __future__ import annotations

import functools

import numpy as np

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import equal_panels

LEVEL, MEMORY = 0.1, 0.9
WEIGHTS, OFFSETS, SDS = np.array([0.95, 0.05]), np.array([0.0, -0.3]), np.array([0.05, 0.1])
BURN_IN = 100


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(y|x) in nats, for x `[N, 1]` and y `[N, 1]`."""
    x, y = np.asarray(x, np.float64)[:, 0], np.asarray(y, np.float64)[:, 0]
    return _log_density(y - LEVEL * (1 - MEMORY) - MEMORY * x)


@functools.cache
def entropy() -> float:
    """E[-log p(y|x)] in nats: -integral of p log p, the same for every x, by quadrature."""
    step, weight = equal_panels(-2.5, 1.0, 350)
    log_p = _log_density(step)
    return float(-np.sum(weight * np.exp(log_p) * log_p))


def floor_mse() -> float:
    """E[Var(y|x)], the variance of a step."""
    mean = np.sum(WEIGHTS * OFFSETS)
    return float(np.sum(WEIGHTS * (SDS**2 + OFFSETS**2)) - mean**2)


TRUTH = Truth(log_prob, entropy, floor_mse)


def _log_density(step: np.ndarray) -> np.ndarray:
    z = (step[:, None] - OFFSETS) / SDS
    return np.logaddexp.reduce(np.log(WEIGHTS / SDS) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi), axis=1)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    jumps, noise = generator.random(BURN_IN + num) < WEIGHTS[1], generator.standard_normal(BURN_IN + num)
    steps = LEVEL * (1 - MEMORY) + np.where(jumps, OFFSETS[1], OFFSETS[0]) + np.where(jumps, SDS[1], SDS[0]) * noise
    chain = np.zeros(BURN_IN + num + 1)
    for t, step in enumerate(steps):
        chain[t + 1] = MEMORY * chain[t] + step
    values = chain[BURN_IN:, None].astype(np.float32)
    return Dataset(x=values[:-1], y=values[1:])


make_splits = functools.partial(draw_splits, _draw)
