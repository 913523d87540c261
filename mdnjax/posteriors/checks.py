"""Checks of a posterior with new simulations: ranks of true parameters, also near an observation, and what draws reproduce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.spatial import KDTree

from mdnjax.data.dataset import Dataset
from mdnjax.posteriors.posterior import Evaluated, Posterior
from mdnjax.posteriors.ranks import Ranks
from mdnjax.types import Float, PRNGKey

Simulator = Callable[[np.ndarray], Any]  # parameters [N, D] -> results [N, X], or [N, T, X] of T trials
NUM_DRAWS = 99  # among which the true parameters are ranked
MIN_NEAREST = 50
SHARE_NEAREST = 0.1  # of the test simulations: so many count as near an observation


class Predicted(NamedTuple):
    """Numbers `[S, X]` simulated with draws of a posterior, and those `[X]` of the observation that the posterior is of.

    Of several trials, whose order has no meaning, the numbers are the mean and the standard deviation of each result.
    """

    simulated: Float[np.ndarray, "S X"]
    observed: Float[np.ndarray, " X"]
    names: tuple[str, ...]

    def p_values(self) -> list[float]:
        """Returns min(1, 2 (k + 1) / (S + 1)) for each number, with k simulations on its smaller side or equal to it."""
        smaller = np.minimum(np.sum(self.simulated <= self.observed, axis=0), np.sum(self.simulated >= self.observed, axis=0))
        return [float(p) for p in np.minimum(2 * (smaller + 1) / (len(self.simulated) + 1), 1)]

    def problems(self) -> list[str]:
        """Returns a sentence for each observed number that lies outside of all simulations.

        If the posterior is right this happens by chance to a share of at most about 2 / (S + 1) of the numbers.
        """
        columns = zip(self.names, self.observed, self.simulated.min(axis=0), self.simulated.max(axis=0), strict=True)
        return [
            f"{name} = {value:g} lies outside of all {len(self.simulated)} simulations with draws of the posterior, "
            f"which are from {low:g} to {high:g}"
            for name, value, low, high in columns
            if not low <= value <= high
        ]


def sbc(key: PRNGKey, posterior: Posterior, simulator: Simulator, num: int = 500, num_draws: int = NUM_DRAWS) -> Evaluated:
    """Ranks the true parameters of `num` new simulations, drawn from the prior, among `num_draws` draws of their posteriors.

    Ranks of a right posterior are uniform. Simulations that fail, with numbers that are not finite, are left out.
    Raises: ValueError if the posterior has no prior, or the results of the simulator have another number of rows.
    Source: Talts et al. (2018), simulation-based calibration.
    """
    if posterior.prior is None:
        raise ValueError("sbc: got a posterior without a prior, from which parameters could be drawn")
    theta_key, rank_key = jax.random.split(key)
    theta = posterior.prior.sample(theta_key, (num,))
    x = _simulated(simulator, theta)
    finite = np.isfinite(x.reshape(num, -1)).all(axis=1)
    if not finite.any():
        raise ValueError(f"sbc: got no simulation with finite results among {num}")
    return posterior.evaluate(rank_key, Dataset(x[finite], theta[finite]), num_draws)


def predictive_check(key: PRNGKey, posterior: Posterior, simulator: Simulator, x: Any, num: int = 2000) -> Predicted:
    """Simulates with `num` draws of the posterior of an observation x, whose numbers should be among the results.

    Raises: ValueError if the simulator has results of another shape than x, or none that are finite.
    Source: Gelman, Meng & Stern (1996), posterior predictive checks.
    """
    return predicted(simulator, posterior.sample(key, x, num), x)


def predicted(simulator: Simulator, draws: Float[np.ndarray, "S D"], x: Any) -> Predicted:
    """Simulates with draws of the posterior of an observation x; see `predictive_check`."""
    simulated, observed = _simulated(simulator, draws), np.asarray(x, np.float64)
    simulated = simulated[np.isfinite(simulated.reshape(len(draws), -1)).all(axis=1)]
    if not len(simulated):
        raise ValueError(f"simulator: got no finite results of {len(draws)} simulations")
    if observed.shape[-1:] != simulated.shape[-1:] or observed.ndim != simulated.ndim - 1:
        raise ValueError(f"x: got shape {observed.shape}, expected {simulated.shape[1:]}, that of a result of the simulator")
    names = tuple(f"x_{i + 1}" for i in range(observed.shape[-1]))
    if simulated.ndim == 2:
        return Predicted(simulated, observed, names)
    simulated, observed = (np.concatenate([v.mean(axis=-2), v.std(axis=-2)], axis=-1) for v in (simulated, observed))
    return Predicted(simulated, observed, tuple(f"{moment} of {name}" for moment in ("the mean", "the sd") for name in names))


def nearest_ranks(evaluated: Evaluated, x: Any) -> Ranks:
    """Returns the ranks of the tenth of the test simulations, at least 50, whose results are nearest to an observation.

    Distances are in standard deviations of the results. Ranks of a right posterior are uniform for any choice by x, so that these
    test it where it is used.
    """
    sd = evaluated.x.std(axis=0)
    scaled = np.where(sd > 0, sd, 1)
    num = min(len(evaluated.x), max(MIN_NEAREST, round(SHARE_NEAREST * len(evaluated.x))))
    rows = np.atleast_1d(KDTree(evaluated.x / scaled).query(np.asarray(x, np.float64).reshape(-1) / scaled, k=num)[1])
    ranks = evaluated.ranks
    return Ranks(ranks.below[rows], ranks.above[rows], ranks.num)


def problems_near(evaluated: Evaluated, observed: Float[np.ndarray, "M X"], names: Sequence[str]) -> list[list[str]]:
    """Returns, for each of M observations, a sentence for each parameter whose ranks near it are not uniform.

    The level is 1 % for all observations and parameters together.
    """
    return [nearest_ranks(evaluated, x).problems(names, len(observed)) for x in observed]


def _simulated(simulator: Simulator, theta: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N *trials X"]:
    """Returns the results of the simulator, in float64."""
    x = np.asarray(simulator(theta), np.float64)
    if x.ndim not in (2, 3) or len(x) != len(theta):
        raise ValueError(f"simulator: got results of shape {x.shape}, expected [{len(theta)}, X] or [{len(theta)}, trials, X]")
    return x
