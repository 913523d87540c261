"""Rows of which the target is only known to be at least, or at most, a number: their words, and where their targets may be.

A censored row has the likelihood P(Y > y|x), or P(Y < y|x), which is right if how long a row is observed does not depend on its
target, given its inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from mdnjax.data.values import MAX_SHOWN, ROW, TableError, is_missing, unmasked
from mdnjax.types import Float, Int

SIDES = {"observed": 0, "1": 0, "1.0": 0, "true": 0, "right": 1, "0": 1, "0.0": 1, "false": 1, "left": -1}
EXPECTED = "1 or observed, 0 or right (the true value is at least as large), or left (at most as large)"
NUM_ITERATIONS = 100
SHARE_OF_SD = 0.5  # of the other targets: how far those beyond all of them are spread, since the inputs explain a part of that


def sides_of(name: str, event: Any, num_rows: int) -> Int[np.ndarray, " N"] | None:
    """Returns 0 where a target is observed, 1 where the true one is at least as large, and -1 where it is at most as large.

    It is None if all targets are observed.
    Args: `event` says by numbers, truth values or texts which targets are observed, as in tables of survival times: 1 or
    "observed" are, 0 or "right" are at least as large, and "left" are at most as large.
    Raises: TableError, with the row, if a value is another one, or no target is observed; ValueError for another shape.
    """
    values = unmasked(event)
    if values.shape != (num_rows,):
        raise ValueError(f"{name}: got shape {values.shape}, expected [{num_rows}]: a value for each row")
    found, place = np.unique([_word(value) for value in values.tolist()], return_inverse=True)
    sides = np.array([SIDES.get(word, 2) for word in found])[place]
    if (wrong := sides == 2).any():
        row = int(wrong.argmax())
        got, hint = "nothing" if is_missing(values[row]) else repr(str(values[row])[:MAX_SHOWN]), ""
        if set(found.tolist()) <= {"1", "1.0", "2", "2.0"}:
            hint = "; if 1 means censored and 2 an event, subtract 1"
        raise TableError(f"{name}, row {ROW}: got {got}, expected {EXPECTED}{hint}", row)
    if (sides != 0).all():
        raise TableError(f"{name}: got a censored target in every row, expected some that are observed")
    return sides if sides.any() else None


def drawn_beyond(
    y: Float[np.ndarray, " N"], censoring: Int[np.ndarray, " N"], weight: Float[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, " N"]:
    """Returns targets of which the censored ones are drawn from the estimated law of all targets beyond them.

    The law is the one that maximises the likelihood of the targets without inputs: the estimator of Kaplan and Meier, and with
    censoring on both sides that of Turnbull. A target beyond all observed ones gets a number of the tail of a Gaussian. The
    random numbers are the same in every call.
    Source: Efron (1967), The two sample problem with censored data, for the iteration; Turnbull (1974).
    """
    is_observed, weight = censoring == 0, np.ones(len(y)) if weight is None else weight
    values, place = np.unique(y[is_observed], return_inverse=True)
    points = np.concatenate([[-np.inf], values, [np.inf]])
    first = np.where(censoring > 0, np.searchsorted(points, y, "right"), 0)  # the points that the target of a row may have
    last = np.where(censoring < 0, np.searchsorted(points, y, "left"), len(points))
    known = np.concatenate([[0.0], np.bincount(place.ravel(), weight[is_observed]), [0.0]])
    first, last, of_censored = (array[~is_observed] for array in (first, last, weight))
    below = _distribution(known, first, last, of_censored)
    u = below[first] + np.random.default_rng(0).random(len(first)) * (below[last] - below[first])
    drawn = y.astype(np.float64)
    drawn[~is_observed] = points[np.clip(np.searchsorted(below, u, "right") - 1, first, last - 1)]
    sd = SHARE_OF_SD * float(np.std(values))
    for sign, bound in ((1, np.maximum(y, values[-1])), (-1, np.minimum(y, values[0]))):
        rows = drawn == sign * np.inf
        drawn[rows] = bound[rows] + sign * sd * gaussian_tail(int(rows.sum()), float(rows.mean()))
    return drawn.astype(y.dtype)


def gaussian_tail(num: int, share: float) -> Float[np.ndarray, " num"]:
    """Returns numbers in random order, the distances from its lower end of the upper tail of a Gaussian with this probability."""
    order = np.random.default_rng(0).permutation(num)
    return ndtri(share) - ndtri(share * (order + 0.5) / num) if num else np.zeros(0)


def _distribution(
    known: Float[np.ndarray, " P"], first: Int[np.ndarray, " n"], last: Int[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " Q"]:
    """Returns the estimated probability below each point, and 1: each censored row is shared out among its points.

    Args: `known` are the weights of the observed rows at each point; the points of a censored row are those from `first` to the
    one before `last`.
    """
    only = last - first == 1  # beyond all observed rows, where no other row puts the first mass
    mass = known + np.bincount(first[only], weight[only], len(known))
    for _ in range(NUM_ITERATIONS):
        below = np.append(0, np.cumsum(mass / mass.sum()))
        share = weight / np.maximum(below[last] - below[first], np.finfo(float).tiny)
        starts, ends = (np.bincount(at, share, len(below)) for at in (first, last))
        mass = known + mass / mass.sum() * np.cumsum(starts - ends)[:-1]
    return np.append(0, np.cumsum(mass / mass.sum()))


def _word(value: Any) -> str:
    return str(value).strip().casefold()
