"""Targets on a lattice: whole numbers, or multiples of another step. A value stands for the numbers that round to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.data.dataset import rounding_step
from mdnjax.data.units import Units
from mdnjax.types import AnyArray, Float

MAX_REST = 1e-3  # of a value from the nearest point of the lattice, in steps: numbers of a file are rounded
MIN_RELATIVE_STEP = 1e-3  # in standard deviations; finer cells have the same probabilities as a density, but fewer digits


class Lattice(NamedTuple):
    """Step of each target's values, and the first and last value of training, `[D]` in float64; without lattice all are 0."""

    step: Float[AnyArray, "*members D"]
    first: Float[AnyArray, "*members D"]
    last: Float[AnyArray, "*members D"]

    @property
    def exists(self) -> bool:
        """Whether all targets lie on a lattice."""
        return bool(np.all(np.asarray(self.step) > 0))

    def select(self, target: int) -> Lattice:
        """Returns the lattice of a single target."""
        return Lattice(*(np.asarray(values)[[target]] for values in self))

    def relative(self, units: Units) -> Lattice:
        """Returns the lattice in other units of the targets."""
        first, last = (units.relative(np.asarray(values)) for values in (self.first, self.last))
        return Lattice(np.asarray(self.step) / units.factor, first, last)

    def values(self) -> Float[np.ndarray, " V"]:
        """Returns the values of a single target from the first to the last one of training."""
        num = int(np.rint((self.last[0] - self.first[0]) / self.step[0])) + 1
        return np.asarray(self.first[0] + self.step[0] * np.arange(num))

    def at_or_above(self, y: Float[AnyArray, "*batch D"]) -> Any:
        """Returns the lowest value whose cell reaches y: the quantile of the rounded target, if y is that of the target."""
        xp: Any = jnp if isinstance(y, jax.Array) else np  # a compiled program gives its own arrays
        steps = (y - self.first) / self.step
        return self.first + self.step * xp.ceil(xp.round(steps - 0.5, 6))  # rounding, since y is computed in float32

    def nearest(self, y: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns the value whose cell contains y."""
        return np.asarray(self.first + self.step * np.rint((np.asarray(y, np.float64) - self.first) / self.step))


def no_lattice(num_targets: int) -> Lattice:
    """Returns the record of targets without lattice."""
    return Lattice(*np.zeros((3, num_targets)))


def lattice_of(rounding: float | str, y: Float[np.ndarray, "N D"]) -> Lattice:
    """Returns the lattice of targets that are multiples of their rounding step; if one of them is not, there is none.

    A step below a thousandth of the standard deviation counts as none.
    """
    y = np.asarray(y, np.float64)
    step, first, last = rounding_step(rounding, y), y.min(axis=0), y.max(axis=0)
    if not np.all((step > 0) & (step > MIN_RELATIVE_STEP * y.std(axis=0)) & (last > first)):
        return no_lattice(y.shape[1])
    step = (last - first) / np.maximum(1, np.rint((last - first) / step))  # the smallest difference of values is not exact
    steps = (y - first) / step
    if np.any(np.abs(steps - np.rint(steps)) > MAX_REST):
        return no_lattice(y.shape[1])
    return Lattice(step, first, last)
