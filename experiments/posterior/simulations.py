"""What is learnt from and asked: simulations of a file or of two moons, observations, and draws of the true posterior."""

from __future__ import annotations

import bz2
import difflib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.posterior.schema import Simulations
from mdnjax.data import Dataset, Splits, Truth, two_moons
from mdnjax.data.columns import Column, Columns

TWO_MOONS = (1000, 10_000, 100_000)  # simulations, where no number is asked for: those of the benchmark
OBSERVED = 3  # the part of draws that observations are, after train, validation and test
Array = np.ndarray


class Problem(NamedTuple):
    """Simulations to learn from (the most that are asked for) and to score by; observations `x[M, X]`.

    `references` are draws `[S, D]` of the true posterior for each observation, or None.
    """

    pool: Dataset
    test: Dataset
    observed: Array
    references: list[Array] | None
    truth: Truth | None
    sizes: tuple[int, ...]


def make_problem(data: Simulations, seed: int, num_draws: int) -> Problem:
    """Everything that does not depend on how many simulations are learnt from.

    Raises: UserError if a file cannot be read, its arrays do not fit together, or a number in them is not finite.
    """
    return _of_file(data, seed) if data.path is not None else _of_two_moons(data, seed, num_draws)


def splits_of(problem: Problem, num: int, validation_share: float) -> Splits:
    """The first simulations of the pool as train and validation parts; the same test part whatever their number."""
    held_out = min(max(1, round(validation_share * num)), num - 1)
    first, rest = (Dataset(*(array[rows] for array in problem.pool)) for rows in (slice(held_out), slice(held_out, num)))
    return Splits(rest, first, problem.test)


def columns_of(problem: Problem) -> Columns:
    """Names for the numbers of an observation, x_1, x_2, ..., and for the parameters, theta_1, theta_2, ..."""
    names = [[f"{name}_{i + 1}" for i in range(part.shape[1])] for name, part in zip(("x", "theta"), problem.pool, strict=True)]
    return Columns(tuple(map(Column, names[0])), tuple(names[1]))


def _of_two_moons(data: Simulations, seed: int, num_draws: int) -> Problem:
    if data.target_support not in ("real", two_moons.BOX):
        expected = f"{list(two_moons.BOX)}, the square of two moons, which is taken anyway"
        raise UserError(f"data.target_support: got {data.target_support!r}, expected {expected}")
    sizes = data.num_simulations or TWO_MOONS
    pool, _, test = two_moons.make_splits(seed, num_train=max(sizes), num_validation=1, num_test=data.num_test)
    if data.root is not None:
        observed, references = _published(Path(data.root))
    elif data.observations is not None:
        observed = _observations(data, 2)
        references = None
    else:
        generator = np.random.default_rng([seed, OBSERVED])
        observed = two_moons.simulate(generator, generator.uniform(*two_moons.BOX, (data.num_observations, 2)))
        observed = observed.astype(np.float32)
        references = [two_moons.draw_posterior(generator, x, num_draws) for x in observed]
    return Problem(pool, test, observed, references, two_moons.TRUTH, sizes)


def _of_file(data: Simulations, seed: int) -> Problem:
    assert data.path is not None
    if data.root is not None:
        raise UserError(f"data.root: got {data.root!r} with data.path, expected null: reference posteriors are of two moons")
    arrays = _read(data.path, "data.path")
    theta, x = (_table(arrays, name, data.path, "data.path") for name in ("theta", "x"))
    if len(theta) != len(x):
        raise UserError(f"data.path: {data.path}: got {len(theta)} rows of theta and {len(x)} of x, expected as many of each")
    num_test = min(data.num_test, len(x) // 10)
    most = len(x) - num_test
    sizes = data.num_simulations or (most,)
    if len(x) < 30 or max(sizes) > most:
        needed = f"{max(max(sizes), 27)} to learn from and {max(num_test, 3)} to test"
        raise UserError(f"data.num_simulations: got {len(x)} simulations in {data.path}, expected enough for {needed}")
    order = np.random.default_rng(seed).permutation(len(x))
    whole = Dataset(x[order], theta[order])
    test, pool = (Dataset(*(array[rows] for array in whole)) for rows in (slice(num_test), slice(num_test, None)))
    if data.observations is not None or "x_observed" in arrays:
        observed = _observations(data, x.shape[1])
    else:
        observed = test.x[: data.num_observations]
    return Problem(pool, test, observed, None, None, sizes)


def _observations(data: Simulations, num_inputs: int) -> Array:
    """The observations of a user, which have as many numbers as those that are simulated."""
    key, path, name = (
        ("data.observations", data.observations, "x") if data.observations else ("data.path", data.path, "x_observed")
    )
    assert path is not None
    arrays = _read(path, key)
    if name in arrays and arrays[name].ndim == 1 and arrays[name].size == num_inputs:
        arrays = {**arrays, name: arrays[name][None]}  # a single one
    observed = _table(arrays, name, path, key)
    if observed.shape[1] != num_inputs or not len(observed):
        expected = f"[M, {num_inputs}], as x of the simulations"
        raise UserError(f"{key}: {path}: {name}: got shape {observed.shape}, expected {expected}")
    return observed


def _read(path: str, key: str) -> Mapping[str, Array]:
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise UserError(f"{key}: cannot read {path}: {error.strerror or error}") from None
    except (ValueError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{key}: {path}: no NPZ file of plain arrays: {' '.join(str(error).split())[:120]}") from None


def _table(arrays: Mapping[str, Array], name: str, path: str, key: str) -> Array:
    """An array of a file as finite numbers in rows and columns, in float64."""
    if name not in arrays:
        near = difflib.get_close_matches(name, arrays, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{key}: {path}: got arrays {', '.join(arrays) or 'none'}, expected one called {name!r}{hint}")
    values = arrays[name]
    if values.dtype.kind not in "biuf":
        raise UserError(f"{key}: {path}: {name}: got values of type {values.dtype}, expected numbers")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.shape[1]:
        raise UserError(f"{key}: {path}: {name}: got shape {values.shape}, expected rows and columns")
    values = values.astype(np.float64)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        bad = values[row][~np.isfinite(values[row])][0]
        got = f"got {bad:g} in row {row} from 0 ({wrong.sum()} such rows of {len(values)})"
        hint = ": leave out what the simulator could not do" if name != "x_observed" and key == "data.path" else ""
        raise UserError(f"{key}: {path}: {name}: {got}, expected finite numbers{hint}")
    return values


def _published(root: Path) -> tuple[Array, list[Array]]:
    """Observations and reference draws of a folder, in the order of their numbers."""
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
            raise UserError(f"data.root: {folder}: no table of numbers: {' '.join(str(error).split())[:120]}") from None
        if observed[-1].shape != (1, 2) or references[-1].shape[1] != 2:
            got = f"an observation of shape {observed[-1].shape} and draws of shape {references[-1].shape}"
            raise UserError(f"data.root: {folder}: got {got}, expected (1, 2) and two columns, as of two moons")
    return np.concatenate(observed), references
