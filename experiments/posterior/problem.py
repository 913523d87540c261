"""What a study of posteriors reads: simulations, observations, the prior, and reference draws of the true posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mdnjax.data import Dataset, Splits, Truth
from mdnjax.data.dataset import select_rows
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.success import Success

Array = np.ndarray


class Problem(NamedTuple):
    """Simulations for training (as many as the largest of `sizes`) and for the test scores; observations `x[M, X]`.

    `references` are draws `[S, D]` of the true posterior for each observation, or None. Networks are trained
    separately for each of `sizes`, the numbers of simulations. The columns of x are those of `trials` independent trials,
    one after the other. `prior` is None if it is not known, and `success` is None if success does not depend on theta.
    `simulate(generator, theta)` draws x `[N, X]` for theta `[N, D]`; it is None for the simulations of a file. `truths` are the
    parameters of the observations, or None if they are not known.
    """

    simulations: Dataset
    test: Dataset
    observed: Array
    references: list[Array] | None
    truth: Truth | None
    sizes: tuple[int, ...]
    notes: tuple[str, ...] = ()
    prior: Prior | None = None
    trials: int = 1
    task: str | None = None
    success: Success | None = None
    simulate: Callable[[np.random.Generator, Array], Array] | None = None
    truths: Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return self.prior.names if self.prior else tuple(f"theta_{i + 1}" for i in range(self.simulations.y.shape[1]))


def splits_of(problem: Problem, num: int, validation_share: float) -> Splits:
    """Returns the first `num` simulations as validation and train parts; the test part is the same for every `num`."""
    num_validation = min(max(1, round(validation_share * num)), num - 1)
    validation, train = (select_rows(problem.simulations, slice(*ends)) for ends in ((0, num_validation), (num_validation, num)))
    return Splits(train, validation, problem.test)


def trials_of(problem: Problem, x: Array) -> Array:
    """Returns x `[N, X]` as `[N, T, X / T]`, trial by trial, if there are several trials."""
    return x if problem.trials == 1 else x.reshape(len(x), problem.trials, -1)


def without_constants(
    simulations: Dataset, test: Dataset, observed: Array, trials: int
) -> tuple[Dataset, Dataset, Array, tuple[str, ...], Array]:
    """Leaves out results of a trial that never vary in the simulations, from which nothing can be learnt.

    The last value is which columns are kept.
    """
    of_trials = simulations.x.reshape(len(simulations.x) * trials, -1)
    constant = np.ptp(of_trials, axis=0) == 0
    left_out = np.tile(constant, trials)
    if not constant.any() or constant.all():
        return simulations, test, observed, (), np.ones(len(left_out), bool)
    names, value = ", ".join(f"x_{i + 1}" for i in np.flatnonzero(constant)), np.tile(of_trials[0, constant], trials)
    others = ", ".join(str(i + 1) for i in np.flatnonzero((observed[:, left_out] != value).any(axis=1)))
    note = f"{names}: constant in all simulations, so left out; the others are numbered anew"
    note += f"; observation {others} has another value there, which no simulation can explain" if others else ""
    simulations, test = (part._replace(x=part.x[:, ~left_out]) for part in (simulations, test))
    return simulations, test, observed[:, ~left_out], (note,), ~left_out
