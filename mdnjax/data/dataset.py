"""Examples, their split into parts, and the change of units that networks are trained in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mdnjax.mixture import Mixture, affine
from mdnjax.types import AnyArray, Float


class Dataset(NamedTuple):
    """Examples in their own units: inputs `x[N, X]` and targets `y[N, D]`."""

    x: Float[np.ndarray, "N X"]
    y: Float[np.ndarray, "N D"]


class Splits(NamedTuple):
    """What is trained on, what is watched or chosen by, and what is scored once at the end."""

    train: Dataset
    validation: Dataset
    test: Dataset


class Truth(NamedTuple):
    """What is known exactly of a synthetic p(y|x), in nats and units of y; computed in float64.

    log_prob(x[N, X], y[N, D]) gives [N]; entropy() is E[-log p(y|x)]; floor_mse() is E[Var(y|x)], the smallest mean squared error
    of any predictor.
    """

    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray]
    entropy: Callable[[], float]
    floor_mse: Callable[[], float]


class Scaler(NamedTuple):
    """Means and standard deviations of inputs and targets, `[X]` and `[D]`."""

    x_mean: Float[AnyArray, " X"]
    x_sd: Float[AnyArray, " X"]
    y_mean: Float[AnyArray, " D"]
    y_sd: Float[AnyArray, " D"]


def make_scaler(dataset: Dataset, standardise: bool) -> Scaler:
    """The scaler that gives a data set mean 0 and sd 1, or the one that changes nothing; a constant column keeps its scale."""
    if not standardise:
        (num_inputs, num_targets), dtype = (dataset.x.shape[1], dataset.y.shape[1]), dataset.x.dtype
        return Scaler(*(f(n, dtype) for n in (num_inputs, num_targets) for f in (np.zeros, np.ones)))
    return Scaler(*_mean_and_sd(dataset.x), *_mean_and_sd(dataset.y))


def to_training_units(scaler: Scaler, dataset: Dataset) -> Dataset:
    """The data set in the units of training."""
    return Dataset((dataset.x - scaler.x_mean) / scaler.x_sd, (dataset.y - scaler.y_mean) / scaler.y_sd)


def to_data_units(scaler: Scaler, mixture: Mixture) -> Mixture:
    """A mixture over scaled targets as one over targets in their own units; the density's Jacobian, 1 / y_sd, comes with it."""
    return affine(mixture, scaler.y_mean, scaler.y_sd)


def _mean_and_sd(values: Float[np.ndarray, "N C"]) -> tuple[np.ndarray, np.ndarray]:
    wide = values.astype(np.float64)
    sd = wide.std(axis=0)
    return wide.mean(axis=0).astype(values.dtype), np.where(sd > 0, sd, 1).astype(values.dtype)
