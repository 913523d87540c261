"""What is observed of the numbers over which mixtures are: these numbers themselves, rounded to a lattice, or with atoms."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.cells import discrete, lattice_pit, log_cell, probabilities_of, rounded_moments, rounded_moments_of_row
from mdnjax.data.atoms import Atoms
from mdnjax.data.lattice import Lattice
from mdnjax.data.scaler import Scaler
from mdnjax.data.units import Units
from mdnjax.mixed import (
    atom_probabilities,
    crps_with_atoms,
    log_prob_with_atoms,
    moments_of_row_with_atoms,
    moments_with_atoms,
    pit_with_atoms,
)
from mdnjax.mixture import Mixture, log_prob
from mdnjax.scores import pit
from mdnjax.statistics import mean, variance
from mdnjax.types import AnyArray, Array, Float


class TargetScores(NamedTuple):
    """Scores of N rows of a single target; the CRPS may be that of the first rows alone, and the PIT is randomised."""

    crps: Float[np.ndarray, " n"]
    pit: Float[np.ndarray, " N"]
    mean: Float[np.ndarray, " N"]


class Observed(NamedTuple):
    """The lattice of the targets, or the atoms of a single target; at most one of them is not None.

    All methods take mixtures in some units, and return float64 numbers in the targets' own units.
    """

    lattice: Lattice | None = None
    atoms: Atoms | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is neither a lattice nor an atom."""
        return self.lattice is None and self.atoms is None

    @property
    def has_probabilities(self) -> bool:
        """Whether values of a target have probabilities in predictions."""
        return self.lattice is not None or (self.atoms is not None and len(self.atoms.predicted) > 0)

    def as_recorded(self) -> Observed:
        """Returns what is recorded: bounds of censoring cut it off, while they do not cut off what is predicted."""
        return self if self.atoms is None else Observed(atoms=self.atoms.as_recorded())

    def select(self, target: int) -> Observed:
        """Returns what is observed of a single target."""
        return self if self.lattice is None else Observed(self.lattice.select(target))

    def quantiles(self, y: Any) -> Any:
        """Returns quantiles of the target, or ends of its intervals, from those of the mixture."""
        if self.lattice is not None:
            return self.lattice.at_or_above(y)
        return y if self.atoms is None else self.atoms.observed(y)

    def draws(self, y: Float[np.ndarray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns draws of the target from those of the mixture."""
        return self.quantiles(y) if self.lattice is None else self.lattice.nearest(y)

    def moments(self, mixture: Mixture, units: Units) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
        """Returns mean and variance of each target."""
        if self.lattice is not None:
            return rounded_moments(mixture, units, self.lattice)
        if self.has_probabilities:
            return moments_with_atoms(mixture, units, self._atoms())
        return units.absolute(mean(mixture)), units.factor**2 * np.asarray(variance(mixture), np.float64)

    def moments_of_row(self, mixture: Mixture, units: Units) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Returns mean and variance of each target of one row, in a compiled program."""
        if self.lattice is not None:
            return rounded_moments_of_row(mixture, units, self.lattice)
        if self.has_probabilities:
            return moments_of_row_with_atoms(mixture, units, self._atoms())
        offset, factor = jnp.asarray(units.offset), jnp.asarray(units.factor)
        return offset + factor * mean(mixture), factor**2 * variance(mixture)

    @property
    def values(self) -> Float[np.ndarray, " V"]:
        """The values of a single target that have probabilities."""
        if self.lattice is not None:
            return self.lattice.values()
        return np.zeros(0) if self.atoms is None else np.asarray(self.atoms.value)[self.atoms.predicted]

    def probabilities(self, mixture: Mixture, units: Units) -> Float[np.ndarray, "N V"]:
        """Returns the probability of each of the `values`; the first and last of a lattice include everything beyond them."""
        if self.lattice is not None:
            return probabilities_of(mixture, units, self.values, float(self.lattice.step[0]))
        return atom_probabilities(mixture, units, self._atoms())

    def log_prob(self, mixture: Mixture, units: Units, y: Float[AnyArray, "N D"]) -> Float[np.ndarray, " N"]:
        """Returns the log density of recorded targets, or the log probability of atoms, or log(P(cell) / step) on a lattice."""
        if self.atoms is not None:
            return log_prob_with_atoms(mixture, units, self.atoms, np.asarray(y))
        dtype = mixture.logits.dtype
        if self.lattice is None:
            return np.asarray(log_prob(mixture, units.relative(y).astype(dtype)), np.float64) - np.sum(np.log(units.factor))
        ends = (units.relative(y + sign * np.asarray(self.lattice.step) / 2).astype(dtype) for sign in (-1, 1))
        return np.asarray(log_cell(mixture, *ends), np.float64) - np.sum(np.log(self.lattice.step))

    def pit(self, mixture: Mixture, units: Units, y: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " N"]:
        """Returns the PIT of a single recorded target, which is randomised where values have probabilities."""
        if self.lattice is not None:
            return lattice_pit(mixture, units, self.lattice, y[:, 0])
        if self.atoms is not None:
            return pit_with_atoms(mixture, units, self.atoms, y)
        return np.asarray(pit(mixture, units.relative(y).astype(mixture.logits.dtype)), np.float64)

    def scores(self, mixture: Mixture, units: Units, y: Float[np.ndarray, "N 1"]) -> TargetScores:
        """Returns the scores of a single recorded target of which values have probabilities."""
        known = self.pit(mixture, units, y)
        if self.lattice is not None:
            values = discrete(mixture, units, self.lattice, y[:, 0])
            return TargetScores(values.crps(y[:, 0]), known, values.mean_and_variance()[0])
        atoms, mean = self._atoms(), self.moments(mixture, units)[0][:, 0]
        return TargetScores(crps_with_atoms(mixture, units, atoms, y), known, mean)

    def _atoms(self) -> Atoms:
        assert self.atoms is not None
        return self.atoms


PLAIN = Observed()


def observed_of(scaler: Scaler) -> Observed:
    """Returns what is observed of the targets of a scaler."""
    return Observed(scaler.lattice if scaler.lattice.exists else None, scaler.atoms)
