"""Exports a trained model as one portable program, which jax alone runs for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from mdnjax.config.numbers import split
from mdnjax.conformity import TAIL
from mdnjax.data.columns import Column
from mdnjax.data.dates import date_inputs
from mdnjax.data.examples import as_probabilities
from mdnjax.data.scaler import relative_transform, relative_units, transform_targets
from mdnjax.ensemble import mixture_of
from mdnjax.mixed import atom_probabilities_of_row
from mdnjax.mixture import Mixture, log_weights
from mdnjax.predictor import Predictor
from mdnjax.statistics import quantile
from mdnjax.types import Array, Float

PLATFORMS = ("cpu", "cuda")


def export_model(
    predictor: Predictor,
    *,
    quantiles: Sequence[float] = (),
    guarantee: Sequence[float] = (),
    platforms: Sequence[str] = PLATFORMS,
) -> bytes:
    """Returns a program from raw rows `[N, C]`, float64 and any N, to a dict of arrays.

    `mean` and `sd` `[N, D]`, and `quantiles` `[N, Q]` of a single target at the given probabilities, are float64 in the targets'
    own units, those of rounded targets on a lattice, and of targets with their atoms. `intervals` `[N, L, 2]` are those of
    `guaranteed_intervals` at the levels `guarantee`, for one target; groups may be those of a column. `probabilities` `[N, A]`
    are those of the atoms, if there are any, in the order of `predictor.observed.values`. The mixture over (y - offset) / factor
    is given by `log_weights`, the fields of its components, and `offset` and `factor` `[N, D]`; it is that before recalibration,
    while `mean`, `sd` and `quantiles` are those after it.
    A row has a number for each column of `predictor.columns.inputs`: for a category its index in `column.categories` (any other
    number is a category that training did not see), for a date the days since 1970-01-01, for a missing number or date nan.
    `jax.export.deserialize(program).call(rows)` runs it, without mdnjax and flax; `jax_enable_x64` must be on.
    """
    levels, limits = as_probabilities("quantiles", quantiles), _limits(predictor, guarantee)
    scaler, (shape, numbers) = predictor.scaler, split(predictor.model)
    dtype = jax.tree.leaves(predictor.networks.params)[0].dtype

    def predict_row(row: Float[Array, " C"]) -> dict[str, Array]:
        z = (_inputs(predictor.columns.inputs, row) - scaler.x_mean) / scaler.x_sd
        z = jnp.clip(z, scaler.x_low, scaler.x_high).astype(dtype)
        mixture = mixture_of(shape, numbers, predictor.networks, z, len(scaler.y_offset))
        mixture = transform_targets(relative_transform(scaler), mixture)
        offset, factor = jnp.asarray(scaler.y_offset), jnp.asarray(scaler.y_factor)
        moments = predictor.observed.moments_of_row(mixture, relative_units(scaler))
        statistics = {"mean": moments[0], "sd": jnp.sqrt(moments[1])}
        if len(levels):
            found = predictor.observed.mixture_quantiles(mixture, levels)
            statistics["quantiles"] = predictor.observed.quantiles(offset + factor * found)
        if limits.shape[1]:
            place = _group_place(predictor, row)
            statistics["intervals"] = offset + factor * _ends(mixture, jnp.asarray(limits)[place])[..., None]
            statistics["intervals"] = predictor.observed.quantiles(statistics["intervals"])[..., 0]
        if predictor.observed.atoms is not None:
            statistics["probabilities"] = atom_probabilities_of_row(mixture, relative_units(scaler), predictor.observed.atoms)
        fields = getattr(mixture.component, "_asdict", dict)()
        fields = {name: value for name, value in fields.items() if hasattr(value, "shape")}
        return statistics | {"log_weights": log_weights(mixture), "offset": offset, "factor": factor} | fields

    (rows,) = export.symbolic_shape("rows")
    with jax.enable_x64(True):
        like = jax.ShapeDtypeStruct((rows, len(predictor.columns.inputs)), np.dtype(np.float64))
        # vmap of a single row, since code that computes in blocks needs to know the number of rows
        return bytes(export.export(jax.jit(jax.vmap(predict_row)), platforms=list(platforms))(like).serialize())


def _limits(predictor: Predictor, levels: Sequence[float]) -> Float[np.ndarray, "G L"]:
    """Returns the thresholds of central intervals with a guarantee, for each group."""
    probabilities = as_probabilities("guarantee", levels)
    if not len(probabilities):
        return np.zeros((1, 0))
    scores = predictor.conformal
    with_labels = scores is not None and scores.column is None and len(scores.names) > 1
    if scores is None or with_labels or len(predictor.columns.targets) > 1:
        raise ValueError(
            "guarantee: got a predictor without scores of one target, or in groups of labels, expected scores of one target in "
            "one group, or in those of a column"
        )
    groups = np.arange(len(scores.names))
    return np.stack([scores.thresholds(scores.central[:, 0], float(level), groups) for level in probabilities], axis=1)


def _group_place(predictor: Predictor, row: Float[Array, " C"]) -> Any:
    """Returns the place of a row's group among those of the predictor's scores."""
    name = predictor.conformal and predictor.conformal.column
    if name is None:
        return 0
    index, column = next((i, column) for i, column in enumerate(predictor.columns.inputs) if column.name == name)
    num = len(column.categories or ())
    known = (row[index] >= 0) & (row[index] < num) & (row[index] == jnp.floor(row[index]))
    return jnp.where(known, row[index], num).astype(int)


def _ends(mixture: Mixture, limits: Float[Array, " L"]) -> Float[Array, "L 2"]:
    """Returns the ends of intervals with these thresholds for one row, as `mdnjax.conformity.ends_at` does for many."""
    share = jnp.clip(limits, TAIL, 1 - TAIL)
    levels = jnp.concatenate([1 - share, share, jnp.array([0.25, 0.75])]).astype(mixture.logits.dtype)
    found = quantile(mixture, levels)[..., 0]
    low, high, (first, third) = found[: len(limits)], found[len(limits) : -2], found[-2:]
    beyond = jnp.maximum(limits - 1, 0) * (third - first)
    return jnp.stack([low - beyond, high + beyond], axis=-1)


def _inputs(columns: Sequence[Column], row: Float[Array, " C"]) -> Float[Array, " X"]:
    """Converts the numbers of a row to inputs of the networks, as `to_inputs` converts a table."""
    parts = []
    for i, column in enumerate(columns):
        if column.categories is not None:
            parts += [jnp.where(row[i] == index, 1.0, 0.0) for index in range(len(column.categories))]
            continue
        missing = jnp.isnan(row[i])
        number = row[i] if column.fill is None else jnp.where(missing, column.fill, row[i])
        parts += date_inputs(number, column.dates, jnp) if column.dates else [number]
        if column.marked:
            parts.append(jnp.where(missing, 1.0, 0.0))
    return jnp.stack(parts)
