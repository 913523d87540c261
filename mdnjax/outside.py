"""Whether an observation is among what was simulated: beyond it a network answers, but nobody knows what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial import KDTree

NUM_ASKED = 2000  # simulations whose distance from their nearest says how far apart simulations are


def outside(simulated: np.ndarray, observed: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    """A sentence for each observation `[M, X]` that is farther from all simulations `[N, X]` than these are from each other.

    Distances are in sds of the simulations; `names` are those of the X numbers of an observation.
    """
    wide = simulated.astype(np.float64)
    mean, sd = wide.mean(axis=0), wide.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    scaled = (wide - mean) / sd
    tree = KDTree(scaled)
    usual = tree.query(scaled[:: -(-len(scaled) // NUM_ASKED)], k=2)[0][:, 1].max()
    distances = tree.query((observed - mean) / sd)[0]
    for number in np.flatnonzero(distances > usual):
        value, low, high = observed[number].astype(np.float64), wide.min(axis=0), wide.max(axis=0)
        beyond = np.maximum(low - value, value - high) / sd
        column = int(beyond.argmax())
        reach = f"{names[column]} is {value[column]:g}, simulated from {low[column]:g} to {high[column]:g}"
        where = reach if beyond[column] > 0 else "each number of it is in the simulated range, but not with the others"
        yield (
            f"observation {number + 1} is outside of what was simulated: the nearest simulation is {distances[number]:.2g} sd "
            f"away, where each simulation has another within {usual:.2g} ({where}); do not trust its posterior"
        )
