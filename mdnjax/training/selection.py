"""Which of many trainings are kept: of restarts the best, of numbers of components the smallest that does as well as the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from mdnjax.training.population import Population
from mdnjax.training.steps import TrainState
from mdnjax.types import Float, Params, PRNGKey

NUM_ROUNDS = 1000  # of EM, each a few microseconds
RESTARTS = 2**16  # beyond the purposes of keys that one training has


class SelectedCandidate(NamedTuple):
    """The number of a candidate, what each lacks of the best in the mean, and the standard error of that difference."""

    chosen: int
    excess: Float[np.ndarray, " C"]
    standard_error: Float[np.ndarray, " C"]


class Candidates(NamedTuple):
    """Numbers of components, the validation NLL of each, and the one that is chosen."""

    numbers: tuple[int, ...]
    validation_nll: Float[np.ndarray, " C"]
    choice: SelectedCandidate

    @property
    def chosen(self) -> int:
        """The number that is chosen."""
        return self.numbers[self.choice.chosen]


def select_candidate(nlls: Mapping[int, Float[np.ndarray, " N"]]) -> Candidates:
    """Chooses among numbers of components, the smallest first, by the NLL of each validation example."""
    table = np.nan_to_num(np.array(list(nlls.values()), np.float64), nan=1e30, posinf=1e30)  # a mean must be left to compare
    return Candidates(tuple(nlls), table.mean(axis=1), smallest_within_one_error(table))


def training_keys(seed: int, num_runs: int) -> list[PRNGKey]:
    """A key for each training on one data set; the first is that of a training alone."""
    key = jax.random.key(seed)
    return [key, *(jax.random.fold_in(key, RESTARTS + run) for run in range(1, num_runs))]


def selected_params(state: TrainState, keep: str) -> Params:
    """The parameters of a finished training that are used: the last, or the best by held-out score."""
    return state.best.params if keep == "best" else state.params


def selected_scores(population: Population, keep: str) -> Float[np.ndarray, " M"]:
    """Held-out scores of the parameters that are used; infinite where a training diverged or was never scored."""
    if keep == "best":
        scores = np.asarray(population.state.best.score, np.float64)
    else:
        found = population.history.validation_scores
        scores = np.full(len(found), np.inf)
        if found.size:
            last = np.where(np.isfinite(found), np.arange(1, found.shape[1] + 1), 0).argmax(axis=1)
            scores = found[np.arange(len(found)), last]
    return np.where(population.diverged | ~np.isfinite(scores), np.inf, scores)


def best_runs(scores: Float[np.ndarray, " R_of_all"], num_restarts: int) -> np.ndarray:
    """Of each `num_restarts` runs that follow one another, the index of the one with the lowest score."""
    groups = scores.reshape(-1, num_restarts)
    return groups.argmin(axis=1) + num_restarts * np.arange(len(groups))


def stacking_weights(log_probs: Float[np.ndarray, "C N"]) -> Float[np.ndarray, " C"]:
    """The weights of C densities whose mixture gives N held-out examples the highest likelihood.

    EM from equal weights, w_c <- mean_n w_c p_c(n) / sum_c w_c p_c(n), which climbs to the one maximum of a concave function. A
    density of 0 (-inf) at an example is allowed where another's is not. Source: Yao, Vehtari, Simpson & Gelman (2018), section 3.
    """
    density = np.exp(log_probs - log_probs.max(axis=0))
    weight = np.full(len(log_probs), 1 / len(log_probs))
    for _ in range(NUM_ROUNDS):
        part = weight[:, None] * density
        weight = np.mean(part / part.sum(axis=0), axis=1)
    return weight


def smallest_within_one_error(nlls: Float[np.ndarray, "C N"]) -> SelectedCandidate:
    """The one-standard-error rule: the first candidate whose mean NLL is within one standard error of the lowest.

    Candidates come by size, the smallest first, with the NLL of each held-out example. The standard error is that of the mean
    difference to the best on the same examples, for what is hard about an example is hard for all of them.
    Source: Breiman, Friedman, Olshen & Stone (1984), section 3.4.3, there for trees and without pairs.
    """
    best = int(np.argmin(nlls.mean(axis=1)))
    difference = nlls - nlls[best]
    excess = difference.mean(axis=1)
    error = difference.std(axis=1, ddof=1) / np.sqrt(nlls.shape[1]) if nlls.shape[1] > 1 else np.full(len(nlls), np.inf)
    return SelectedCandidate(int(np.argmax(excess <= error)), excess, error)
