"""Examples, their split into parts, and what is noticed about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mdnjax.types import Float

OUTLIER_DISTANCE = 1e4  # times the distance from the median that three quarters of the values keep


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


def rounding_step(rounding: float | str, y: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " D"]:
    """The step to which each target was rounded, as a configuration says or, by "auto", as the values show it; 0 if none."""
    return np.array([_step(column) if rounding == "auto" else float(rounding) for column in y.T])


def _step(values: Float[np.ndarray, " N"]) -> float:
    """The smallest distance between values that stand ten times each in the mean; 0 where they do not."""
    distinct = np.unique(values.astype(np.float64))
    return float(np.diff(distinct).min()) if 1 < len(distinct) <= len(values) / 10 else 0.0


def joined(*parts: Dataset) -> Dataset:
    """The rows of all parts, one after the other."""
    return Dataset(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def outlier_notes(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """A sentence for each column with a value so far out that it alone sets mean and sd, and so the units of training.

    Args: `names` are those of inputs and targets, if they have any; rows are counted from 1, as in a file.
    """
    for kind, values in (("input", dataset.x), ("target", dataset.y)):
        wide = values.astype(np.float64)
        middle = np.median(wide, axis=0)
        spread = np.quantile(np.abs(wide - middle), 0.75, axis=0)
        for column in np.flatnonzero(spread > 0):
            distance = np.abs(wide[:, column] - middle[column]) / spread[column]
            if distance.max() > OUTLIER_DISTANCE:
                row, place = int(distance.argmax()), column + (dataset.x.shape[1] if kind == "target" else 0)
                name = f"{kind} {names[int(place)]!r}" if names else f"{kind} {column}"
                yield (
                    f"{name} is {values[row, column]:g} in row {row + 1}, {distance[row]:.0g} times as far out as most: "
                    "it alone sets the units of training; mend or remove it if it is a mistake"
                )
