"""Checks of the arguments of statistics and scores; faults that show without the values of arrays are a ValueError."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from mdnjax.mixture import Mixture, check_targets, num_targets
from mdnjax.types import AnyArray


def check_levels(name: str, argument: str, value: Any) -> None:
    """Raises a ValueError if a number is not a probability; a nan passes, and so do arrays, for which the result is nan."""
    if isinstance(value, int | float | np.number) and (value < 0 or value > 1):
        hint = f"; {value:g} % is {value / 100:g}" if 1 < value <= 100 else ""
        raise ValueError(f"{name}: got {argument}={value}, expected a number from 0 to 1{hint}")


def check_count(name: str, argument: str, value: Any, minimum: int) -> None:
    """Raises a ValueError if a number of samples or points is too small for a value and its error."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name}: got {argument}={value}, expected an integer of at least {minimum}")


def check_batch(name: str, argument: str, mixture: Mixture, batch: tuple[int, ...]) -> None:
    """Raises a ValueError if batch axes do not broadcast with those of the mixture."""
    try:
        np.broadcast_shapes(batch, mixture.shape)
    except ValueError:
        expected = f"one that broadcasts with the batch {mixture.shape} of the mixture"
        raise ValueError(f"{name}: got {argument} with batch {batch}, expected {expected}") from None


def as_targets(name: str, mixture: Mixture, y: Any, argument: str = "y", *, own_batch: bool = True) -> AnyArray:
    """Returns y[*batch, D]; a bare number is the value of a single target.

    Raises: ValueError if y and the mixture differ in the number of targets, or their batch axes do not broadcast; with
    own_batch=False also if y has more batch axes, or longer ones, than the mixture.
    """
    if not np.shape(y) and num_targets(mixture) == 1:
        is_array = hasattr(y, "dtype") and not getattr(y, "weak_type", False)  # Python's numbers have no precision
        return jnp.reshape(jnp.asarray(y, None if is_array else mixture.logits.dtype), (1,))
    check_targets(mixture, y, argument)
    batch = np.shape(y)[:-1]
    check_batch(name, argument, mixture, batch)
    if not own_batch and np.broadcast_shapes(batch, mixture.shape) != mixture.shape:
        raise ValueError(f"{name}: got {argument} with batch {batch}, expected that of the mixture, {mixture.shape}")
    return y
