"""Mean, standard deviation and range of the columns of a table, which are the units of training, without wild values.

A value is wild if it is ten times as far from the median as any value that is not wild; at most one row in fifty is. Nearly all
columns have no wild value, since even those with heavy tails have no such gap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mdnjax.data.dataset import mean_over_rows
from mdnjax.types import AnyArray, Bool, Float

MIN_WILD_RATIO = 10.0  # of the distance of a wild value from the median to that of any other value
MAX_WILD_SHARE = 0.02  # of the rows: what is more frequent belongs to the data
MIN_ROWS = 20  # in fewer rows no value is called wild
# If at most one row in fifty is wild, a wild value is at least 5.7 standard deviations from the mean of all values.
MIN_WILD_SDS = 5.0


class Centre(NamedTuple):
    """Means and standard deviations of columns, and the smallest and largest values that are not wild."""

    mean: Float[np.ndarray, " C"]
    sd: Float[np.ndarray, " C"]
    low: Float[np.ndarray, " C"]
    high: Float[np.ndarray, " C"]


def centre_of(values: Float[AnyArray, "N C"], sd_of_constant: float, weight: Float[np.ndarray, " N"] | None = None) -> Centre:
    """Returns the centres of columns, without overflow and without wild values; a constant column has `sd_of_constant`."""
    wide = np.asarray(values, np.float64)
    mean, sd = _mean_and_sd(wide, weight)
    low, high = np.min(wide, axis=0), np.max(wide, axis=0)
    wild = wild_values(wide)
    for column in np.flatnonzero(wild.any(axis=0)):
        tame = ~wild[:, column]
        single = wide[tame][:, [column]]
        (mean[column],), (sd[column],) = _mean_and_sd(single, None if weight is None else weight[tame])
        low[column], high[column] = single.min(), single.max()
    return Centre(mean, np.where(low == high, sd_of_constant, sd), low, high)


def wild_values(values: Float[AnyArray, "N C"]) -> Bool[np.ndarray, "N C"]:
    """Returns which values are wild.

    A column of which three quarters are one and the same value has none: most of its values have no distance to compare with.
    """
    wide = np.asarray(values, np.float64)
    wild, max_wild = np.zeros(wide.shape, bool), max(1, int(MAX_WILD_SHARE * len(wide)))
    if len(wide) < MIN_ROWS:
        return wild
    mean, sd = _mean_and_sd(wide, None)
    farthest = np.maximum(np.max(wide, axis=0) - mean, mean - np.min(wide, axis=0))
    for column in np.flatnonzero(farthest > MIN_WILD_SDS * sd):  # the others are not sorted, which takes most time
        distance = np.abs(wide[:, column] - np.median(wide[:, column]))
        ranked = np.sort(distance)
        last, before = ranked[-max_wild:], ranked[-max_wild - 1 : -1]
        is_gap = last >= MIN_WILD_RATIO * before
        if ranked[(3 * len(ranked)) // 4] > 0 and is_gap.any():
            wild[:, column] = distance >= last[is_gap.argmax()]
    return wild


def without_wild_values(values: Float[AnyArray, "N C"], wild: Bool[np.ndarray, "N C"]) -> Float[AnyArray, "N C"]:
    """Returns the values with each wild one replaced by the nearest one of its column that is not wild."""
    low, high = np.min(values, axis=0, where=~wild, initial=np.inf), np.max(values, axis=0, where=~wild, initial=-np.inf)
    return np.where(wild, np.clip(values, low, high), values)


def offset_and_factor(
    y: Float[np.ndarray, " N"], low: float, high: float, weight: Float[np.ndarray, " N"] | None
) -> tuple[float, float]:
    """Returns offset and factor of one target: its mean and sd without bounds, one bound and the geometric mean of the distance
    from it, or the lower of two bounds and the distance between them."""
    if math.isfinite(low) and math.isfinite(high):
        return low, high - low
    if math.isfinite(low) or math.isfinite(high):
        bound = low if math.isfinite(low) else high
        return bound, float(np.exp(mean_over_rows(np.log(np.abs(y - bound)), weight)))
    centre = centre_of(y[:, None], 1.0, weight)
    return float(centre.mean[0]), float(centre.sd[0])


def _mean_and_sd(wide: Float[np.ndarray, "N C"], weight: Float[np.ndarray, " N"] | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations; the mean of a constant column is exactly its value."""
    largest = np.max(np.abs(wide), axis=0, initial=0)
    largest = np.where(largest > 0, largest, 1)
    mean, constant = mean_over_rows((wide / largest).T, weight) * largest, np.all(wide == wide[:1], axis=0)
    mean = np.where(constant, wide[0], mean)
    distance = wide - mean
    widest = np.max(np.abs(distance), axis=0, initial=0)
    widest = np.where(widest > 0, widest, 1)
    return mean, np.sqrt(mean_over_rows(((distance / widest) ** 2).T, weight)) * widest
