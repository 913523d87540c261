"""Two moons: infer two parameters from an observation on a crescent that they shift; the posterior has two crescents.

theta ~ U(-1, 1)^2; a ~ U(-pi/2, pi/2), r ~ N(0.1, sd 0.01), p = (0.25 + r cos a, r sin a);
x = p + (-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2). Predict theta (here y) from x. With u and v the coordinates of theta
along the square's diagonals, u = (theta_1 + theta_2) / sqrt(2) and v = (theta_2 - theta_1) / sqrt(2), x = p + (-|u|, v): given
x, |u| and v are a crescent, and u has either sign. Source: Greenberg et al. (2019); Lueckmann et al. (2021), task T.8.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from mdnjax.data.dataset import Dataset, Truth, draw_splits
from mdnjax.data.panels import equal_panels, panels

CENTRE, RADIUS, WIDTH = 0.25, 0.1, 0.01
CORNER = float(np.sqrt(2))  # the square is |u| + |v| <= CORNER
BOX = (-1.0, 1.0)
NORMAL = float(np.sqrt(2 * np.pi))  # a standard normal density is exp(-z^2 / 2) / NORMAL
MAX_OBSERVATIONS_PER_BLOCK = 500  # so that arrays stay in the processor's cache


def simulate(generator: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Draws an observation `[N, 2]` for each pair of parameters `[N, 2]`."""
    u, v = _diagonals(theta)
    return _crescent(generator, len(theta)) + np.stack([-np.abs(u), v], axis=1)


def draw_posterior(generator: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    """Draws `[num, 2]` exact samples of the parameters given one observation `[2]`; those outside of the square are rejected.

    Raises: ValueError if no parameters in the square could have given x.
    """
    accepted: list[np.ndarray] = []
    for _ in range(1000):
        p = _crescent(generator, 2 * num)
        u, v = p[:, 0] - x[0], x[1] - p[:, 1]
        u, inside = u * generator.choice([-1, 1], len(u)), (u >= 0) & (u + np.abs(v) <= CORNER)
        accepted.append(np.stack([u - v, u + v], axis=1)[inside] / CORNER)
        if sum(map(len, accepted)) >= num:
            return np.concatenate(accepted)[:num]
    raise ValueError(f"two moons: got the observation {x}, expected one that parameters in the square can give")


def log_prob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact log p(theta|x) in nats, for x `[N, 2]` and theta `[N, 2]`; -inf outside of the square."""
    u, v = _diagonals(np.asarray(y, np.float64))
    x1, x2 = np.asarray(x, np.float64).T
    first, second = x1 + np.abs(u) - CENTRE, x2 - v
    radius = np.hypot(first, second)
    possible = (first >= 0) & np.all(np.abs(y) <= 1, axis=1)
    likelihood = -0.5 * ((radius - RADIUS) / WIDTH) ** 2 - np.log(WIDTH * NORMAL * np.pi * radius)
    share = np.where(possible, _reachable(x1, x2).share, 1)
    return np.where(possible, likelihood - np.log(2 * share), -np.inf)  # p(theta) = 1/4, p(x) = share / 2


@functools.cache
def entropy() -> float:
    """E[-log p(theta|x)] in nats, by quadrature over observations."""
    z, weight = equal_panels(-8.0, 8.0, 20)
    log_radius = float(np.sum(weight * _normal_density(z) * np.log(RADIUS + WIDTH * z)))
    of_crescent = np.log(WIDTH * NORMAL) + 0.5 + np.log(np.pi) + log_radius
    share, _, weight = _observations()
    return float(of_crescent + np.sum(weight * share / 2 * np.log(2 * np.where(share > 0, share, 1))))


@functools.cache
def floor_mse() -> float:
    """E|theta - E[theta|x]|^2 = E[|theta|^2] - E[E[v|x]^2], since E[u|x] = 0; the mean over both parameters."""
    share, mean_v, weight = _observations()
    return float((2 / 3 - np.sum(weight * share / 2 * mean_v**2)) / 2)


TRUTH = Truth(log_prob, entropy, floor_mse)


class _Reachable(NamedTuple):
    """Share of crescent points that parameters in the square can shift to an observation, and their mean second coordinate."""

    share: np.ndarray
    height: np.ndarray


def _reachable(x1: np.ndarray, x2: np.ndarray) -> _Reachable:
    """Integrates over the crescent: exactly over the interval of possible radii, by quadrature over directions."""
    blocks = [np.array_split(values, -(-len(values) // MAX_OBSERVATIONS_PER_BLOCK)) for values in (x1, x2)]
    return _Reachable(*(np.concatenate(part) for part in zip(*map(_reachable_block, *blocks), strict=True)))


def _reachable_block(x1: np.ndarray, x2: np.ndarray) -> _Reachable:
    a, weight = equal_panels(-np.pi / 2, np.pi / 2, 30)
    low, high = (x1[:, None] - CENTRE) / np.cos(a), np.full((len(x1), len(a)), np.inf)
    for sign in (-1, 1):  # r (cos a + sign sin a) <= CORNER + x1 - CENTRE + sign x2
        slope, bound = np.cos(a) + sign * np.sin(a), (CORNER + x1 - CENTRE + sign * x2)[:, None]
        high = np.where(slope > 0, np.minimum(high, bound / slope), high)
        low = np.where(slope > 0, low, np.maximum(low, bound / slope))
    z_low, z_high = (low - RADIUS) / WIDTH, np.maximum((np.maximum(high, low) - RADIUS) / WIDTH, -40)
    mass = ndtr(z_high) - ndtr(z_low)
    radius = RADIUS * mass - WIDTH * (_normal_density(z_high) - _normal_density(z_low))
    share = np.sum(weight * mass, axis=1) / np.pi
    height = np.sum(weight * np.sin(a) * radius, axis=1) / np.pi
    return _Reachable(share, np.where(share > 1e-9, height / np.maximum(share, 1e-9), 0))


@functools.cache
def _observations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the share of crescent points, E[v|x] and the quadrature weight on a grid of observations; p(x) = share / 2.

    The grid follows the shifted edge of the square, along which the share falls from 1 to 0.
    """
    left, max_radius = CENTRE - CORNER, RADIUS + 7 * WIDTH
    edges = (np.linspace(left - max_radius, left + 3 * max_radius, 9), np.linspace(left + 3 * max_radius, CENTRE, 3)[1:])
    first, first_weight = panels(np.concatenate([*edges, np.linspace(CENTRE, CENTRE + max_radius, 7)[1:]]))
    columns = []
    for x1, weight in zip(first, first_weight, strict=True):
        near = np.maximum(np.linspace(-1.5 * max_radius, max_radius, 15) + x1 - left, 0)
        x2, second_weight = panels(np.concatenate([np.linspace(0, near[0], 3)[:-1], near]))  # the other half is its mirror image
        share, height = _reachable(np.full_like(x2, x1), x2)
        columns.append((share, x2 - height, 2 * weight * second_weight))
    share, v, weight = (np.concatenate(part) for part in zip(*columns, strict=True))
    return share, v, weight


def _normal_density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z**2) / NORMAL  # scipy.stats has this function, but takes half a second to import


def _diagonals(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (theta[:, 0] + theta[:, 1]) / CORNER, (theta[:, 1] - theta[:, 0]) / CORNER


def _crescent(generator: np.random.Generator, num: int) -> np.ndarray:
    a, r = generator.uniform(-np.pi / 2, np.pi / 2, num), generator.normal(RADIUS, WIDTH, num)
    return np.stack([CENTRE + r * np.cos(a), r * np.sin(a)], axis=1)


def _draw(seed: list[int], num: int) -> Dataset:
    generator = np.random.default_rng(seed)
    theta = generator.uniform(*BOX, (num, 2))
    return Dataset(x=simulate(generator, theta).astype(np.float32), y=theta.astype(np.float32))


make_splits = functools.partial(draw_splits, _draw)
