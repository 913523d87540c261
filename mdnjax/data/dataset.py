"""Examples, their split into parts, and notes on outliers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mdnjax.types import Float

MIN_OUTLIER_DISTANCE = 1e4  # from the median, in units of the distance within which three quarters of the values are


class Dataset(NamedTuple):
    """Examples in their own units: inputs `x[N, X]` and targets `y[N, D]`."""

    x: Float[np.ndarray, "N X"]
    y: Float[np.ndarray, "N D"]


class Splits(NamedTuple):
    """Rows to train on, rows to stop and select by, and rows to score once at the end."""

    train: Dataset
    validation: Dataset
    test: Dataset


def draw_splits(
    draw: Callable[[list[int], int], Dataset], seed: int, *, num_train: int, num_validation: int, num_test: int
) -> Splits:
    """Draws each part by `draw([seed, part], num)`, so that no part depends on the size of another."""
    return Splits(*(draw([seed, part], num) for part, num in enumerate((num_train, num_validation, num_test))))


class Truth(NamedTuple):
    """Exact properties of a synthetic p(y|x), in nats and units of y, computed in float64.

    log_prob(x[N, X], y[N, D]) returns [N]; entropy() is E[-log p(y|x)]; floor_mse() is E[Var(y|x)], the smallest mean squared
    error of any predictor.
    """

    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray]
    entropy: Callable[[], float]
    floor_mse: Callable[[], float]


def rounding_step(rounding: float | str, y: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " D"]:
    """Returns the step to which each target was rounded, 0 if none: the given one, or with "auto" one found from the values."""
    return np.array([_step(column) if rounding == "auto" else float(rounding) for column in y.T])


def _step(values: Float[np.ndarray, " N"]) -> float:
    """Returns the smallest distance between values if each occurs ten times on average, else 0."""
    distinct = np.unique(values.astype(np.float64))
    return float(np.diff(distinct).min()) if 1 < len(distinct) <= len(values) / 10 else 0.0


def joined(*parts: Dataset) -> Dataset:
    """Concatenates the rows of all parts."""
    return Dataset(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def outlier_notes(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yields a sentence for each column with an outlier so large that it alone determines mean and sd, the units of training.

    Args: `names` are those of the inputs and targets. Rows are counted from 1, as in a file.
    """
    for kind, values in (("input", dataset.x), ("target", dataset.y)):
        wide = values.astype(np.float64)
        median = np.median(wide, axis=0)
        spread = np.quantile(np.abs(wide - median), 0.75, axis=0)
        for column in np.flatnonzero(spread > 0):
            distance = np.abs(wide[:, column] - median[column]) / spread[column]
            if distance.max() > MIN_OUTLIER_DISTANCE:
                row, index = int(distance.argmax()), column + (dataset.x.shape[1] if kind == "target" else 0)
                name = f"{kind} {names[int(index)]!r}" if names else f"{kind} {column}"
                yield (
                    f"{name} is {values[row, column]:g} in row {row + 1}, {distance[row]:.0g} times as far from the median "
                    "as most values: it alone determines the units of training; correct or remove it if it is an error"
                )
