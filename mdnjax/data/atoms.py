"""Targets of which one value, such as 0, has a probability of its own, and targets that are known only up to a bound.

A target y with atoms is a function of a latent number s with a density: y has the value of an atom in an interval of s, and
slope 1 elsewhere. So a mixture over s has the probability of the atom in that interval, and quantiles of s give those of y.
The interval of an atom below all other values is everything below it, on a bounded support a short interval at the bound; that
of an atom among other values is short too. A bound beyond which targets are censored is such an atom for training and scores,
but the predictions are those of s.
Source: Tobin (1958), Estimation of relationships for limited dependent variables, for intervals without an end.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.components import Support
from mdnjax.data.centre import centre_of
from mdnjax.data.units import Units
from mdnjax.types import AnyArray, Float

MAX_ATOMS = 4
MIN_SHARE, MIN_ROWS = 0.1, 5  # of an atom that nobody has named
MAX_SHARE_OF_OTHERS, MAX_ROWS_OF_OTHERS = 0.02, 2  # of any other value, which would be a value of a lattice
MIN_OTHERS = 5  # different values that are no atoms
LENGTH = 0.2  # of the interval of an atom among other values, in their standard deviations: few of their components reach into it
DISTANCE = 0.5  # of the latent number of an atom from the end of an interval that has only one end


class Atoms(NamedTuple):
    """The intervals of s in which the single target y has the value of an atom, in ascending order, float64.

    The first numbers of a network and the trees see an atom as the number `at`. An interval that `inserted` (1) marks moves all
    larger numbers up by its length; others are at an end, beyond which there is no target. `censored` (1) marks bounds. An unused
    place has an interval of length 0.
    """

    value: Float[AnyArray, "*members A"]
    low: Float[AnyArray, "*members A"]
    high: Float[AnyArray, "*members A"]
    at: Float[AnyArray, "*members A"]
    inserted: Float[AnyArray, "*members A"]
    censored: Float[AnyArray, "*members A"]

    @property
    def used(self) -> Any:
        """Which places have an atom."""
        return self.high > self.low

    def latent(self, y: Float[AnyArray, "*batch 1"]) -> Float[np.ndarray, "*batch 1"]:
        """Returns s of targets y; an atom gets the number `at`."""
        y = np.asarray(y, np.float64)
        shift = np.where(y[..., None] > self.value, self._inserted_lengths, 0).sum(axis=-1)
        place = self.place_of(y)
        return np.where(place < 0, y + shift, np.asarray(self.at)[place])

    def observed(self, s: Any) -> Any:
        """Returns the target at latent numbers s, with atoms and without censoring."""
        xp: Any = jnp if isinstance(s, jax.Array) else np
        total = s  # minus the part of each interval that is below s, so that y has the value of the atom in all of the interval
        for place in self.predicted:
            anchor = self.high[place] if self._at_lower_end[place] else self.low[place]
            total = total - (xp.clip(s, self.low[place], self.high[place]) - anchor)
        return total

    def as_recorded(self) -> Atoms:
        """Returns the atoms of what is recorded: the bounds of censoring are atoms like others."""
        return self._replace(censored=np.zeros_like(self.censored))

    def place_of(self, y: Float[AnyArray, "*batch 1"]) -> np.ndarray:
        """Returns the place of the atom that each target has, or -1; a target beyond an atom at an end counts as this atom."""
        y = np.asarray(y, np.float64)[..., None]
        known = self.used & (
            (y == self.value) | (self._at_lower_end & (y < self.value)) | (self._at_upper_end & (y > self.value))
        )
        return np.where(known.any(axis=-1), known.argmax(axis=-1), -1)

    def cells(self, y: Float[AnyArray, "*batch 1"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns both ends of the interval of s of each target that has an atom, and which targets have none."""
        place = self.place_of(y)
        return np.asarray(self.low)[place], np.asarray(self.high)[place], place < 0

    def support_of_latent(self, support: Support | None) -> Support | None:
        """Returns the support of s; intervals of atoms move the bound above them."""
        if support is None:
            return None
        moved = float(np.sum(self._inserted_lengths))
        return Support(support.low, tuple(end + moved for end in support.high))

    def relative(self, units: Units) -> Atoms:
        """Returns the atoms with values and intervals in other units of s."""
        moved = (units.relative(np.asarray(values)[:, None])[:, 0] for values in self[:4])
        value, low, high, at = (np.where(self.used, values, 0) for values in moved)
        return Atoms(value, low, high, at, self.inserted, self.censored)

    @property
    def predicted(self) -> np.ndarray:
        """The places of the atoms that predictions have, which are those that are not censored."""
        return np.flatnonzero(np.asarray(self.used & (self.censored == 0)))

    @property
    def _inserted_lengths(self) -> np.ndarray:
        inserted = np.asarray(self.inserted) > 0  # other intervals may have no finite length
        return np.where(inserted, self.high, 0) - np.where(inserted, self.low, 0)

    @property
    def _at_lower_end(self) -> Any:
        return self.used & (self.inserted == 0) & (self.high == self.value)

    @property
    def _at_upper_end(self) -> Any:
        return self.used & (self.inserted == 0) & ~self._at_lower_end


def atoms_like() -> Atoms:
    """Returns the shapes and dtypes of atoms."""
    like: Any = jax.ShapeDtypeStruct((MAX_ATOMS,), np.dtype(np.float64))
    return Atoms(*[like] * len(Atoms._fields))


def atoms_of(
    wanted: str | tuple[float, ...],
    y: Float[np.ndarray, "N D"],
    support: Support | None = None,
    censored: tuple[float | None, float | None] = (None, None),
    weight: Float[np.ndarray, " N"] | None = None,
) -> Atoms | None:
    """Returns the atoms of a single target, or None if there are none.

    Args: `wanted` are the values of the atoms, or "auto": those that at least a tenth of the rows have, if no other value has
    more than a fiftieth. `censored` are bounds: what is recorded at or beyond one is only known to be there.
    Raises: ValueError if there are several targets, more than MAX_ATOMS atoms, or hardly any other value.
    """
    below, above = censored
    asked = (wanted != "auto" and len(wanted) > 0) or below is not None or above is not None
    if y.shape[1] > 1:
        if asked:
            raise ValueError(f"got {y.shape[1]} targets, expected a single one for atoms or censored bounds")
        return None
    if weight is not None:
        y, weight = y[weight > 0], weight[weight > 0]
    values = np.asarray(y[:, 0], np.float64)
    inside = (values > (-math.inf if below is None else below)) & (values < (math.inf if above is None else above))
    known = _frequent_values(values[inside], None if weight is None else weight[inside]) if wanted == "auto" else wanted
    known = sorted({float(value) for value in known})
    is_other = inside & ~np.isin(values, known)
    others, of_others = values[is_other], None if weight is None else weight[is_other]
    if not known and not asked:
        return None
    if len(np.unique(others)) < MIN_OTHERS:
        raise ValueError(
            f"got {len(np.unique(others))} values that are neither atoms nor censored, expected {MIN_OTHERS} or more"
        )
    if len(known) + sum(bound is not None for bound in censored) > MAX_ATOMS:
        raise ValueError(f"got {len(known)} atoms, expected at most {MAX_ATOMS} with the bounds of censoring")
    return _intervals(known, others, float(centre_of(others[:, None], 1.0, of_others).sd[0]), support, below, above)


def _frequent_values(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Returns the values of atoms, if all other values are rare."""
    if not len(values):
        return np.zeros(0)
    found, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = counts / len(values) if weight is None else np.bincount(index.ravel(), weight) / np.sum(weight)
    frequent = (share >= MIN_SHARE) & (counts >= MIN_ROWS)
    rare = (share <= MAX_SHARE_OF_OTHERS) | (counts <= MAX_ROWS_OF_OTHERS)
    enough = np.sum(~frequent) >= MIN_OTHERS and np.sum(frequent) <= MAX_ATOMS
    return found[frequent] if enough and np.all(frequent | rare) else np.zeros(0)


def _intervals(
    values: list[float], others: np.ndarray, sd: float, support: Support | None, below: float | None, above: float | None
) -> Atoms:
    """Returns the atoms and the bounds of censoring with their intervals of latent numbers; `sd` is that of the others."""
    low_bound, high_bound = (-math.inf, math.inf) if support is None else (support.low[0], support.high[0])
    rows, shift = [], 0.0
    if below is not None:
        rows.append((below, low_bound, below, _inside(low_bound, below, sd), 0.0, 1.0))
    for value in values:
        length = LENGTH * sd
        if value in (low_bound, high_bound):
            length = float(np.min(np.abs(others - value)))
        if value < others.min() and below is None and value > low_bound and value == values[0]:
            rows.append((value, low_bound, value, _inside(low_bound, value, sd), 0.0, 0.0))
        elif value > others.max() and above is None and value < high_bound and value == values[-1]:
            low, high = value + shift, high_bound + shift
            rows.append((value, low, high, -_inside(-high, -low, sd), 0.0, 0.0))
        else:
            rows.append((value, value + shift, value + shift + length, value + shift + length / 2, 1.0, 0.0))
            shift += length
    if above is not None:
        low, high = above + shift, high_bound + shift
        rows.append((above, low, high, -_inside(-high, -low, sd), 0.0, 1.0))
    rows += [(0.0,) * 6] * (MAX_ATOMS - len(rows))
    return Atoms(*(np.array(column) for column in zip(*rows, strict=True)))


def _inside(low: float, high: float, sd: float) -> float:
    """Returns a number of an interval that is half a standard deviation from its upper end, or half way to its lower end."""
    return max(high - DISTANCE * sd, (low + high) / 2)
