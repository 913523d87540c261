"""Detects observations outside of the simulations, and rows outside of the rows, that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial import KDTree

from mdnjax.data.columns import blocks
from mdnjax.predictor import Predictor
from mdnjax.types import Bool, Float

MAX_QUERIES = 2000  # simulations whose distance to the nearest other one is computed


def outside(simulated: np.ndarray, observed: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    """Yields a sentence for each observation `[M, X]` that is farther from all simulations `[N, X]` than these are apart.

    Distances are in standard deviations of the simulations; `names` are the names of the X numbers of an observation.
    """
    wide = simulated.astype(np.float64)
    mean, sd = wide.mean(axis=0), wide.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    scaled = (wide - mean) / sd
    tree = KDTree(scaled)
    max_gap = tree.query(scaled[:: -(-len(scaled) // MAX_QUERIES)], k=2)[0][:, 1].max()
    distances = tree.query((observed - mean) / sd)[0]
    for number in np.flatnonzero(distances > max_gap):
        value, low, high = observed[number].astype(np.float64), wide.min(axis=0), wide.max(axis=0)
        beyond = np.maximum(low - value, value - high) / sd
        column = int(beyond.argmax())
        reason = f"{names[column]} is {value[column]:g}, but was simulated from {low[column]:g} to {high[column]:g}"
        if beyond[column] <= 0:
            reason = "each of its numbers is in the simulated range, but not in this combination"
        yield (
            f"observation {number + 1} is outside of what was simulated: the nearest simulation is {distances[number]:.2g} sd "
            f"away, while each simulation has another one within {max_gap:.2g} sd ({reason}); do not trust its posterior"
        )


def outside_of_training(predictor: Predictor, inputs: Float[np.ndarray, "N X"]) -> dict[str, Bool[np.ndarray, " N"]]:
    """Returns, for each column of the table, which rows have a value outside of the range of training, or an unseen category.

    `inputs` are those that `predictor.inputs` returns. Columns without such a row are left out. A row without any may still be a
    combination that training did not have.
    """
    scaler, found = predictor.scaler, {}
    with np.errstate(invalid="ignore"):  # a constant column, and one that is not standardised, have no range
        ends = np.stack([scaler.x_mean + scaler.x_sd * limit for limit in (scaler.x_low, scaler.x_high)])
        quarter = (ends[1] - ends[0]) / 4  # the limits are half of the range of training beyond it, on either side
        inner = ends[0] + quarter, ends[1] - quarter, 1e-6 * quarter
    for column, (name, block) in zip(predictor.columns.inputs, blocks(predictor.columns), strict=True):
        if column.categories is not None:
            is_outside = ~np.any(inputs[:, block] > 0, axis=1)
        else:
            low, high, margin = (values[block.start] for values in inner)
            value = inputs[:, block.start]
            is_outside = (value < low - margin) | (value > high + margin)
        if is_outside.any():
            found[name] = is_outside
    return found
