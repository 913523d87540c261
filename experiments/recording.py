"""How targets are recorded in the simulations that check guarantees and slices: as they are, rounded, or clipped at 0."""

from __future__ import annotations

import numpy as np

from mdnjax.data.atoms import atoms_of
from mdnjax.data.lattice import Lattice
from mdnjax.observed import PLAIN, Observed


def record(recorded: str, y: np.ndarray) -> tuple[np.ndarray, Observed]:
    """Returns targets as they are recorded ("rounded", "clipped", or anything else), and the kind of values that they have."""
    if recorded == "rounded":
        y = np.rint(y)
        return y, Observed(Lattice(np.ones(1), np.array([y.min()]), np.array([y.max()])))
    if recorded == "clipped":
        y = np.maximum(y, 0)
        return y, Observed(atoms=atoms_of((0.0,), y[:, None]))
    return y, PLAIN
