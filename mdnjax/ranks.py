"""Simulation-based calibration: ranks of the true parameters of new simulations among draws from their posterior."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.data import Dataset
from mdnjax.mixture import Mixture, log_prob
from mdnjax.predictor import Predictor
from mdnjax.scores import calibration_error, hdr_coverage
from mdnjax.statistics import sample

MAX_SIMULATIONS_PER_CALL = 256  # limits the memory of their draws


class Ranks(NamedTuple):
    """How many of `num` draws are less than the true theta of a test simulation, `below[N, D]`, or more probable, `above[N]`."""

    below: np.ndarray
    above: np.ndarray
    num: int

    def errors(self) -> list[float]:
        """Returns the mean distance of each parameter's rank distribution from the uniform one; 0.31 / sqrt(N) by chance."""
        return [float(calibration_error((column + 0.5) / (self.num + 1))) for column in self.below.T]

    def coverage(self, level: float) -> float:
        """Returns the share of true parameters inside of the highest-density region of this level."""
        return float(hdr_coverage(self.above / self.num, level))


def rank(predictor: Predictor, test: Dataset, key: jax.Array, num: int) -> Ranks:
    """Computes the ranks of the true parameters. Source: Talts et al. (2018), algorithm 1; by density: Modrak et al. (2023)."""
    rows = np.arange(len(test.x))
    below, above = predictor.map_rows(
        partial(_rank_block, key, num), test.x, predictor.units.relative(test.y), rows, max_rows=MAX_SIMULATIONS_PER_CALL
    )
    return Ranks(below, above, num)


@partial(jax.jit, static_argnums=1)
def _rank_block(key: jax.Array, num: int, mixture: Mixture, y: Any, rows: Any) -> tuple[jax.Array, jax.Array]:
    draws = sample(jax.random.fold_in(key, rows[0]), mixture, (num,))
    below = jnp.sum(draws < y, axis=0)
    return below, jnp.sum(log_prob(mixture, draws) > log_prob(mixture, y), axis=0)
