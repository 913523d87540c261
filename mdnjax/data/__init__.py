"""Sources of data: each is one file, and one line in SOURCES."""

from collections.abc import Callable

from mdnjax.data import arma_jump, bishop_curve, econ_density, robot_arm, sinusoid, skew_normal, two_moons
from mdnjax.data.bounds import make_support
from mdnjax.data.dataset import Dataset, Splits, Truth
from mdnjax.data.scaler import Scaler, to_training_units
from mdnjax.data.training_units import make_scaler

# A source makes the parts of a data set from a seed and their sizes, and has the exact truth if there is a density.
SOURCES: dict[str, tuple[Callable[..., Splits], Truth | None]] = {
    "sinusoid": (sinusoid.make_splits, sinusoid.TRUTH),
    "bishop_curve": (bishop_curve.make_splits, bishop_curve.TRUTH),
    "robot_arm": (robot_arm.make_splits, None),
    "econ_density": (econ_density.make_splits, econ_density.TRUTH),
    "arma_jump": (arma_jump.make_splits, arma_jump.TRUTH),
    "skew_normal": (skew_normal.make_splits, skew_normal.TRUTH),
    "two_moons": (two_moons.make_splits, two_moons.TRUTH),
}

__all__ = [
    "SOURCES",
    "Dataset",
    "Scaler",
    "Splits",
    "Truth",
    "make_scaler",
    "make_support",
    "to_training_units",
]
