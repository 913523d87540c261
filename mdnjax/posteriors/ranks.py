"""Simulation-based calibration: ranks of the true parameters of new simulations among draws from their posterior."""

from __future__ import annotations

from collections.abc import Sequence
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

LEVEL = 0.01  # probability of a false alarm
MAX_SHIFT = 4.0  # standard errors of the mean rank, from which on a posterior is called shifted
MAX_SIMULATIONS_PER_CALL = 256  # limits the memory of their draws


class Ranks(NamedTuple):
    """How many of `num` draws are less than the true theta of a test simulation, `below[N, D]`, or more probable, `above[N]`."""

    below: np.ndarray
    above: np.ndarray
    num: int

    def errors(self) -> list[float]:
        """Returns the mean distance of each parameter's rank distribution from the uniform one; 0.31 / sqrt(N) by chance."""
        return [float(calibration_error((column + 0.5) / (self.num + 1))) for column in self.below.T]

    def p_values(self) -> list[float]:
        """Returns, for each parameter, the probability of ranks at least as far from uniform by chance (Kolmogorov-Smirnov)."""
        return [_p_value(column, self.num, number) for number, column in enumerate(self.below.T)]

    def density_p_value(self) -> float:
        """Returns the same for the ranks by density, which are uniform if highest-density regions have their coverage."""
        return _p_value(self.above, self.num, self.below.shape[1])

    def problems(self, names: Sequence[str], num_looks: int = 1) -> list[str]:
        """Returns a sentence for each parameter whose ranks are not uniform, and one for those by density.

        The level is 1 % for all of them together, and for `num_looks` such lists, for example of several observations.
        """
        level, sentences = level_of(len(names), num_looks), []
        for name, p, column in zip(names, self.p_values(), self.below.T, strict=True):
            if p < level:
                share = (column + 0.5) / (self.num + 1)
                shift = abs(share.mean() - 0.5) * (12 * len(share)) ** 0.5  # in standard errors
                spread = "too narrow" if share.var() > 1 / 12 else "too wide"
                reason = "shifted" if shift > MAX_SHIFT else spread
                sentences.append(f"the posteriors of {name} are {reason}: ranks of true values are not uniform (p = {p:.2g})")
        if (p := self.density_p_value()) < level:
            inside = ", ".join(f"{100 * self.coverage(each):.0f} % in those of {100 * each:.0f} %" for each in (0.5, 0.9))
            sentences.append(f"highest-density regions contain another share of true parameters: {inside} (p = {p:.2g})")
        return sentences

    def coverage(self, level: float) -> float:
        """Returns the share of true parameters inside of the highest-density region of this level."""
        return float(hdr_coverage(self.above / self.num, level))


def level_of(num_parameters: int, num_looks: int = 1) -> float:
    """Returns the p-value below which ranks of one parameter, or those by density, are called not uniform."""
    return LEVEL / ((num_parameters + 1) * num_looks)


def _p_value(counts: np.ndarray, num: int, seed: int) -> float:
    """Returns the p-value of uniform ranks, with a random number within each rank: few draws have few different ranks."""
    from scipy.stats import kstest

    within = np.random.default_rng(seed).random(counts.shape)
    return float(kstest((counts + within) / (num + 1), "uniform").pvalue)


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
