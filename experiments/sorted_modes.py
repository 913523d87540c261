"""Sorts the modes of mixtures by their probability mass."""

from __future__ import annotations

import numpy as np

from mdnjax.statistics import Modes
from mdnjax.types import Float


def sorted_modes(found: Modes, min_mass: float) -> tuple[Float[np.ndarray, "N M D"], Float[np.ndarray, "N M"]]:
    """Returns positions and masses of modes, the most probable first; NaN for a mode of less than `min_mass`, or for none."""
    mass = np.where(np.nan_to_num(np.asarray(found.mass)) >= min_mass, np.asarray(found.mass), np.nan)
    order = np.argsort(-np.nan_to_num(mass), axis=1, kind="stable")
    y, mass = np.take_along_axis(np.asarray(found.y), order[..., None], axis=1), np.take_along_axis(mass, order, axis=1)
    return np.where(np.isnan(mass)[..., None], np.nan, y), mass
