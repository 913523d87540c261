"""Which columns a prediction rests on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mdnjax.data import Dataset
from mdnjax.data.columns import Columns, blocks
from mdnjax.types import AnyArray

NUM_SHUFFLES = 5
MOST_ROWS = 5000


def importance(nll: Callable[[Dataset], AnyArray], columns: Columns, test: Dataset, seed: int) -> dict[str, np.ndarray]:
    """By how much the mean NLL rises when a column is shuffled among the rows: `[NUM_SHUFFLES]` for each column, in nats.

    Columns that tell the same are each worth little here, for the other still tells it. Source: Breiman (2001), section 10.
    """
    test = Dataset(test.x[:MOST_ROWS], test.y[:MOST_ROWS])
    generator, before = np.random.default_rng(seed), float(np.mean(np.asarray(nll(test)), dtype=np.float64))
    rises = {}
    for name, block in blocks(columns):
        after = []
        for _ in range(NUM_SHUFFLES):
            x = test.x.copy()
            x[:, block] = x[generator.permutation(len(x)), block]
            after.append(float(np.mean(np.asarray(nll(Dataset(x, test.y))), dtype=np.float64)) - before)
        rises[name] = np.array(after)
    return rises
