"""Local maxima of a density that can be evaluated, found by ascents from draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.optimize import minimize
from jax.tree_util import Partial

from mdnjax.types import Float

MAX_ITERATIONS, NUM_REPEATS = 100, 4
MIN_MASS = 0.01
MAX_SAME_DISTANCE = 0.05  # standard deviations of the draws, within which two ends are the same maximum
MIN_FALL_BETWEEN = 0.1  # nats by which the density must fall between two maxima, so that they count as two
NUM_BETWEEN = 30  # points between two ends at which the density is computed


class Maxima(NamedTuple):
    """Local maxima `[M, D]` of a density, the highest first, and the share of the ascents that end at each."""

    z: Float[np.ndarray, "M D"]
    log_density: Float[np.ndarray, " M"]
    mass: Float[np.ndarray, " M"]


def find_maxima(log_density: Partial, draws: Float[np.ndarray, "S D"]) -> Maxima:
    """Finds local maxima by an ascent (BFGS) from each draw of the density; those between which the density hardly falls are one.

    Maxima that hold less than a hundredth of the draws are left out. Functions that differ only in the arguments of the `Partial`
    share compiled programs.
    """
    mean = draws.mean(axis=0)
    factor = np.linalg.cholesky(np.cov(draws.T).reshape(draws.shape[1], -1) + 1e-12 * np.eye(draws.shape[1]))
    whitened = Partial(_of_whitened, log_density, mean, factor)
    starts = np.linalg.solve(factor, (draws - mean).T).T
    ends, values = map(np.asarray, _ascend_all(whitened, jnp.asarray(starts, float)))
    order = np.argsort(-values)
    maxima, owners = _distinct(partial(_evaluate_all, whitened), ends[order], values[order])
    mass = np.bincount(owners, minlength=len(maxima)) / len(draws)
    kept = mass >= min(MIN_MASS, mass.max())
    rows = order[np.array(maxima)[kept]]
    return Maxima(mean + ends[rows] @ factor.T, values[rows].astype(np.float64), mass[kept])


def _of_whitened(log_density: Any, mean: Any, factor: Any, u: Any) -> Any:
    return log_density(mean.astype(u.dtype) + factor.astype(u.dtype) @ u)


@jax.jit
def _ascend_all(log_density: Any, starts: Any) -> Any:
    return jax.vmap(partial(_ascend, log_density))(starts)


@jax.jit
def _evaluate_all(log_density: Any, places: Any) -> Any:
    return jax.vmap(log_density)(places)


def _ascend(log_density: Callable[[Any], Any], start: Any) -> tuple[Any, Any]:
    """Ascends from a start, several times in a row, because a search in float32 may end before the maximum."""

    def loss(u: Any) -> Any:
        return -log_density(u)

    def ascend(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        place, value = state
        found = minimize(loss, place, method="BFGS", options={"maxiter": MAX_ITERATIONS})
        better = found.fun < value  # False for NaN
        return jnp.where(better, found.x, place), jnp.where(better, found.fun, value)

    place, value = jax.lax.fori_loop(0, NUM_REPEATS, ascend, (start, loss(start)))
    return place, -value


def _distinct(
    log_density: Callable[[Any], Any], ends: Float[np.ndarray, "S D"], values: Float[np.ndarray, " S"]
) -> tuple[list[int], list[int]]:
    """Returns which ends, in falling order, are maxima of their own, and the maximum to which each end belongs."""
    maxima: list[int] = []
    owners: list[int] = []
    shares = np.linspace(0, 1, NUM_BETWEEN + 2, dtype=ends.dtype)[1:-1, None]

    def is_same(number: int, maximum: int) -> bool:
        step = ends[maximum] - ends[number]
        return bool(
            np.linalg.norm(step) < MAX_SAME_DISTANCE
            or log_density(ends[number] + shares * step).min() > values[number] - MIN_FALL_BETWEEN
        )

    for number in range(len(ends)):
        owner = next((place for place, maximum in enumerate(maxima) if is_same(number, maximum)), len(maxima))
        if owner == len(maxima):
            maxima.append(number)
        owners.append(owner)
    return maxima, owners
