"""Sources of data: one file each, one line each in SOURCES."""

from collections.abc import Callable

from mdnjax.data import sinusoid
from mdnjax.data.dataset import (
    Dataset,
    Scaler,
    Splits,
    Truth,
    make_scaler,
    make_support,
    nats_to_data_units,
    to_data_units,
    to_training_units,
)

# A source gives the parts of a data set from a seed and their sizes, and what is known of its truth.
SOURCES: dict[str, tuple[Callable[..., Splits], Truth]] = {"sinusoid": (sinusoid.make_splits, sinusoid.TRUTH)}

__all__ = [
    "SOURCES",
    "Dataset",
    "Scaler",
    "Splits",
    "Truth",
    "make_scaler",
    "make_support",
    "nats_to_data_units",
    "to_data_units",
    "to_training_units",
]
