"""Detects observations outside of the simulations that a network was trained on, where its predictions mean nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial import KDTree

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
