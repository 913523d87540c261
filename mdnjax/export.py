"""A trained model as one portable program: jax alone runs it, for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from mdnjax.config.numbers import split
from mdnjax.data.columns import Column
from mdnjax.data.scaler import relative_transform, transform_targets
from mdnjax.ensemble import mixture_of
from mdnjax.mixture import log_weights
from mdnjax.predictor import Predictor
from mdnjax.statistics import mean, quantile, variance
from mdnjax.types import Array, Float

PLATFORMS = ("cpu", "cuda")


def export_model(predictor: Predictor, *, quantiles: Sequence[float] = (), platforms: Sequence[str] = PLATFORMS) -> bytes:
    """A program from raw rows `[N, C]`, float64 and any N, to a dict of float64 arrays: `mean`, `sd`, and `quantiles` `[N, Q]` of
    a single target if any are asked for, in the target's own units; and the mixture over (y - offset) / factor, as `log_weights`,
    the fields of its components, and `offset` and `factor` `[N, D]`.

    A row has a number for each column of `predictor.columns`: of a column with categories the place of its category in their list
    (anything else is a category that training did not see), of a missing number nan.
    `jax.export.deserialize(program).call(rows)` runs it, without mdnjax and flax; `jax_enable_x64` must be on.
    """
    if not all(0 <= level <= 1 for level in quantiles):
        raise ValueError(f"quantiles: got {tuple(quantiles)}, expected numbers from 0 to 1")
    scaler, (shape, numbers) = predictor.scaler, split(predictor.model)
    dtype = jax.tree.leaves(predictor.networks.params)[0].dtype

    def answer(row: Float[Array, " C"]) -> dict[str, Array]:
        z = ((_inputs(predictor.columns.inputs, row) - scaler.x_mean) / scaler.x_sd).astype(dtype)
        mixture = mixture_of(shape, numbers, predictor.networks, z, len(scaler.y_offset))
        mixture = transform_targets(relative_transform(scaler), mixture)
        offset, factor = jnp.asarray(scaler.y_offset), jnp.asarray(scaler.y_factor)
        answers = {"mean": offset + factor * mean(mixture), "sd": factor * jnp.sqrt(variance(mixture))}
        if quantiles:
            answers["quantiles"] = (offset + factor * quantile(mixture, jnp.array(quantiles, dtype)))[..., 0]
        fields = getattr(mixture.component, "_asdict", dict)()
        fields = {name: value for name, value in fields.items() if hasattr(value, "shape")}
        return answers | {"log_weights": log_weights(mixture), "offset": offset, "factor": factor} | fields

    (rows,) = export.symbolic_shape("rows")
    with jax.enable_x64(True):
        like = jax.ShapeDtypeStruct((rows, len(predictor.columns.inputs)), np.dtype(np.float64))
        # a row at a time, mapped: blocks of rows need their number
        return bytes(export.export(jax.jit(jax.vmap(answer)), platforms=list(platforms))(like).serialize())


def _inputs(columns: Sequence[Column], row: Float[Array, " C"]) -> Float[Array, " X"]:
    """The inputs of the networks from the numbers of a row, as `to_inputs` makes them from a table."""
    parts = []
    for i, column in enumerate(columns):
        if column.categories is not None:
            parts += [jnp.where(row[i] == place, 1.0, 0.0) for place in range(len(column.categories))]
            continue
        missing = jnp.isnan(row[i])
        parts.append(row[i] if column.fill is None else jnp.where(missing, column.fill, row[i]))
        if column.marked:
            parts.append(jnp.where(missing, 1.0, 0.0))
    return jnp.stack(parts)
