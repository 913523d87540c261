"""Reads arrays of simulations and observations from NPZ files, and observations with references from a copy of the benchmark."""

from __future__ import annotations

import bz2
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.command import UserError
from experiments.posterior.schema import Simulations
from experiments.reading.arrays import ArraysError, read_arrays
from mdnjax.config.nearest import nearest

Array = np.ndarray


def flat_trials(values: Array, shape: tuple[int, ...]) -> Array:
    """Returns results `[N, T, X]`, or those `[T, X]` of a single observation, as `[N, T X]`; others are unchanged."""
    if values.shape == shape:
        values = values[None]
    return values.reshape(len(values), -1) if values.ndim == 3 and len(values) else values


def read_observations(data: Simulations, num_inputs: int, trials: int = 1, own: Mapping[str, Array] | None = None) -> Array:
    """Reads observations `[M, num_inputs]` from a file, or from the arrays of the file of simulations."""
    key, path, name = (
        ("data.observations", data.observations, "x") if data.observations else ("data.path", data.path, "x_observed")
    )
    assert path is not None
    arrays = own if own is not None and not data.observations else read(path, key)
    if trials > 1 and name in arrays:
        arrays = {**arrays, name: flat_trials(arrays[name], (trials, num_inputs // trials))}
    if name in arrays and arrays[name].ndim == 1 and arrays[name].size == num_inputs:
        arrays = {**arrays, name: arrays[name][None]}  # a single observation without a batch axis
    observed = table_of(arrays, name, path, key)
    if observed.shape[1] != num_inputs or not len(observed):
        expected = f"[M, {num_inputs}], like x of the simulations"
        raise UserError(f"{key}: {path}: {name}: got shape {observed.shape}, expected {expected}")
    return observed


def read(path: str, key: str) -> Mapping[str, Array]:
    try:
        return read_arrays(Path(path))
    except OSError as error:
        raise UserError(f"{key}: cannot read {path}: {error.strerror or error}") from None
    except ArraysError as error:
        raise UserError(f"{key}: {path}: {error}") from None


def table_of(arrays: Mapping[str, Array], name: str, path: str, key: str, failed: bool = False) -> Array:
    """Returns an array of a file in float64, with one column if it has one axis; all numbers are finite, unless rows `failed`."""
    if name not in arrays:
        got = f"got arrays {', '.join(arrays) or 'none'}, expected one named {name!r}{nearest(name, arrays)}"
        raise UserError(f"{key}: {path}: {got}")
    values = arrays[name]
    if values.dtype.kind not in "biuf":
        raise UserError(f"{key}: {path}: {name}: got values of type {values.dtype}, expected numbers")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size:
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


def read_benchmark(
    root: Path, num_inputs: int, num_targets: int, observation_file: str = "observation.csv"
) -> tuple[Array, list[Array], Array | None]:
    """Reads observations, reference draws and, if all are there, true parameters of a folder of the benchmark, in order."""
    folders = [folder for folder in root.glob("num_observation_*") if folder.name.rpartition("_")[2].isdigit()]
    if not folders:
        raise UserError(f"data.root: got {root}, expected a folder with num_observation_1 and so on")
    observed, references, truths = [], [], []
    for folder in sorted(folders, key=lambda folder: int(folder.name.rpartition("_")[2])):
        observed.append(_numbers(folder / observation_file))
        references.append(_numbers(folder / "reference_posterior_samples.csv.bz2"))
        if (folder / "true_parameters.csv").exists():
            truths.append(_numbers(folder / "true_parameters.csv"))
        if observed[-1].shape != (1, num_inputs) or references[-1].shape[1] != num_targets:
            got = f"an observation of shape {observed[-1].shape} and draws of shape {references[-1].shape}"
            expected = f"(1, {num_inputs}) and {num_targets} columns, as the simulations have them"
            raise UserError(f"data.root: {folder}: got {got}, expected {expected}")
    are_known = len(truths) == len(folders) and all(values.shape == (1, num_targets) for values in truths)
    return np.concatenate(observed), references, np.concatenate(truths) if are_known else None


def _numbers(path: Path) -> Array:
    """Reads a table with one line of names, which may be compressed."""
    try:
        with bz2.open(path, "rt") if path.suffix == ".bz2" else open(path) as file:
            return np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
    except OSError as error:
        raise UserError(f"data.root: cannot read {error.filename or path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        message = " ".join(str(error).split())[:120]
        raise UserError(f"data.root: {path.parent}: {path.name}: got no table of numbers: {message}") from None


def folder_of_task(root: Path, name: str) -> Path:
    """Returns the folder of a task's observations: `root`, or that of the task in a copy of the benchmark."""
    return next((folder for folder in (root / name / "files", root / name, root / "files") if folder.is_dir()), root)
