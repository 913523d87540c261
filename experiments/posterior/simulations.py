"""Simulations of a file, or of a task of the benchmark, as the problem of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.command import UserError
from experiments.posterior.observations import flat_trials, read, read_benchmark, read_observations, table_of
from experiments.posterior.problem import Problem, without_constants
from experiments.posterior.schema import Simulations
from experiments.posterior.task_problem import problem_of_task
from mdnjax.components import Support
from mdnjax.data import Dataset, make_support
from mdnjax.data.dataset import select_rows
from mdnjax.posteriors.priors import Box, LogNormal, MultivariateNormal, Normal, Prior
from mdnjax.posteriors.success import fit_success

Array = np.ndarray


def make_problem(data: Simulations, seed: int, num_draws: int, method: str = "posterior") -> Problem:
    """Returns the data of all numbers of simulations.

    Raises: UserError if a file cannot be read, its arrays do not fit together, or a number in them is not finite.
    """
    return _of_file(data, seed, method) if data.path is not None else problem_of_task(data, seed, num_draws)


def _of_file(data: Simulations, seed: int, method: str) -> Problem:
    arrays, theta, x, trials = _arrays_of_file(data)
    succeeded = np.asarray(np.isfinite(np.concatenate([theta, x], axis=1)).all(axis=1))
    known = np.isfinite(theta).all(axis=1)
    success = fit_success(theta[known], succeeded[known], seed, trials) if method != "posterior" else None
    prior = _prior_of_file(data, theta[known])
    theta, x, notes = _usable(theta, x, data)
    if success is not None:
        notes = (*notes, "success depends on theta, so that the posterior by the likelihood has its probability as a factor")
    num_test = min(data.num_test, len(x) // 10)
    max_size = len(x) - num_test
    sizes = data.num_simulations or (max_size,)
    if len(x) < 30 or max(sizes) > max_size:
        needed = f"{max(max(sizes), 27)} to train on and {max(num_test, 3)} to test"
        raise UserError(f"data.num_simulations: got {len(x)} simulations in {data.path}, expected enough for {needed}")
    order = np.random.default_rng(seed).permutation(len(x))
    shuffled = Dataset(x[order], theta[order])
    test, simulations = select_rows(shuffled, slice(num_test)), select_rows(shuffled, slice(num_test, None))
    references = truths = None
    if data.root is not None:
        observed, references, truths = read_benchmark(Path(data.root), x.shape[1], theta.shape[1])
    elif data.observations is not None or "x_observed" in arrays:
        observed = read_observations(data, x.shape[1], trials, arrays)
    else:
        observed, truths = (values[: data.num_observations] for values in test[:2])
    simulations, test, observed, more, _ = without_constants(simulations, test, observed, trials)
    known = {"prior": prior, "trials": trials, "success": success, "truths": truths}
    return Problem(simulations, test, observed, references, None, sizes, (*notes, *more), **known)


def _arrays_of_file(data: Simulations) -> tuple[Mapping[str, Array], Array, Array, int]:
    """Returns the arrays of a file, theta and x among them as tables, and the number of trials."""
    assert data.path is not None
    if data.root is not None and data.observations is not None:
        expected = "expected null: the folder has its own observations"
        raise UserError(f"data.observations: got {data.observations!r} with data.root, {expected}")
    if data.task is not None:
        raise UserError(f"data.task: got {data.task!r} with data.path, expected one of both")
    arrays, trials = _with_trials(read(data.path, "data.path"), data)
    drop = data.missing == "drop"
    theta, x = (table_of(arrays, name, data.path, "data.path", failed=drop) for name in ("theta", "x"))
    if len(theta) != len(x):
        raise UserError(f"data.path: {data.path}: got {len(theta)} rows of theta and {len(x)} of x, expected the same number")
    if x.shape[1] % trials:
        raise UserError(f"data.trials: got {trials} for {x.shape[1]} columns of x, expected as many columns in each trial")
    return arrays, theta, x, trials


def _with_trials(arrays: Mapping[str, Array], data: Simulations) -> tuple[Mapping[str, Array], int]:
    """Returns arrays whose x has two axes, trial by trial, and the number of trials."""
    x = arrays.get("x")
    if x is None or x.ndim != 3:
        return arrays, data.trials or 1
    trials = x.shape[1]
    if data.trials not in (None, trials):
        raise UserError(f"data.trials: got {data.trials}, expected {trials}, the second axis of x in {data.path}")
    flat = {name: flat_trials(arrays[name], x.shape[1:]) for name in ("x", "x_observed") if name in arrays}
    return {**arrays, **flat}, trials


def _prior_of_file(data: Simulations, theta: Array) -> Prior | None:
    """Returns the law of theta that the configuration names; None for a uniform one without bounds."""
    if data.prior != "uniform" and data.target_support not in ("real", "positive" if data.prior == "log_normal" else "real"):
        got = f"got {data.prior!r} with data.target_support={data.target_support!r}"
        raise UserError(f"data.prior: {got}, expected uniform, or no bounds")
    if data.prior != "uniform" and not (np.ptp(theta, axis=0) > 0).all():
        raise UserError(f"data.prior: got {data.prior!r} and a theta that never varies, expected each to vary")
    if data.prior == "normal":
        return Normal(theta.mean(axis=0), theta.std(axis=0))
    if data.prior == "multivariate_normal":
        try:
            return MultivariateNormal(theta.mean(axis=0), np.atleast_2d(np.cov(theta.T, bias=True)))
        except ValueError as error:
            raise UserError(f"data.prior: the theta of {data.path}: {error}") from None
    if data.prior == "log_normal":
        if (theta <= 0).any():
            raise UserError("data.prior: got 'log_normal', but theta has values that are not positive")
        return LogNormal(np.log(theta).mean(axis=0), np.log(theta).std(axis=0))
    support = _support(data, theta.shape[1])
    if support is None or not np.isfinite([support.low, support.high]).all():
        return None
    return Box(support.low, support.high)


def _support(data: Simulations, num_parameters: int) -> Support | None:
    try:
        return make_support(data.target_support, num_parameters)
    except ValueError as error:
        raise UserError(f"data.target_support: {error}") from None


def _usable(theta: Array, x: Array, data: Simulations) -> tuple[Array, Array, tuple[str, ...]]:
    """Leaves out failed simulations, pulls theta that rounding has put on a bound inside, and says what was done.

    Networks of p(theta|x) need no correction for failures: theta of the successful simulations has the density p(theta)
    p(success|theta), so that what is learnt from them is p(theta|x) for an x that was observed. A likelihood needs this factor.
    """
    failed = np.any(~np.isfinite(np.concatenate([theta, x], axis=1)), axis=1)
    theta, x, notes, num = theta[~failed], x[~failed], list[str](), int(failed.sum())
    if num:
        share = 100 * num / len(failed)
        notes.append(f"{num} of {len(failed)} simulations ({share:.1f} %) have missing numbers and are left out")
    support = _support(data, theta.shape[1])
    if support is None:
        return theta, x, tuple(notes)
    low, high = (np.array(ends) for ends in support)
    step = np.finfo(np.float32).eps * np.where(np.isfinite(high - low), high - low, np.maximum(np.abs(low), 1))
    inside = np.clip(theta, low + step / 2, high - step / 2)
    moved = (inside != theta) & (np.abs(inside - theta) <= 1.5 * step)
    if num := int(np.sum(moved.any(axis=1))):
        notes.append(f"{num} simulations have a theta on a bound of its support, by rounding; it was moved inside")
    return np.where(moved, inside, theta), x, tuple(notes)
