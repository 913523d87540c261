"""Selects among trained networks: the best restart, and the smallest number of components whose validation score is within one
standard error of the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from mdnjax.data.dataset import mean_over_rows
from mdnjax.training.population import Population
from mdnjax.training.steps import TrainState
from mdnjax.types import Float, Params, PRNGKey

NUM_EM_ITERATIONS = 1000  # each takes a few microseconds
RESTART_KEYS = 2**16  # folded into a seed's key for restarts; larger than the purposes that are folded into it, such as INIT


class SelectedCandidate(NamedTuple):
    """Position of the selected candidate, mean excess NLL of each over the best one, and the standard error of that excess."""

    position: int
    excess: Float[np.ndarray, " C"]
    standard_error: Float[np.ndarray, " C"]


class Candidates(NamedTuple):
    """Numbers of components, the mean validation NLL of each, and which of them is selected."""

    numbers: tuple[int, ...]
    validation_nll: Float[np.ndarray, " C"]
    selected: SelectedCandidate

    @property
    def chosen(self) -> int:
        """The selected number of components."""
        return self.numbers[self.selected.position]

    @property
    def best(self) -> int:
        """The number of components with the lowest validation NLL, which may have a smaller one within a standard error."""
        return self.numbers[int(self.validation_nll.argmin())]


def select_candidate(
    nlls: Mapping[int, Float[np.ndarray, " N"]], example_weight: Float[np.ndarray, " N"] | None = None
) -> Candidates:
    """Selects among numbers of components, given in increasing order, by the NLL of each validation example."""
    # Large finite numbers instead of NaN and infinity, so that means and differences can be compared.
    finite_nlls = np.nan_to_num(np.array(list(nlls.values()), np.float64), nan=1e30, posinf=1e30)
    means = mean_over_rows(finite_nlls, example_weight)
    return Candidates(tuple(nlls), means, smallest_within_one_error(finite_nlls, example_weight))


def training_keys(seed: int, num_runs: int) -> list[PRNGKey]:
    """Returns a key for each training on one data set; the first key is that of a single training."""
    key = jax.random.key(seed)
    return [key, *(jax.random.fold_in(key, RESTART_KEYS + run) for run in range(1, num_runs))]


def selected_params(state: TrainState, keep: str) -> Params:
    """Returns the parameters to use after training: those of the last step, or those with the best validation score."""
    return state.best.params if keep == "best" else state.params


def selected_scores(population: Population, keep: str) -> Float[np.ndarray, " M"]:
    """Returns the validation scores of the parameters to use; infinite where a training diverged or has no finite score."""
    if keep == "best":
        scores = np.asarray(population.state.best.score, np.float64)
    else:
        reported = population.history.validation_scores
        scores = np.full(len(reported), np.inf)
        if reported.size:
            last = np.where(np.isfinite(reported), np.arange(1, reported.shape[1] + 1), 0).argmax(axis=1)
            scores = reported[np.arange(len(reported)), last]
    return np.where(population.diverged | ~np.isfinite(scores), np.inf, scores)


def best_runs(scores: Float[np.ndarray, " R_of_all"], num_restarts: int) -> np.ndarray:
    """Returns the index of the run with the lowest score in each group of `num_restarts` consecutive runs."""
    groups = scores.reshape(-1, num_restarts)
    return groups.argmin(axis=1) + num_restarts * np.arange(len(groups))


def stacking_weights(
    log_probs: Float[np.ndarray, "C N"], example_weight: Float[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, " C"]:
    """Returns the weights of C densities whose mixture gives N validation examples the highest (weighted) likelihood.

    EM starts from equal weights and repeats w_c <- mean_n w_c p_c(n) / sum_c w_c p_c(n). The log-likelihood is concave,
    so that EM converges to its maximum. Some densities may be 0 (log -inf) at an example, but not all.
    Source: Yao, Vehtari, Simpson & Gelman (2018), section 3.
    """
    density = np.exp(log_probs - log_probs.max(axis=0))
    weight = np.full(len(log_probs), 1 / len(log_probs))
    for _ in range(NUM_EM_ITERATIONS):
        weighted = weight[:, None] * density
        weight = mean_over_rows(weighted / weighted.sum(axis=0), example_weight)
    return np.where(weight < np.finfo(float).tiny, 0, weight)  # the reciprocal of a subnormal weight overflows


def smallest_within_one_error(
    nlls: Float[np.ndarray, "C N"], example_weight: Float[np.ndarray, " N"] | None = None
) -> SelectedCandidate:
    """Selects by the one-standard-error rule the first candidate whose mean NLL is within one standard error of the lowest.

    Candidates are in order of size, the smallest first. The standard error is that of the mean difference from the best candidate
    on the same validation examples, since an example that is difficult for one candidate is difficult for all. With weights it is
    (n / (n - 1) sum_n w_n^2 (d_n - mean)^2)^(1/2) / sum_n w_n, for the differences d_n.
    Source: Breiman, Friedman, Olshen & Stone (1984), section 3.4.3, for trees and without paired differences.
    """
    num, weight = nlls.shape[1], np.ones(nlls.shape[1]) if example_weight is None else example_weight
    difference = nlls - nlls[int(np.argmin(mean_over_rows(nlls, weight)))]
    excess = mean_over_rows(difference, weight)
    squares = np.sum((weight * (difference - excess[:, None])) ** 2, axis=1)
    error = np.sqrt(squares * num / (num - 1)) / np.sum(weight) if num > 1 else np.full(len(nlls), np.inf)
    return SelectedCandidate(int(np.argmax(excess <= error)), excess, error)
