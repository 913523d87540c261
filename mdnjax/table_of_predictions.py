"""Predictions for the rows of a table as a data frame, also lazily for the partitions of a data frame of Dask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdnjax.data.examples import as_probabilities
from mdnjax.data.scaler import relative_transform, relative_units
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.predictor import Predictor
from mdnjax.statistics import marginal

LEVELS = (0.05, 0.5, 0.95)


def predict_table(predictor: Predictor, table: Any, quantiles: Sequence[float] = LEVELS) -> Any:
    """Returns the mean, the standard deviation and quantiles of each row's targets, as a data frame with the table's index.

    The columns are `mean`, `sd` and `quantile_0.05` and so on; with several targets, each begins with the target's name. The
    partitions of a data frame of Dask are predicted when they are computed, and the result is again one of Dask. Statistics are
    float64, in the units of the targets.
    Args: `table` is a data frame of pandas or of Dask, or what `predictor` takes; `quantiles` are probabilities from 0 to 1.
    Raises: TableError (a ValueError) for rows that the predictor cannot take; ValueError for wrong probabilities.
    """
    levels = as_probabilities("quantiles", quantiles)
    if hasattr(table, "map_partitions"):
        from dask.delayed import delayed  # pyright: ignore[reportMissingImports]

        # One task holds the predictor for all partitions, which would else contain it several times.
        shared, empty = delayed(predictor), _frame(predictor, table._meta, levels)
        return table.map_partitions(_of_partition, shared, levels, meta=empty)
    return _frame(predictor, table, levels)


def _of_partition(partition: Any, predictor: Predictor, levels: np.ndarray) -> Any:
    return _frame(predictor, partition, levels)


def _frame(predictor: Predictor, table: Any, levels: np.ndarray) -> Any:
    import pandas

    targets, scaler = predictor.columns.targets, predictor.scaler
    prefixes = [f"{name}_" if len(targets) > 1 else "" for name in targets]

    def columns_of(mixture: Mixture) -> dict[str, np.ndarray]:
        columns = {}
        for target, prefix in enumerate(prefixes):
            single = marginal(mixture, [target]) if len(targets) > 1 else mixture
            found = _of_target(predictor.observed.select(target), relative_units(scaler).select(target), single, levels)
            columns |= {prefix + name: column for name, column in found.items()}
        return columns

    columns = predictor.map_rows(columns_of, predictor.inputs(table), transform=relative_transform(scaler))
    names = [prefix + name for prefix in prefixes for name in ("mean", "sd", *map(_name, levels))]
    return pandas.DataFrame({name: columns[name] for name in names}, index=getattr(table, "index", None))


def _of_target(observed: Observed, units: Units, mixture: Mixture, levels: np.ndarray) -> dict[str, np.ndarray]:
    means, variances = observed.moments(mixture, units)
    columns = {"mean": means[:, 0], "sd": np.sqrt(variances[:, 0])}
    values = observed.quantiles(units.absolute(observed.mixture_quantiles(mixture, levels)[..., None]))[..., 0]
    return columns | {_name(level): values[:, i] for i, level in enumerate(levels)}


def _name(level: float) -> str:
    return f"quantile_{float(level)!r}"
