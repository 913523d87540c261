"""Simulations of a task of the benchmark, drawn by a seed, with references where its files are not there."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.command import UserError
from experiments.posterior.observations import folder_of_task, read_benchmark, read_observations
from experiments.posterior.problem import Problem, without_constants
from experiments.posterior.schema import Simulations
from experiments.posterior.tasks import TASKS, SimulatorTask
from mdnjax.data import Dataset, two_moons
from mdnjax.data.dataset import joined, select_rows
from mdnjax.posteriors.tempering import Effort, draw_tempered

DEFAULT_SIZES = (1000, 10_000, 100_000)  # numbers of simulations of a task in the public benchmark
OBSERVATIONS = 3  # second part of a seed, after those of train, validation and test data
REFERENCE = Effort(2000, 200, 0.8)
Array = np.ndarray


def problem_of_task(data: Simulations, seed: int, num_draws: int) -> Problem:
    name = data.task or "two_moons"
    task, sizes = TASKS[name], data.num_simulations or DEFAULT_SIZES
    bounds = task.prior.support
    own = ("real", bounds, bounds[0] if len(set(bounds)) == 1 else bounds)
    if data.target_support not in own:
        raise UserError(f"data.target_support: got {data.target_support!r}, expected that of {name}, which is used by default")
    if data.prior != "uniform":
        raise UserError(f"data.prior: got {data.prior!r}, expected it only with data.path: the prior of {name} is known")
    if data.trials not in (None, 1, task.trials):
        raise UserError(f"data.trials: got {data.trials}, expected {task.trials}, as {name} has, or 1")
    trials = data.trials or task.trials
    if name == "two_moons":
        simulations, _, test = two_moons.make_splits(seed, num_train=max(sizes), num_validation=1, num_test=data.num_test)
    else:
        simulations, test = (_draw(task, [seed, part], num) for part, num in ((0, max(sizes)), (2, data.num_test)))
    generator, references, truths = np.random.default_rng([seed, OBSERVATIONS]), None, None
    if data.root is not None:
        folder = folder_of_task(Path(data.root), task.folder or name)
        num_inputs, num_targets = simulations.x.shape[1], simulations.y.shape[1]
        observed, references, truths = read_benchmark(folder, num_inputs, num_targets, task.observation_file)
    elif data.observations is not None:
        observed = read_observations(data, simulations.x.shape[1], trials)
    elif name == "two_moons":
        truths = generator.uniform(*two_moons.BOX, (data.num_observations, 2))
        observed = two_moons.simulate(generator, truths).astype(np.float32)
        references = [two_moons.draw_posterior(generator, x, num_draws) for x in observed]
    else:
        observed, truths = _draw(task, [seed, OBSERVATIONS], data.num_observations)[:2]
        references = _drawn_references(task, observed, seed, num_draws)
    truth = two_moons.TRUTH if name == "two_moons" else None
    simulations, test, observed, notes, kept = without_constants(simulations, test, observed, trials)

    def simulate(generator: np.random.Generator, theta: Array) -> Array:
        return task.simulate(generator, theta)[:, kept]

    known = {"prior": task.prior, "trials": trials, "task": name, "simulate": simulate, "truths": truths}
    return Problem(simulations, test, observed, references, truth, sizes, notes, **known)


def _draw(task: SimulatorTask, seed: list[int], num: int) -> Dataset:
    """Draws simulations; those that failed are replaced by others."""
    generator = np.random.default_rng(seed)
    parts: list[Dataset] = []
    while (missing := num - sum(len(part.x) for part in parts)) > 0:
        theta = task.prior.sample(jax.random.key(generator.integers(2**31)), (missing,))
        x = task.simulate(generator, theta)
        parts.append(select_rows(Dataset(x, theta), np.asarray(np.isfinite(x).all(axis=1))))
    return functools.reduce(joined, parts)


def _drawn_references(task: SimulatorTask, observed: Array, seed: int, num_draws: int) -> list[Array] | None:
    """Draws references with the exact likelihood, if there is one, by particles that move for long."""
    log_likelihood = task.log_likelihood
    if log_likelihood is None or importlib.util.find_spec("blackjax") is None:
        return None

    law = task.prior.law

    def draw(key: Any, x: Any) -> Any:
        return draw_tempered(key, lambda z: log_likelihood(law.parameters(z), x), law, num_draws, REFERENCE).draws

    keys = jax.random.split(jax.random.key(seed), len(observed))
    drawn = jax.jit(lambda *leaves: jax.lax.map(lambda one: draw(*one), leaves))(keys, np.asarray(observed, np.float32))
    return [*task.prior.parameters(drawn)]
