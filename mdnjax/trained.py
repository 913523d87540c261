"""A trained network as one value and one file: parameters, the units they were trained in, and the settings that shape them."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import ValidationError

from mdnjax import checkpoint
from mdnjax.components import Support
from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.data.columns import Columns, columns_as_json, columns_from_json, to_inputs
from mdnjax.data.dataset import Dataset, Scaler, to_data_units
from mdnjax.mixture import Mixture, log_prob
from mdnjax.model import make_mdn
from mdnjax.statistics import pool
from mdnjax.types import AnyArray, Array, Float, Params

MOST_AT_ONCE = 2**16  # rows whose NLL is computed together
LEAST_PART = 0.01  # of an equal part, below which a network is left out


class Trained(NamedTuple):
    """The networks of an ensemble, parameters of which they are the first axis, and the scaler of the data they were trained on.

    `weight` are their parts of the mixture (None: equal), `scale_floor` their own floors (None: that of the model).
    """

    params: Params
    scaler: Scaler
    weight: Float[AnyArray, "*batch M"] | None = None
    scale_floor: Float[AnyArray, "*batch M"] | None = None


def predict(model: schema.Model, trained: Trained, x: Float[AnyArray, "*batch X"]) -> Mixture:
    """The mixture p(y|x) for every input, in the data's own units.

    Raises: ValueError if x has another number of inputs than the network.
    """
    num_inputs = _sizes(trained)[0]
    if x.ndim == 0 or x.shape[-1] != num_inputs:
        raise ValueError(f"x: got shape {x.shape}, expected [*batch, {num_inputs}]: the network has {num_inputs} inputs")
    shape, numbers = split(model)
    return _predict(shape, numbers, trained, x)


def answers(
    model: schema.Model,
    trained: Trained,
    question: Callable[..., Any],
    x: Float[AnyArray, "N X"],
    *others: np.ndarray,
    most: int = 2**14,
) -> Any:
    """What is asked of the mixtures of all rows, as numpy arrays: in blocks of few sizes, each a compiled program.

    Args: question(mixture, *others) gets the rows of a block, some of them again to fill it up.
    """
    found = []
    for start in range(0, len(x), most):
        block = [np.asarray(values[start : start + most]) for values in (x, *others)]
        num = len(block[0])
        rows, *beside = (np.resize(values, (padded_size(num), *values.shape[1:])) for values in block)
        found.append(_first(question(predict(model, trained, rows), *beside), num))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def padded_size(num: int, factor: int = 2) -> int:
    """The first of 64, 64 factor, 64 factor^2, ... that is no less."""
    size = 64
    while size < num:
        size *= factor
    return size


def nll(model: schema.Model, trained: Trained, dataset: Dataset) -> Float[AnyArray, " N"]:
    """Negative log-likelihood of every example, in nats and the data's own units."""
    shape, numbers = split(model)
    if len(dataset.x) <= MOST_AT_ONCE:
        return _nll(shape, numbers, trained, dataset)
    return answers(model, trained, lambda mixture, y: -log_prob(mixture, y), *dataset)


def nll_of_member(shape: schema.Model, numbers: dict[str, Any], trained: Trained, dataset: Dataset) -> Float[Array, " N"]:
    """The same as a pure function of arrays, for the settings of a shape: to be compiled alone or spread over a population."""
    return -log_prob(_mixture(shape, numbers, trained, dataset.x), dataset.y)


_nll = jax.jit(nll_of_member, static_argnums=0)


class Predictor(NamedTuple):
    """A saved network: `predictor(x)` is the mixture p(y|x), for inputs `[*batch, X]` or the rows of a table.

    `columns` are those of the table that it was trained on, or None.
    """

    model: schema.Model
    trained: Trained
    columns: Columns | None = None

    def __call__(self, x: Any) -> Mixture:
        """Args: an array, or a mapping from names to columns, as a dict or a data frame is.

        Raises: ValueError if x has other inputs than the network, TableError if a table has not its columns."""
        if not hasattr(x, "keys"):
            return predict(self.model, self.trained, x)
        if self.columns is None:
            raise ValueError("got a table, expected an array: the network was not trained on a table")
        table = {str(name): np.asarray(x[name]) for name in x}
        return predict(self.model, self.trained, to_inputs(self.columns, table))


def save_model(path: Path, model: schema.Model, trained: Trained, columns: Columns | None = None) -> None:
    """Writes a trained network to one safetensors file, with its settings, columns and the versions that made it."""
    support = trained.scaler.support
    bounds = None if support is None else [[bound if math.isfinite(bound) else None for bound in side] for side in support]
    dtype, (num_inputs, num_targets) = str(trained.scaler.x_mean.dtype), _sizes(trained)
    num_members = num_networks(trained)
    shapes = {"num_inputs": num_inputs, "num_targets": num_targets, "num_members": num_members, "dtype": dtype, "support": bounds}
    shapes |= {"weighted": trained.weight is not None, "params_dtype": str(jax.tree.leaves(trained.params)[0].dtype)}
    versions = {name: _version(name) for name in ("mdnjax", "jax", "flax")}
    words = {"shapes": shapes, "columns": columns and columns_as_json(columns), "versions": versions}
    texts = {name: json.dumps(value) for name, value in words.items()}
    checkpoint.save(path, trained, {"model": model.model_dump_json(), **texts})


def load(path: str | Path) -> Predictor:
    """A saved network as a function from inputs `[*batch, X]`, or from a table with its columns, to a `Mixture`.

    Raises: CheckpointError (a ValueError) if the file is missing, damaged, or none of ours.
    """
    metadata = checkpoint.read_metadata(Path(path))
    try:
        model = schema.Model.model_validate_json(metadata["model"])
        shapes = json.loads(metadata["shapes"])
        num_inputs, num_targets, dtype = shapes["num_inputs"], shapes["num_targets"], np.dtype(shapes["dtype"])
        num_members, weighted, params_dtype = shapes["num_members"], shapes["weighted"], np.dtype(shapes["params_dtype"])
        support, columns = _support_of(shapes["support"]), columns_from_json(json.loads(metadata["columns"]))
    except (KeyError, ValueError, TypeError, ValidationError):
        raise checkpoint.CheckpointError(f"{path}: the settings of its model cannot be read") from None
    params = _of_dtype(params_like(model, num_inputs, num_targets, num_members), params_dtype)
    units = (jax.ShapeDtypeStruct((size,), dtype) for size in (num_inputs, num_inputs, num_targets, num_targets))
    each = [jax.ShapeDtypeStruct((num_members,), dtype) if weighted else None] * 2
    like: Any = Trained(params, Scaler(*units, support), *each)  # pyright: ignore
    trained = checkpoint.load(Path(path), like)
    return Predictor(model, trained, columns)


def _of_dtype(tree: Any, dtype: np.dtype) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), tree)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from its folder
        return "not installed"


def params_like(model: schema.Model, num_inputs: int, num_targets: int, num_members: int) -> Params:
    """Shapes and dtypes of an ensemble's parameters."""
    one = jax.eval_shape(make_mdn(num_inputs, num_targets, **dict(model)).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype), one)


def untrained(model: schema.Model, scaler: Scaler, num_members: int = 1) -> Trained:
    """Networks whose parameters are all 0: what has the shapes of trained ones, before there are any."""
    like = params_like(model, scaler.x_mean.size, scaler.y_mean.size, num_members)
    return Trained(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like), scaler)


def _support_of(bounds: Any) -> Support | None:
    if bounds is None:
        return None
    ends = ((-math.inf, bounds[0]), (math.inf, bounds[1]))
    return Support(*(tuple(end if bound is None else float(bound) for bound in side) for end, side in ends))


def _mixture(shape: schema.Model, numbers: dict[str, Any], trained: Trained, x: AnyArray) -> Mixture:
    num_inputs, num_targets = _sizes(trained)
    scaler = trained.scaler
    x = (x - scaler.x_mean) / scaler.x_sd

    def apply(params: Params, scale_floor: Any) -> Mixture:
        own = numbers if scale_floor is None else {**numbers, "scale_floor": scale_floor}
        return make_mdn(num_inputs, num_targets, **dict(join(shape, own))).apply(params, x)

    if num_networks(trained) == 1:
        return to_data_units(scaler, apply(*jax.tree.map(lambda leaf: leaf[0], (trained.params, trained.scale_floor))))
    return to_data_units(scaler, pool(jax.vmap(apply)(trained.params, trained.scale_floor), trained.weight))


_predict = jax.jit(_mixture, static_argnums=0)


def _first(answer: Any, num: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:num], answer)


def some_networks(trained: Trained, chosen: Sequence[int] | np.ndarray) -> Trained:
    """An ensemble of some of the networks, their weights in the same proportion."""
    params, weight, floor = jax.tree.map(
        lambda leaf: np.asarray(leaf)[np.asarray(chosen)], (trained.params, trained.weight, trained.scale_floor)
    )
    return Trained(params, trained.scaler, None if weight is None else weight / weight.sum(), floor)


def pruned(trained: Trained) -> Trained:
    """The same ensemble without networks whose part is nothing."""
    if trained.weight is None:
        return trained
    return some_networks(trained, np.flatnonzero(np.asarray(trained.weight) >= LEAST_PART / num_networks(trained)))


def num_networks(trained: Trained) -> int:
    """Networks of an ensemble."""
    return jax.tree.leaves(trained.params)[0].shape[0]


def _sizes(trained: Trained) -> tuple[int, int]:
    return trained.scaler.x_mean.shape[0], trained.scaler.y_mean.shape[0]
