"""Examples, their split into parts, and the change of units that networks are trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Support
from mdnjax.mixture import Mixture, affine, warp
from mdnjax.types import AnyArray, Float

FAR_OUT = 1e4  # times the distance from the median that three quarters of the values keep


class Dataset(NamedTuple):
    """Examples in their own units: inputs `x[N, X]` and targets `y[N, D]`."""

    x: Float[np.ndarray, "N X"]
    y: Float[np.ndarray, "N D"]


class Splits(NamedTuple):
    """What is trained on, what is watched or chosen by, and what is scored once at the end."""

    train: Dataset
    validation: Dataset
    test: Dataset


def draw_splits(
    draw: Callable[[list[int], int], Dataset], seed: int, *, num_train: int, num_validation: int, num_test: int
) -> Splits:
    """Independent draws for each part, `draw([seed, part], num)`; no part depends on the size of another."""
    return Splits(*(draw([seed, part], num) for part, num in enumerate((num_train, num_validation, num_test))))


class Truth(NamedTuple):
    """What is known exactly of a synthetic p(y|x), in nats and units of y; computed in float64.

    log_prob(x[N, X], y[N, D]) gives [N]; entropy() is E[-log p(y|x)]; floor_mse() is E[Var(y|x)], the smallest mean squared error
    of any predictor.
    """

    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray]
    entropy: Callable[[], float]
    floor_mse: Callable[[], float]


class Scaler(NamedTuple):
    """Means and standard deviations of inputs and targets, `[X]` and `[D]`; of targets with a support, those on its line."""

    x_mean: Float[AnyArray, " X"]
    x_sd: Float[AnyArray, " X"]
    y_mean: Float[AnyArray, " D"]
    y_sd: Float[AnyArray, " D"]
    support: Support | None = None


def make_support(target_support: str | tuple[Any, ...], num_targets: int) -> Support | None:
    """The support of so many targets by its name in a configuration: real (None), positive, (low, high), or a pair for each.

    Raises: ValueError if there are pairs for another number of targets.
    """
    if target_support == "real":
        return None
    if isinstance(target_support, str):
        target_support = (0.0, np.inf)
    several = isinstance(target_support[0], tuple)
    pairs = target_support if several else (target_support,) * num_targets
    if len(pairs) != num_targets:
        raise ValueError(f"got {len(pairs)} pairs of bounds, expected one for each of {num_targets} targets")
    return Support(tuple(float(low) for low, _ in pairs), tuple(float(high) for _, high in pairs))


def make_scaler(dataset: Dataset, standardise: bool, support: Support | None = None) -> Scaler:
    """The scaler that gives a data set mean 0 and sd 1, or the one that changes nothing; a constant column keeps its scale.

    Raises: ValueError if a target is not inside of its support.
    """
    dataset = Dataset(dataset.x, _on_line(support, dataset.y))
    if not standardise:
        (num_inputs, num_targets), dtype = (dataset.x.shape[1], dataset.y.shape[1]), dataset.x.dtype
        x, y = ((np.zeros(n, dtype), np.ones(n, dtype)) for n in (num_inputs, num_targets))
        return Scaler(*x, *y, support)
    return Scaler(*_mean_and_sd(dataset.x), *_mean_and_sd(dataset.y), support)


def least_scale(rounding: float | str, scaler: Scaler, y: Float[np.ndarray, "N D"]) -> float:
    """The sd of what rounding takes away from the targets, step / sqrt(12), in units of training; the least of several targets.

    On a support, where a step is not of one size, none.
    """
    if scaler.support is not None or rounding == 0:
        return 0.0
    steps = [_step(column) if rounding == "auto" else float(rounding) for column in y.T]
    return float(np.min(np.array(steps) / np.sqrt(12) / scaler.y_sd))


def _step(values: Float[np.ndarray, " N"]) -> float:
    """The smallest distance between values that stand ten times each in the mean; 0 where they do not."""
    distinct = np.unique(values.astype(np.float64))
    return float(np.diff(distinct).min()) if 1 < len(distinct) <= len(values) / 10 else 0.0


def joined(*parts: Dataset) -> Dataset:
    """The rows of all parts, one after the other."""
    return Dataset(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def far_out(dataset: Dataset) -> Iterator[str]:
    """A sentence for each column with a value so far out that it alone sets mean and sd, and so the units of training."""
    for name, values in (("input", dataset.x), ("target", dataset.y)):
        wide = values.astype(np.float64)
        middle = np.median(wide, axis=0)
        spread = np.quantile(np.abs(wide - middle), 0.75, axis=0)
        for column in np.flatnonzero(spread > 0):
            distance = np.abs(wide[:, column] - middle[column]) / spread[column]
            if distance.max() > FAR_OUT:
                row = int(distance.argmax())
                yield (
                    f"{name} {column} of row {row} is {values[row, column]:g}, {distance[row]:.0g} times as far out as most: "
                    "it alone sets the units of training; mend or remove it if it is a mistake"
                )


def to_training_units(scaler: Scaler, dataset: Dataset) -> Dataset:
    """The data set in the units of training.

    Raises: ValueError if a target is not inside of its support.
    """
    y = _on_line(scaler.support, dataset.y)
    return Dataset((dataset.x - scaler.x_mean) / scaler.x_sd, (y - scaler.y_mean) / scaler.y_sd)


def nats_to_data_units(scaler: Scaler, dataset: Dataset) -> float:
    """What the mean NLL of a data set grows by from the units of training to the data's own: the mean log |dy/dz|."""
    offset = np.sum(np.log(np.asarray(scaler.y_sd, np.float64)))
    if scaler.support is None:
        return float(offset)
    slopes = scaler.support.log_slope(scaler.support.to_line(jnp.asarray(dataset.y), axis=1), axis=1)
    return float(offset - np.mean(np.sum(np.asarray(slopes, np.float64), axis=1)))


def to_data_units(scaler: Scaler, mixture: Mixture) -> Mixture:
    """A mixture over scaled targets as one over targets in their own units; the density's Jacobian comes with it."""
    on_line = affine(mixture, scaler.y_mean, scaler.y_sd)
    return on_line if scaler.support is None else warp(on_line, scaler.support)


def _on_line(support: Support | None, y: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    if support is None:
        return y
    u = np.asarray(support.to_line(jnp.asarray(y), axis=1))
    if not np.isfinite(u).all():
        row, target = np.argwhere(~np.isfinite(u))[0]
        bounds = f"{support.low[target]:g} < y < {support.high[target]:g}"
        raise ValueError(f"got a target of {y[row, target]:g} (row {row} from 0), expected {bounds}")
    return u


def _mean_and_sd(values: Float[np.ndarray, "N C"]) -> tuple[np.ndarray, np.ndarray]:
    wide = values.astype(np.float64)
    sd = wide.std(axis=0)
    return wide.mean(axis=0).astype(values.dtype), np.where(sd > 0, sd, 1).astype(values.dtype)
