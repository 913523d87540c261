"""Simulations in rounds: the first from the prior, the others, for each observation, from the region of its posterior."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.posterior.checks import Quality
from experiments.posterior.problem import Problem, trials_of
from experiments.posterior.schema import Posterior
from experiments.progress import Clock
from mdnjax.posteriors.fit import train_posterior
from mdnjax.posteriors.likelihood import LikelihoodPosterior

ROUND = 5  # a purpose of a key, and the second part of a seed


class Rounds(NamedTuple):
    """Draws `[S, D]` for each observation after the last round, the seconds of all of them, and how well particles moved."""

    draws: list[np.ndarray]
    seconds: float
    quality: Quality | None


def in_rounds(config: Posterior, problem: Problem, num: int, clock: Clock) -> Rounds:
    """Divides `num` simulations into rounds, and trains anew after each of them."""
    assert problem.prior is not None
    begin, share = time.monotonic(), num // config.data.num_rounds
    with clock.phase("rounds"):
        first = problem.simulations.y[:share], trials_of(problem, problem.simulations.x[:share])
        posterior = train_posterior(config, *first, problem.prior, validation_share=config.data.validation_share)
        observations = enumerate(trials_of(problem, problem.observed))
        drawn = [_draws_of(config, problem, posterior, first, x, number) for number, x in observations]
    draws, moved = zip(*drawn, strict=True)
    quality = None if moved[0] is None else Quality(*map(list, zip(*moved, strict=True)))
    return Rounds(list(draws), time.monotonic() - begin, quality)


def _draws_of(
    config: Posterior, problem: Problem, posterior: Any, first: tuple[np.ndarray, np.ndarray], x: np.ndarray, number: int
) -> tuple[np.ndarray, list[float] | None]:
    """Returns draws given one observation, after the further rounds of simulations, and the numbers of `Quality`.

    A likelihood is learnt from the simulations of all rounds. Networks of p(theta|x) are trained on those of the last round
    alone, whose theta have the prior where the posterior is.
    """
    assert problem.simulate is not None
    assert problem.prior is not None
    theta, results = first
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), ROUND), number)
    generator = np.random.default_rng([config.seed, ROUND, number])
    for turn in range(1, config.data.num_rounds):
        proposed = posterior.propose(jax.random.fold_in(key, turn), x, len(first[0]))
        simulated = problem.simulate(generator, proposed)
        finite = np.isfinite(simulated).all(axis=1)
        new = proposed[finite], trials_of(problem, simulated[finite])
        if config.method == "likelihood":
            new = np.concatenate([theta, new[0]]), np.concatenate([results, new[1]])
        theta, results = new
        posterior = train_posterior(config, theta, results, problem.prior, validation_share=config.data.validation_share)
    if not isinstance(posterior, LikelihoodPosterior):
        return posterior.sample(jax.random.fold_in(key, 0), x, config.num_draws), None
    tempered = posterior.tempered(jax.random.fold_in(key, 0), x[None], config.num_draws)
    return np.asarray(tempered.draws[0]), [float(values[0]) for values in tempered[2:]]
