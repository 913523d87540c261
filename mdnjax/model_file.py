"""Saves a predictor as one safetensors file, and loads it after checking everything that the file contains."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import TypeAdapter, ValidationError

from mdnjax import checkpoint
from mdnjax.checkpoint import CheckpointError
from mdnjax.components import Support
from mdnjax.config import schema
from mdnjax.conformity import Conformal
from mdnjax.data.atoms import Atoms, atoms_like
from mdnjax.data.columns import Column, Columns, numbered_columns
from mdnjax.data.lattice import Lattice, no_lattice
from mdnjax.data.scaler import Scaler
from mdnjax.ensemble import Networks, num_networks, params_like
from mdnjax.known_rows import known_rows_of
from mdnjax.least_squares import least_squares_like
from mdnjax.predictor import Predictor
from mdnjax.recalibration import recalibration_of
from mdnjax.trees import empty_trees, ends_in_leaves, with_room

PREVIOUS_FORMAT = "mdnjax-2"  # until November 2026: the scaler in float32, and a centre for each column
COLUMNS = TypeAdapter(Columns)
MAX_STEPS = 1e9  # of a lattice from its first to its last value
LIMITS = {"x_low": -np.inf, "x_high": np.inf}
OPTIONAL = ("conformal/", "recalibration/", "known/")  # parts that are read one by one
FLOATS = (np.float32, np.float64)
BOUNDS = TypeAdapter(list[list[float | None]])


def save(path: str | Path, predictor: Predictor, more: Mapping[str, str] = {}) -> None:
    """Writes a predictor to one file, with the versions of the libraries; an existing file is replaced whole or not at all.

    `more` are texts of a value that contains the predictor, which `load` does not read.
    """
    support = predictor.scaler.support
    bounds = None if support is None else [[bound if math.isfinite(bound) else None for bound in side] for side in support]
    versions = {name: _version(name) for name in ("mdnjax", "jax", "flax")}
    texts = {
        "support": json.dumps(bounds),
        "versions": json.dumps(versions),
        "columns": COLUMNS.dump_json(predictor.columns).decode(),
    }
    arrays: dict[str, Any] = {"networks": predictor.networks, "scaler": predictor.scaler._replace(support=None)}
    if predictor.conformal is not None:
        arrays["conformal"] = predictor.conformal[:5]
        texts["groups"] = json.dumps([predictor.conformal.names, predictor.conformal.column])
    if predictor.recalibration is not None:
        arrays["recalibration"] = predictor.recalibration
    if predictor.known is not None:
        arrays["known"] = predictor.known
    checkpoint.save(Path(path), arrays, {"model": predictor.model.model_dump_json(), **texts, **more})


def load(path: str | Path) -> Predictor:
    """Returns a saved predictor; files of the previous format predict the same as before.

    Raises: CheckpointError (a ValueError) if the file is missing, damaged, not a model of mdnjax, of a later version, or has
    contents that no training can produce.
    """
    path = Path(path)
    arrays, metadata = checkpoint.read(path, (checkpoint.FORMAT, PREVIOUS_FORMAT))
    try:
        model = schema.Model.model_validate_json(metadata["model"])
        if metadata["format"] == PREVIOUS_FORMAT:
            arrays, columns, bounds = _from_previous_format(arrays, metadata)
        else:
            columns, bounds = COLUMNS.validate_json(metadata["columns"], strict=True), json.loads(metadata["support"])
        support = None if bounds is None else _support_of(BOUNDS.validate_python(bounds), len(columns.targets))
        _check_columns(columns)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise CheckpointError(f"{path}: its metadata cannot be used: {where}: {fault['msg']}") from None
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: its metadata cannot be used: {type(error).__name__}: {str(error)[:100]}") from None
    if not any(f"scaler/{name}" in arrays for name in LIMITS):  # files until November 2026 have neither limits nor a lattice
        num_inputs = sum(column.width for column in columns.inputs)
        arrays = {**arrays, **{f"scaler/{name}": np.full(num_inputs, limit) for name, limit in LIMITS.items()}}
        lattice = no_lattice(len(columns.targets))._asdict()
        arrays |= {f"scaler/lattice/{name}": values for name, values in lattice.items()}
    arrays = with_room(arrays, "networks/trees", empty_trees(model.experts, len(columns.targets)))
    own = {name: array for name, array in arrays.items() if not name.startswith(OPTIONAL)}
    restored = checkpoint.restore(path, own, _like(path, model, columns, arrays))
    networks, scaler = restored["networks"], restored["scaler"]._replace(support=support)
    if reason := _invalid_number(networks, scaler):
        raise CheckpointError(f"{path}: {reason}")
    try:
        scores = _scores_of(arrays, json.loads(metadata.get("groups", "null")), columns)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: its scores for guarantees cannot be used: {str(error)[:100]}") from None
    try:
        more = recalibration_of(arrays), known_rows_of(arrays, len(scaler.x_mean))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Predictor(model, networks, scaler, columns, scores, *more)


def _like(path: Path, model: schema.Model, columns: Columns, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the shapes and dtypes that the arrays must have; the number of networks and their dtype are those of the file."""
    num_inputs, num_targets = sum(column.width for column in columns.inputs), len(columns.targets)
    first = next((array for name, array in sorted(arrays.items()) if name.startswith("networks/params/")), None)
    if first is None or not first.shape or not first.shape[0] or first.dtype not in FLOATS:
        raise CheckpointError(f"{path}: got no parameters of networks, expected float arrays with an axis of networks")
    if model.num_components == "auto":
        raise CheckpointError(f"{path}: got num_components 'auto', expected the number that training selected")
    try:
        params = params_like(model, num_inputs, num_targets, first.shape[0])
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{path}: got a model that cannot be built: {' '.join(str(error).split())[:100]}") from None
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, first.dtype), params)
    sizes = (num_inputs, num_inputs, *(num_targets,) * 4, num_inputs, num_inputs)
    optional = [_like_optional(arrays, f"networks/{name}", first.shape[:1]) for name in ("weight", "scale_floor", "scale_factor")]
    units: Any = (jax.ShapeDtypeStruct((size,), np.dtype(np.float64)) for size in sizes)
    lattice: Any = Lattice(*[jax.ShapeDtypeStruct((num_targets,), np.dtype(np.float64))] * 3)  # pyright: ignore
    trees = empty_trees(model.experts, num_targets) or None
    linear = least_squares_like(num_inputs, num_targets) if "networks/least_squares/weight" in arrays else None
    atoms = atoms_like() if "scaler/atoms/value" in arrays else None
    networks = Networks(params, optional[0], optional[1], trees, linear, optional[2])
    return {"networks": networks, "scaler": Scaler(*units, lattice, atoms=atoms)}  # pyright: ignore


def _like_optional(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> Any:
    """Returns the shape and dtype that an array must have if the file contains it, else None."""
    if name not in arrays:
        return None
    dtype = arrays[name].dtype
    return jax.ShapeDtypeStruct(shape, dtype if dtype in FLOATS else np.dtype(np.float32))


def _invalid_number(networks: Networks, scaler: Scaler) -> str | None:
    """Returns why the numbers cannot come from a training, or None if they can."""
    if not (scaler.x_low <= scaler.x_high).all():
        return "x_low: got a limit that is above x_high, or is not a number"
    numbers = {**networks._asdict(), **scaler._asdict(), "x_sd": np.nan_to_num(scaler.x_sd, posinf=1.0), "atoms": None}
    for name, array in ((name, array) for name, array in numbers.items() if name not in LIMITS):
        for leaf in jax.tree.leaves(array):
            if not np.isfinite(leaf).all():
                return f"{name}: got a number that is not finite"
    for name in ("x_sd", "y_factor", "line_sd"):
        if not (getattr(scaler, name) > 0).all():
            return f"{name}: got {getattr(scaler, name).min():g}, expected a positive number"
    step, first, last = scaler.lattice
    if not ((step >= 0) & (last >= first) & (last - first <= MAX_STEPS * np.where(step > 0, step, np.inf))).all():
        return "lattice: got a negative step, or no reasonable number of values"
    if scaler.atoms is not None and not _are_atoms(scaler.atoms):
        return "atoms: got an interval without a number in it, or a value that is not finite"
    if not all(ends_in_leaves(trees) for trees in (networks.trees or {}).values()):
        return "trees: got a tree in which a node leads back to itself"
    if linear := networks.least_squares:
        positive = all((np.asarray(values) > 0).all() for values in (linear.scale, linear.df, linear.share, linear.stretch))
        if not positive or not (np.asarray(linear.weight) >= 0).all() or np.sum(linear.weight) > 1 + 1e-3:
            return "least_squares: got a scale that is not positive, or weights that are no shares"
    weight, floor, factor = networks.weight, networks.scale_floor, networks.scale_factor
    if factor is not None and not (np.asarray(factor) > 0).all():
        return "scale_factor: got a number that is not positive"
    if weight is not None and not ((np.asarray(weight) >= 0).all() and abs(float(np.sum(weight)) - 1) < 1e-3):
        return f"weight: got weights of {num_networks(networks)} networks that do not add up to 1"
    return "scale_floor: got a negative number" if floor is not None and not (np.asarray(floor) >= 0).all() else None


def _scores_of(arrays: Mapping[str, np.ndarray], groups: Any, columns: Columns) -> Conformal | None:
    """Returns the scores for guarantees, if the file has any. Raises: ValueError if they are not those of rows."""
    if groups is None:
        return None
    names, column = (groups, None) if isinstance(groups[0], str) else groups
    parts = [arrays[f"conformal/{i}"] for i in range(4 if names is groups else 5)]
    if names is groups:  # files until November 2026 have no scores of sets of highest density, which have no ends then
        parts.insert(2, np.full_like(parts[0], np.inf))
    scores = Conformal(*parts, names=tuple(map(str, names)), column=column)
    num = len(scores.density)
    shapes = {values.shape for values in scores[:3]} == {(num, len(columns.targets))} and scores.group.shape == (num,)
    if not shapes or not np.isin(scores.group, np.arange(len(scores.names))).all() or np.isnan(scores.upper).any():
        raise ValueError("got arrays of different numbers of rows, or groups without a name")
    if column is not None and not any(known.name == column and known.categories == scores.names[:-1] for known in columns.inputs):
        raise ValueError("got groups of a column that the model does not have, or of other categories")
    return scores


def _are_atoms(atoms: Atoms) -> bool:
    """Returns whether training can have made the intervals: inside of each is its number, and they do not overlap."""
    if not all(np.isfinite(values).all() for values in (atoms.value, atoms.at, atoms.inserted, atoms.censored)):
        return False
    inside = (atoms.low < atoms.at) & (atoms.at < atoms.high) | (atoms.low == atoms.high) & np.isfinite(atoms.low)
    low, high = (np.asarray(ends)[np.asarray(atoms.used)] for ends in (atoms.low, atoms.high))
    return bool(inside.all() and len(low) and (high[:-1] <= low[1:]).all())


def _check_columns(columns: Columns) -> None:
    """Raises: ValueError if there are no inputs or targets, something is repeated, a fill is not finite, or a date a category."""
    names = [column.name for column in columns.inputs]
    if not names or not columns.targets or len({*names, *columns.targets}) < len(names) + len(columns.targets):
        raise ValueError("columns: got no inputs, no targets, or the same name twice")
    for column in columns.inputs:
        texts = column.categories
        if texts is not None and (not texts or len(set(texts)) < len(texts)):
            raise ValueError(f"column {column.name[:40]!r}: got no categories, or the same twice")
        if texts is not None and column.dates is not None:
            raise ValueError(f"column {column.name[:40]!r}: got both categories and dates")
        if column.fill is not None and not math.isfinite(column.fill):
            raise ValueError(f"column {column.name[:40]!r}: got a fill that is not finite")


def _support_of(bounds: list[list[float | None]], num_targets: int) -> Support:
    """Returns the support with these lower and upper bounds, of which None is infinite. Raises: ValueError if they are wrong."""
    if len(bounds) != 2 or any(len(side) != num_targets for side in bounds):
        raise ValueError(f"support: got {len(bounds)} sides, expected 2 of {num_targets} bounds each")
    sides = zip(bounds, (-math.inf, math.inf), strict=True)
    low, high = (tuple(infinite if bound is None else float(bound) for bound in side) for side, infinite in sides)
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueError("support: got a lower bound that is not below the upper one")
    return Support(low, high)


def _from_previous_format(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], Columns, Any]:
    """Converts a file of the previous format to arrays, columns and bounds of the present one.

    The columns' centres are added to the inputs' means; with a support, mean and sd of the targets are those on the real line.
    """
    shapes, saved = json.loads(metadata["shapes"]), json.loads(metadata["columns"])
    sizes = [arrays[f"scaler/{name}"].shape for name in ("x_mean", "y_mean")]
    if sizes != [(shapes["num_inputs"],), (shapes["num_targets"],)]:
        raise ValueError("shapes: got other numbers of inputs or targets than those of the scaler")
    columns, centres = numbered_columns(shapes["num_inputs"], shapes["num_targets"]), []
    if saved is not None:
        inputs = [
            (Column(name, None if texts is None else tuple(texts), fill, marked), centre)
            for name, texts, centre, fill, marked in saved["inputs"]
        ]
        columns = Columns(tuple(column for column, _ in inputs), tuple(saved["targets"]))
        columns = COLUMNS.validate_python(columns, strict=True)
        for column, centre in inputs:
            centres += [float(centre) if column.categories is None else 0.0, *[0.0] * (column.width - 1)]
    units = {name: np.asarray(arrays[f"scaler/{name}"], np.float64) for name in ("x_mean", "x_sd", "y_mean", "y_sd")}
    zero, one, on_real_line = np.zeros_like(units["y_mean"]), np.ones_like(units["y_mean"]), shapes["support"] is None
    targets = [units["y_mean"], units["y_sd"], zero, one] if on_real_line else [zero, one, units["y_mean"], units["y_sd"]]
    names = ("x_mean", "x_sd", "y_offset", "y_factor", "line_mean", "line_sd")
    values = [units["x_mean"] + (np.array(centres) if centres else 0.0), units["x_sd"], *targets]
    networks = {f"networks/{name}": array for name, array in arrays.items() if not name.startswith("scaler/")}
    return networks | {f"scaler/{name}": array for name, array in zip(names, values, strict=True)}, columns, shapes["support"]


def _version(name: str) -> str:
    """Returns the version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # the package is imported from its folder
        return "not installed"
