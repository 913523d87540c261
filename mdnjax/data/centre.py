"""Mean and standard deviation of the columns of a table, which are the units of training."""

from __future__ import annotations

import numpy as np

from mdnjax.data.dataset import mean_over_rows
from mdnjax.types import AnyArray, Float


def mean_and_sd(
    values: Float[AnyArray, "N C"], sd_of_constant: float, weight: Float[np.ndarray, " N"] | None = None
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Returns means and standard deviations of columns without overflow; a constant column has `sd_of_constant`."""
    wide = np.asarray(values, np.float64)
    largest = np.max(np.abs(wide), axis=0, initial=0)
    largest = np.where(largest > 0, largest, 1)
    mean, constant = mean_over_rows((wide / largest).T, weight) * largest, np.all(wide == wide[:1], axis=0)
    mean = np.where(constant, wide[0], mean)
    distance = wide - mean
    widest = np.max(np.abs(distance), axis=0, initial=0)
    widest = np.where(widest > 0, widest, 1)
    sd = np.sqrt(mean_over_rows(((distance / widest) ** 2).T, weight)) * widest
    return mean, np.where(constant, sd_of_constant, sd)
