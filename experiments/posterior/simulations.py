"""Simulations of a file or of two moons, observations, and reference draws of the true posterior."""

from __future__ import annotations

import bz2
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.posterior.schema import Simulations
from experiments.reading.arrays import ArraysError, read_arrays
from mdnjax.config.nearest import nearest
from mdnjax.data import Dataset, Splits, Truth, make_support, two_moons
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import select_rows

DEFAULT_SIZES = (1000, 10_000, 100_000)  # numbers of simulations of two moons in the public benchmark
OBSERVATIONS = 3  # second part of a seed, after those of train, validation and test data
Array = np.ndarray


class Problem(NamedTuple):
    """Simulations for training (as many as the largest of `sizes`) and for the test scores; observations `x[M, X]`.

    `references` are draws `[S, D]` of the true posterior for each observation, or None. Networks are trained
    separately for each of `sizes`, the numbers of simulations.
    """

    simulations: Dataset
    test: Dataset
    observed: Array
    references: list[Array] | None
    truth: Truth | None
    sizes: tuple[int, ...]
    notes: tuple[str, ...] = ()


def make_problem(data: Simulations, seed: int, num_draws: int) -> Problem:
    """Returns the data of all numbers of simulations.

    Raises: UserError if a file cannot be read, its arrays do not fit together, or a number in them is not finite.
    """
    return _of_file(data, seed) if data.path is not None else _of_two_moons(data, seed, num_draws)


def splits_of(problem: Problem, num: int, validation_share: float) -> Splits:
    """Returns the first `num` simulations as validation and train parts; the test part is the same for every `num`."""
    num_validation = min(max(1, round(validation_share * num)), num - 1)
    validation, train = (select_rows(problem.simulations, slice(*ends)) for ends in ((0, num_validation), (num_validation, num)))
    return Splits(train, validation, problem.test)


def columns_of(problem: Problem) -> Columns:
    """Names the inputs x_1, x_2, ... and the parameters theta_1, theta_2, ..."""
    x, y = problem.simulations[:2]
    inputs, targets = ([f"{name}_{i + 1}" for i in range(part.shape[1])] for name, part in (("x", x), ("theta", y)))
    return Columns(tuple(map(Column, inputs)), tuple(targets))


def _of_two_moons(data: Simulations, seed: int, num_draws: int) -> Problem:
    if data.target_support not in ("real", two_moons.BOX):
        expected = f"{list(two_moons.BOX)}, the square of two moons, which is used by default"
        raise UserError(f"data.target_support: got {data.target_support!r}, expected {expected}")
    sizes = data.num_simulations or DEFAULT_SIZES
    simulations, _, test = two_moons.make_splits(seed, num_train=max(sizes), num_validation=1, num_test=data.num_test)
    if data.root is not None:
        observed, references = _read_benchmark(Path(data.root), 2, 2)
    elif data.observations is not None:
        observed, references = _read_observations(data, 2), None
    else:
        generator = np.random.default_rng([seed, OBSERVATIONS])
        observed = two_moons.simulate(generator, generator.uniform(*two_moons.BOX, (data.num_observations, 2)))
        observed = observed.astype(np.float32)
        references = [two_moons.draw_posterior(generator, x, num_draws) for x in observed]
    return Problem(simulations, test, observed, references, two_moons.TRUTH, sizes)


def _of_file(data: Simulations, seed: int) -> Problem:
    assert data.path is not None
    if data.root is not None and data.observations is not None:
        expected = "expected null: the folder has its own observations"
        raise UserError(f"data.observations: got {data.observations!r} with data.root, {expected}")
    arrays = _read(data.path, "data.path")
    drop = data.missing == "drop"
    theta, x = (_table(arrays, name, data.path, "data.path", failed=drop) for name in ("theta", "x"))
    if len(theta) != len(x):
        raise UserError(f"data.path: {data.path}: got {len(theta)} rows of theta and {len(x)} of x, expected the same number")
    theta, x, notes = _usable(theta, x, data)
    num_test = min(data.num_test, len(x) // 10)
    max_size = len(x) - num_test
    sizes = data.num_simulations or (max_size,)
    if len(x) < 30 or max(sizes) > max_size:
        needed = f"{max(max(sizes), 27)} to train on and {max(num_test, 3)} to test"
        raise UserError(f"data.num_simulations: got {len(x)} simulations in {data.path}, expected enough for {needed}")
    order = np.random.default_rng(seed).permutation(len(x))
    shuffled = Dataset(x[order], theta[order])
    test, simulations = select_rows(shuffled, slice(num_test)), select_rows(shuffled, slice(num_test, None))
    if data.root is not None:
        observed, references = _read_benchmark(Path(data.root), x.shape[1], theta.shape[1])
        return Problem(simulations, test, observed, references, None, sizes, notes)
    if data.observations is not None or "x_observed" in arrays:
        observed = _read_observations(data, x.shape[1])
    else:
        observed = test.x[: data.num_observations]
    return Problem(simulations, test, observed, None, None, sizes, notes)


def _usable(theta: Array, x: Array, data: Simulations) -> tuple[Array, Array, tuple[str, ...]]:
    """Leaves out failed simulations, pulls theta that rounding has put on a bound inside, and says what was done.

    No correction is needed for failures: theta of the successful simulations has the density p(theta) p(success|theta), so that
    what is learnt from them is p(theta|x) for an x that was observed.
    """
    failed = np.any(~np.isfinite(np.concatenate([theta, x], axis=1)), axis=1)
    theta, x, notes, num = theta[~failed], x[~failed], list[str](), int(failed.sum())
    if num:
        share = 100 * num / len(failed)
        notes.append(f"{num} of {len(failed)} simulations ({share:.1f} %) have missing numbers and are left out")
    try:
        support = make_support(data.target_support, theta.shape[1])
    except ValueError as error:
        raise UserError(f"data.target_support: {error}") from None
    if support is None:
        return theta, x, tuple(notes)
    low, high = (np.array(ends) for ends in support)
    step = np.finfo(np.float32).eps * np.where(np.isfinite(high - low), high - low, np.maximum(np.abs(low), 1))
    inside = np.clip(theta, low + step / 2, high - step / 2)
    moved = (inside != theta) & (np.abs(inside - theta) <= 1.5 * step)
    if num := int(np.sum(moved.any(axis=1))):
        notes.append(f"{num} simulations have a theta on a bound of its support, by rounding; it was moved inside")
    return np.where(moved, inside, theta), x, tuple(notes)


def _read_observations(data: Simulations, num_inputs: int) -> Array:
    """Reads observations `[M, num_inputs]` from a file."""
    key, path, name = (
        ("data.observations", data.observations, "x") if data.observations else ("data.path", data.path, "x_observed")
    )
    assert path is not None
    arrays = _read(path, key)
    if name in arrays and arrays[name].ndim == 1 and arrays[name].size == num_inputs:
        arrays = {**arrays, name: arrays[name][None]}  # a single observation without a batch axis
    observed = _table(arrays, name, path, key)
    if observed.shape[1] != num_inputs or not len(observed):
        expected = f"[M, {num_inputs}], like x of the simulations"
        raise UserError(f"{key}: {path}: {name}: got shape {observed.shape}, expected {expected}")
    return observed


def _read(path: str, key: str) -> Mapping[str, Array]:
    try:
        return read_arrays(Path(path))
    except OSError as error:
        raise UserError(f"{key}: cannot read {path}: {error.strerror or error}") from None
    except ArraysError as error:
        raise UserError(f"{key}: {path}: {error}") from None


def _table(arrays: Mapping[str, Array], name: str, path: str, key: str, failed: bool = False) -> Array:
    """Returns an array of a file in float64, with one column if it has one axis; all numbers are finite, unless rows `failed`."""
    if name not in arrays:
        got = f"got arrays {', '.join(arrays) or 'none'}, expected one named {name!r}{nearest(name, arrays)}"
        raise UserError(f"{key}: {path}: {got}")
    values = arrays[name]
    if values.dtype.kind not in "biuf":
        raise UserError(f"{key}: {path}: {name}: got values of type {values.dtype}, expected numbers")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.shape[1]:
        raise UserError(f"{key}: {path}: {name}: got shape {values.shape}, expected rows and columns")
    values = values.astype(np.float64)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any() and not failed:
        row = int(wrong.argmax())
        bad = values[row][~np.isfinite(values[row])][0]
        got = f"got {bad:g} in row {row} from 0 ({wrong.sum()} such rows of {len(values)})"
        hint = "; data.missing=drop leaves out failed simulations" if name != "x_observed" and key == "data.path" else ""
        raise UserError(f"{key}: {path}: {name}: {got}, expected finite numbers{hint}")
    return values


def _read_benchmark(root: Path, num_inputs: int, num_targets: int) -> tuple[Array, list[Array]]:
    """Reads the observations and reference draws of a folder of the benchmark, in the order of their numbers."""
    folders = [folder for folder in root.glob("num_observation_*") if folder.name.rpartition("_")[2].isdigit()]
    if not folders:
        raise UserError(f"data.root: got {root}, expected a folder with num_observation_1 and so on")
    observed, references = [], []
    for folder in sorted(folders, key=lambda folder: int(folder.name.rpartition("_")[2])):
        try:
            observed.append(np.loadtxt(folder / "observation.csv", delimiter=",", skiprows=1, ndmin=2))
            with bz2.open(folder / "reference_posterior_samples.csv.bz2", "rt") as file:
                references.append(np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2))
        except OSError as error:
            raise UserError(f"data.root: cannot read {error.filename or folder}: {error.strerror or error}") from None
        except (ValueError, EOFError) as error:
            raise UserError(f"data.root: {folder}: got no table of numbers: {' '.join(str(error).split())[:120]}") from None
        if observed[-1].shape != (1, num_inputs) or references[-1].shape[1] != num_targets:
            got = f"an observation of shape {observed[-1].shape} and draws of shape {references[-1].shape}"
            expected = f"(1, {num_inputs}) and {num_targets} columns, as the simulations have them"
            raise UserError(f"data.root: {folder}: got {got}, expected {expected}")
    return np.concatenate(observed), references
