"""A trained network as one value and one file: parameters, the units they were trained in, and the settings that shape them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import ValidationError

from mdnjax import checkpoint
from mdnjax.components import Support
from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.data.dataset import Dataset, Scaler, to_data_units
from mdnjax.mixture import Mixture, log_prob
from mdnjax.model import make_mdn
from mdnjax.statistics import pool
from mdnjax.types import AnyArray, Array, Float, Params


class Trained(NamedTuple):
    """Parameters of the networks of an ensemble, which are the first axis, and the scaler of the data they were trained on."""

    params: Params
    scaler: Scaler


def predict(model: schema.Model, trained: Trained, x: Float[AnyArray, "*batch X"]) -> Mixture:
    """The mixture p(y|x) for every input, in the data's own units.

    Raises: ValueError if x has another number of inputs than the network.
    """
    num_inputs = _sizes(trained)[0]
    if x.ndim == 0 or x.shape[-1] != num_inputs:
        raise ValueError(f"x: got shape {x.shape}, expected [*batch, {num_inputs}]: the network has {num_inputs} inputs")
    shape, numbers = split(model)
    return _predict(shape, numbers, trained, x)


def nll(model: schema.Model, trained: Trained, dataset: Dataset) -> Float[Array, " N"]:
    """Negative log-likelihood of every example, in nats and the data's own units."""
    shape, numbers = split(model)
    return _nll(shape, numbers, trained, dataset)


def nll_of_member(shape: schema.Model, numbers: dict[str, Any], trained: Trained, dataset: Dataset) -> Float[Array, " N"]:
    """The same as a pure function of arrays, for the settings of a shape: to be compiled alone or spread over a population."""
    return -log_prob(_mixture(shape, numbers, trained, dataset.x), dataset.y)


_nll = jax.jit(nll_of_member, static_argnums=0)


def save_model(path: Path, model: schema.Model, trained: Trained) -> None:
    """Writes a trained network to one safetensors file, with its settings."""
    support = trained.scaler.support
    bounds = None if support is None else [[bound if math.isfinite(bound) else None for bound in side] for side in support]
    dtype, (num_inputs, num_targets) = str(trained.scaler.x_mean.dtype), _sizes(trained)
    num_members = num_networks(trained)
    shapes = {"num_inputs": num_inputs, "num_targets": num_targets, "num_members": num_members, "dtype": dtype, "support": bounds}
    checkpoint.save(path, trained, {"model": model.model_dump_json(), "shapes": json.dumps(shapes)})


def load(path: str | Path) -> Callable[[Float[AnyArray, "*batch X"]], Mixture]:
    """A saved network as a function from inputs `[*batch, X]` to a `Mixture`.

    Raises: CheckpointError (a ValueError) if the file is missing, damaged, or none of ours.
    """
    metadata = checkpoint.read_metadata(Path(path))
    try:
        model = schema.Model.model_validate_json(metadata["model"])
        shapes = json.loads(metadata["shapes"])
        num_inputs, num_targets, dtype = shapes["num_inputs"], shapes["num_targets"], np.dtype(shapes["dtype"])
        num_members = shapes["num_members"]
        support = _support_of(shapes["support"])
    except (KeyError, ValueError, TypeError, ValidationError):
        raise checkpoint.CheckpointError(f"{path}: the settings of its model cannot be read") from None
    params = params_like(model, num_inputs, num_targets, num_members)
    columns = (jax.ShapeDtypeStruct((size,), dtype) for size in (num_inputs, num_inputs, num_targets, num_targets))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), Trained(params, Scaler(*columns, support)))  # pyright: ignore
    trained = checkpoint.load(Path(path), like)
    return functools.partial(predict, model, trained)


def params_like(model: schema.Model, num_inputs: int, num_targets: int, num_members: int) -> Params:
    """Shapes and dtypes of an ensemble's parameters."""
    one = jax.eval_shape(make_mdn(num_inputs, num_targets, **dict(model)).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype), one)


def _support_of(bounds: Any) -> Support | None:
    if bounds is None:
        return None
    ends = ((-math.inf, bounds[0]), (math.inf, bounds[1]))
    return Support(*(tuple(end if bound is None else float(bound) for bound in side) for end, side in ends))


def _mixture(shape: schema.Model, numbers: dict[str, Any], trained: Trained, x: AnyArray) -> Mixture:
    num_inputs, num_targets = _sizes(trained)
    network = make_mdn(num_inputs, num_targets, **dict(join(shape, numbers)))
    scaler = trained.scaler
    x = (x - scaler.x_mean) / scaler.x_sd
    if num_networks(trained) == 1:
        return to_data_units(scaler, network.apply(jax.tree.map(lambda leaf: leaf[0], trained.params), x))
    return to_data_units(scaler, pool(jax.vmap(network.apply, (0, None))(trained.params, x)))


_predict = jax.jit(_mixture, static_argnums=0)


def num_networks(trained: Trained) -> int:
    """Networks of an ensemble."""
    return jax.tree.leaves(trained.params)[0].shape[0]


def _sizes(trained: Trained) -> tuple[int, int]:
    return trained.scaler.x_mean.shape[0], trained.scaler.y_mean.shape[0]
