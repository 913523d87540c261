"""What is observed of the numbers over which mixtures are: these numbers, rounded to a lattice, with atoms, or recalibrated."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from mdnjax.cells import discrete, lattice_pit, log_cell, probabilities_of, rounded_moments, rounded_moments_of_row
from mdnjax.data.atoms import Atoms
from mdnjax.data.censoring import sides_of
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
from mdnjax.recalibration import Recalibration, normal_scores, recalibrated_crps, recalibrated_moments
from mdnjax.scores import pit
from mdnjax.statistics import cdf, central_interval, mean, quantile, sample, variance
from mdnjax.statistics.quantiles import quantile_at_score
from mdnjax.types import AnyArray, Array, Float, Int, PRNGKey


class TargetScores(NamedTuple):
    """Scores of N rows of a single target; the CRPS may be that of the first rows alone, and the PIT is randomised."""

    crps: Float[np.ndarray, " n"]
    pit: Float[np.ndarray, " N"]
    mean: Float[np.ndarray, " N"]


class Observed(NamedTuple):
    """The lattice of the targets, or the atoms or the recalibration of a single target; at most one of them is not None.

    All methods take mixtures in some units, and return float64 numbers in the targets' own units.
    """

    lattice: Lattice | None = None
    atoms: Atoms | None = None
    recalibration: Recalibration | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the target has the density of the mixture: no lattice, no atom, no recalibration."""
        return self.lattice is None and self.atoms is None and self.recalibration is None

    @property
    def has_probabilities(self) -> bool:
        """Whether values of a target have probabilities in predictions."""
        return self.lattice is not None or (self.atoms is not None and len(self.atoms.predicted) > 0)

    @property
    def has_moments(self) -> bool:
        """Whether mean and variance of a target are not those of the mixture."""
        return self.has_probabilities or self.recalibration is not None

    def as_recorded(self) -> Observed:
        """Returns what is recorded: bounds of censoring cut it off, while they do not cut off what is predicted."""
        return self if self.atoms is None else self._replace(atoms=self.atoms.as_recorded())

    def select(self, target: int) -> Observed:
        """Returns what is observed of a single target."""
        return self if self.lattice is None else self._replace(lattice=self.lattice.select(target))

    def relative(self, units: Units) -> Observed:
        """Returns what is observed of targets in other units."""
        lattice = None if self.lattice is None else self.lattice.relative(units)
        atoms = None if self.atoms is None else self.atoms.relative(units)
        return Observed(lattice, atoms, self.recalibration)

    def quantiles(self, y: Any) -> Any:
        """Returns quantiles of the target, or ends of its intervals, from those of the mixture."""
        if self.lattice is not None:
            return self.lattice.at_or_above(y)
        return y if self.atoms is None else self.atoms.observed(y)

    def mixture_quantiles(self, mixture: Mixture, levels: Float[np.ndarray, " Q"]) -> Any:
        """Returns quantiles of a single target `[*batch, Q]`, in the units of the mixture, for `quantiles`."""
        levels, expanded = np.asarray(levels), mixture[..., None]
        if self.recalibration is None:
            return quantile(expanded, jnp.asarray(levels))[..., 0]
        return quantile_at_score(expanded, jnp.asarray(self.recalibration.inverse(levels), mixture.logits.dtype))[..., 0]

    def mixture_intervals(self, mixture: Mixture, levels: Float[np.ndarray, " L"]) -> Any:
        """Returns both ends of central intervals of a single target `[*batch, L, 2]`, in the units of the mixture."""
        levels = np.asarray(levels)
        if self.recalibration is None:
            return central_interval(mixture[..., None], jnp.asarray(levels))
        ends = self.mixture_quantiles(mixture, np.stack([(1 - levels) / 2, (1 + levels) / 2], axis=-1).ravel())
        return ends.reshape(*ends.shape[:-1], len(levels), 2)

    def mixture_draws(self, key: PRNGKey, mixture: Mixture, num: int) -> Any:
        """Draws numbers `[num, *batch, D]`, in the units of the mixture, for `draws`."""
        if self.recalibration is None:
            return sample(key, mixture, (num,))
        z = self.recalibration.draws(
            np.random.default_rng(np.asarray(jax.random.key_data(key))), (num, *mixture.logits.shape[:-1])
        )
        return quantile_at_score(mixture, jnp.asarray(z, mixture.logits.dtype))

    def draws(self, y: Float[np.ndarray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns draws of the target from those of the mixture."""
        return self.quantiles(y) if self.lattice is None else self.lattice.nearest(y)

    def moments(self, mixture: Mixture, units: Units) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
        """Returns mean and variance of each target."""
        if self.lattice is not None:
            return rounded_moments(mixture, units, self.lattice)
        if self.has_probabilities:
            return moments_with_atoms(mixture, units, self._atoms())
        if self.recalibration is not None:
            first, second = recalibrated_moments(mixture, self.recalibration)
            return units.absolute(first), units.factor**2 * np.asarray(second, np.float64)
        return units.absolute(mean(mixture)), units.factor**2 * np.asarray(variance(mixture), np.float64)

    def moments_of_row(self, mixture: Mixture, units: Units) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Returns mean and variance of each target of one row, in a compiled program."""
        if self.lattice is not None:
            return rounded_moments_of_row(mixture, units, self.lattice)
        if self.has_probabilities:
            return moments_of_row_with_atoms(mixture, units, self._atoms())
        offset, factor = jnp.asarray(units.offset), jnp.asarray(units.factor)
        changed = None if self.recalibration is None else recalibrated_moments(mixture, self.recalibration)
        first, second = changed or (mean(mixture), variance(mixture))
        return offset + factor * first, factor**2 * second

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

    def checked_censoring(self, event: Any, y: Float[np.ndarray, "N D"]) -> Int[np.ndarray, " N"] | None:
        """Returns on which side of y each censored target is (see `sides_of`), or None if all are observed.

        Raises: ValueError if there are several targets, or values have probabilities that censoring would have to share.
        """
        sides = None if event is None else sides_of("event", event, len(y))
        if sides is not None and (y.shape[1] > 1 or self.atoms is not None or self.recalibration is not None):
            got = f"{y.shape[1]} targets" if y.shape[1] > 1 else "atoms or bounds" if self.atoms is not None else "recalibration"
            raise ValueError(f"event: got censored rows with {got}, expected a single target without atoms and recalibration")
        return sides

    def log_prob(
        self, mixture: Mixture, units: Units, y: Float[AnyArray, "N D"], censoring: Int[np.ndarray, " N"] | None = None
    ) -> Float[np.ndarray, " N"]:
        """Returns the log density of recorded targets, or the log probability of atoms, or log(P(cell) / step) on a lattice.

        For a single target that is censored it is the log probability of all numbers where the true one may be.
        """
        if censoring is not None:
            beyond = log_cell(mixture, *self._ends(mixture, units, np.asarray(y), censoring))
            return np.where(censoring == 0, self.log_prob(mixture, units, y), np.asarray(beyond, np.float64))
        if self.atoms is not None:
            return log_prob_with_atoms(mixture, units, self.atoms, np.asarray(y))
        dtype = mixture.logits.dtype
        if self.lattice is None:
            log_probs = np.asarray(log_prob(mixture, units.relative(y).astype(dtype)), np.float64)
            if self.recalibration is not None:
                log_probs = log_probs + self.recalibration.log_ratio(normal_scores(mixture, units.relative(y)))
            return log_probs - np.sum(np.log(units.factor))
        ends = (units.relative(y + sign * np.asarray(self.lattice.step) / 2).astype(dtype) for sign in (-1, 1))
        return np.asarray(log_cell(mixture, *ends), np.float64) - np.sum(np.log(self.lattice.step))

    def pit(
        self, mixture: Mixture, units: Units, y: Float[np.ndarray, "N 1"], censoring: Int[np.ndarray, " N"] | None = None
    ) -> Float[np.ndarray, " N"]:
        """Returns the PIT of a single recorded target, which is randomised where values have probabilities.

        That of a censored target is drawn from those of all numbers where the true one may be. Source: Li, Wu and Feng (2021),
        Model diagnostics for censored regression via randomized survival probabilities.
        """
        if censoring is not None:
            ends = (np.asarray(cdf(mixture, end), np.float64) for end in self._ends(mixture, units, y, censoring))
            below, above = ends
            drawn = below + np.random.default_rng(0).random(len(y)) * (above - below)
            return np.where(censoring == 0, self.pit(mixture, units, y), drawn)
        if self.lattice is not None:
            return lattice_pit(mixture, units, self.lattice, y[:, 0])
        if self.atoms is not None:
            return pit_with_atoms(mixture, units, self.atoms, y)
        if self.recalibration is not None:
            return ndtr(self.recalibration.scores(normal_scores(mixture, units.relative(y))))
        return np.asarray(pit(mixture, units.relative(y).astype(mixture.logits.dtype)), np.float64)

    def scores(self, mixture: Mixture, units: Units, y: Float[np.ndarray, "N 1"]) -> TargetScores:
        """Returns the scores of a single recorded target that is not plain."""
        known = self.pit(mixture, units, y)
        if self.recalibration is not None:
            crps = recalibrated_crps(mixture, self.recalibration, units.relative(y))
            return TargetScores(units.factor[0] * np.asarray(crps, np.float64), known, self.moments(mixture, units)[0][:, 0])
        if self.lattice is not None:
            values = discrete(mixture, units, self.lattice, y[:, 0])
            return TargetScores(values.crps(y[:, 0]), known, values.mean_and_variance()[0])
        atoms, mean = self._atoms(), self.moments(mixture, units)[0][:, 0]
        return TargetScores(crps_with_atoms(mixture, units, atoms, y), known, mean)

    def _ends(self, mixture: Mixture, units: Units, y: np.ndarray, censoring: np.ndarray) -> list[Array]:
        """Returns both ends, in units of the mixture, of the numbers where the true target of each row may be."""
        half = 0.0 if self.lattice is None else np.asarray(self.lattice.step) / 2
        sides = censoring[:, None]
        ends = np.where(sides > 0, y - half, -np.inf), np.where(sides < 0, y + half, np.inf)
        return [jnp.asarray(units.relative(end), mixture.logits.dtype) for end in ends]

    def _atoms(self) -> Atoms:
        assert self.atoms is not None
        return self.atoms


PLAIN = Observed()


def observed_of(scaler: Scaler, recalibration: Recalibration | None = None) -> Observed:
    """Returns what is observed of the targets of a scaler, after recalibration."""
    changes = recalibration is not None and not recalibration.is_identity
    return Observed(scaler.lattice if scaler.lattice.exists else None, scaler.atoms, recalibration if changes else None)
