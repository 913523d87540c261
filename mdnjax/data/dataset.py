"""Examples and their split into parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mdnjax.types import AnyArray, Bool, Float, Int


class Dataset(NamedTuple):
    """Examples: inputs `x[N, X]`, targets `y[N, D]`, and how much each row counts (None: all the same).

    In units of training, targets on a lattice also have the ends of their cells `cells[N, 2, D]`. If only some targets have
    cells, those that are atoms or censored, `exact` marks the others. In the data's own units, `censoring` is 0 where the single
    target is observed, 1 where the true one is known to be y or more, and -1 where it is y or less (None: all are observed).
    """

    x: Float[np.ndarray, "N X"]
    y: Float[np.ndarray, "N D"]
    weight: Float[np.ndarray, " N"] | None = None
    cells: Float[np.ndarray, "N 2 D"] | None = None
    exact: Bool[np.ndarray, "N D"] | None = None
    censoring: Int[np.ndarray, " N"] | None = None


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
    """Concatenates the rows of all parts, which all have weights, or none of them."""
    columns = zip(*parts, strict=True)
    return Dataset(*(None if column[0] is None else np.concatenate(column) for column in columns))  # pyright: ignore


def select_rows(dataset: Dataset, rows: np.ndarray | slice) -> Dataset:
    """Returns some rows of a data set, given by their numbers, by a mask or by a slice."""
    return Dataset(*(None if column is None else column[rows] for column in dataset))  # pyright: ignore


def observed_rows(dataset: Dataset) -> Int[np.ndarray, " n"] | slice:
    """Returns the numbers of the rows whose targets are not censored, or a slice of all rows."""
    return slice(None) if dataset.censoring is None else np.flatnonzero(dataset.censoring == 0)


def mean_over_rows(values: Float[AnyArray, "*shape N"], weight: Float[AnyArray, " N"] | None = None) -> Any:
    """Returns the mean over the last axis, sum_n w_n v_n / sum_n w_n, in float64."""
    return np.average(np.asarray(values, np.float64), axis=-1, weights=weight)
