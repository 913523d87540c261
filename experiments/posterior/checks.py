"""What is wrong with posteriors: their ranks, results that their draws do not reproduce, and particles that moved badly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.posterior.problem import Problem, trials_of
from mdnjax.posteriors.checks import Predicted, predicted, problems_near
from mdnjax.posteriors.posterior import Evaluated

MIN_ACCEPTANCE, MIN_ESS_SHARE = 0.03, 0.05
PREDICTED = 4  # second part of a seed, after those of data and observations


class Quality(NamedTuple):
    """How well the particles moved, for each observation: see `mdnjax.posteriors.tempering.Tempered`."""

    num_temperatures: list[int]
    exponent: list[float]
    acceptance: list[float]
    ess: list[float]


def of_ranks(tested: Evaluated, problem: Problem) -> list[str]:
    """Returns sentences about ranks of the test simulations that are not uniform, over all of them and near observations."""
    near = problems_near(tested, problem.observed, problem.names)
    local = [f"near observation {number}, {sentence}" for number, rows in enumerate(near, 1) for sentence in rows]
    return [*tested.ranks.problems(problem.names), *local]


def reproduced_by(problem: Problem, draws: np.ndarray, seed: int) -> list[Predicted]:
    """Simulates with draws `[M, S, D]` for each observation, if there is a simulator and no observation has only failures."""
    if problem.simulate is None:
        return []
    simulate, generator = problem.simulate, np.random.default_rng([seed, PREDICTED])
    found = []
    for theta, x in zip(draws, trials_of(problem, problem.observed), strict=True):
        results = simulate(generator, theta)
        if not np.isfinite(results).all(axis=1).any():
            return []
        found.append(predicted(lambda _, results=results: trials_of(problem, results), theta, x))
    return found


def of_reproduced(reproduced: list[Predicted]) -> list[str]:
    """Returns sentences about observed numbers that simulations with draws do not reproduce."""
    return [f"observation {i}: {sentence}" for i, each in enumerate(reproduced, 1) for sentence in each.problems()]


def of_particles(quality: Quality | None, num: int) -> list[str]:
    """Returns sentences about observations whose particles moved badly, so that `num` draws are worth few independent ones."""
    if quality is None:
        return []
    rows = []
    for i, (end, share, ess) in enumerate(zip(quality.exponent, quality.acceptance, quality.ess, strict=True)):
        if end < 1 or share < MIN_ACCEPTANCE or ess < MIN_ESS_SHARE * num:
            worth = f"its {num} draws are worth {ess:.0f} independent ones"
            moved = f"{100 * share:.0f} % of the particles' moves were accepted"
            rows.append(f"observation {i + 1}: {worth}, and {moved}; more likelihood.num_moves may find what is missing")
    return rows
