"""Conformity scores of rows that a predictor was not trained on, and thresholds of sets with a guarantee that follow from them.

If these rows and a new one are exchangeable, a set of all y with a score of at most the k-th smallest, k = ceil((n + 1) level),
contains the target of the new row with a probability of at least `level`, whatever the predictor is, and of at most
level + 1 / (n + 1) if no scores are equal. The probability is over the rows with scores and the new row together.
Source: Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world; Lei et al. (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.data.units import Units
from mdnjax.density_sets import density_set, mass_above
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.statistics import cdf, quantile, survival
from mdnjax.types import AnyArray, Array, Float, Int

# Beyond these quantiles a probability in float32 does not show how far a target is: there the score grows with the distance, in
# widths between the quartiles, so that sets of a wrong predictor are finite.
TAIL = 1e-5
EVERY_ROW = ""  # the group of rows that have none
OTHER_CATEGORY = "(another category)"  # the group of rows whose category training did not see


class Conformal(NamedTuple):
    """The scores of n rows, of D targets, each larger for a target that the predictor expected less.

    `upper` is F(y|x) and `lower` is 1 - F(y|x); beyond the quantiles of TAIL they are 1 plus or 0 minus the distance. `mass` is
    the probability of the smallest set that reaches y. `density` is -log p(y|x) of all targets together. `group` is the place of
    each row's group in `names`; each group has sets of its own. With `column` the groups are the categories of this input.
    """

    upper: Float[AnyArray, "n D"]
    lower: Float[AnyArray, "n D"]
    mass: Float[AnyArray, "n D"]
    density: Float[AnyArray, " n"]
    group: Int[AnyArray, " n"]
    names: tuple[str, ...] = (EVERY_ROW,)
    column: str | None = None

    @property
    def central(self) -> Float[np.ndarray, "n D"]:
        """The scores of central intervals: the larger one of both sides."""
        return np.maximum(self.upper, self.lower)

    def groups_of(self, labels: Sequence[Any] | np.ndarray | None, num_rows: int) -> Int[np.ndarray, " N"]:
        """Returns the places of the groups of new rows. Raises: ValueError for labels without scores, or of another length."""
        if labels is None:
            if self.names != (EVERY_ROW,):
                raise ValueError(f"groups: got none, expected a label for each row, such as {self.names[0]!r}")
            return np.zeros(num_rows, int)
        texts = [str(label) for label in labels]
        if len(texts) != num_rows:
            raise ValueError(f"groups: got {len(texts)} labels, expected one for each of {num_rows} rows")
        if unknown := next((text for text in texts if text not in self.names), None):
            raise ValueError(f"groups: got {unknown!r}, expected one of {', '.join(map(repr, self.names))}")
        place = {name: i for i, name in enumerate(self.names)}
        return np.array([place[text] for text in texts], int)

    def thresholds(self, scores: Float[np.ndarray, " n"], level: float, groups: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Returns the threshold of each new row: the k-th smallest score of its group, or inf if that has fewer than k rows."""
        found = np.full(len(self.names), np.inf)
        for place in range(len(self.names)):
            of_group = np.sort(scores[np.asarray(self.group) == place])
            rank = math.ceil((len(of_group) + 1) * level - 1e-9)
            if rank <= len(of_group):
                found[place] = of_group[max(rank, 1) - 1]
        return found[groups]

    def min_rows(self, level: float) -> int:
        """Returns the number of rows with scores that a finite set of this level needs in each group."""
        return math.ceil(level / (1 - level) - 1e-9)


def scores_of(mixture: Mixture, units: Units, observed: Observed, y: Float[np.ndarray, "N 1"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `upper` and `lower` of a single target; where values have probabilities they are drawn between both sides of y."""
    latent = y if observed.atoms is None else observed.atoms.latent(y)
    points = jnp.asarray(units.relative(latent), mixture.logits.dtype)
    if observed.is_plain:
        below, above = (np.asarray(tail(mixture, points), np.float64) for tail in (cdf, survival))
    else:
        below = observed.pit(mixture, units, y)
        above = 1 - below
    if not np.any((below < TAIL) | (below > 1 - TAIL) | (above < TAIL) | (above > 1 - TAIL)):
        return below, above
    low, high, width = _range_of(mixture)
    at = np.asarray(points, np.float64)[:, 0]
    over, under = np.maximum(at - high, 0) / width, np.maximum(low - at, 0) / width
    upper = np.where(below > 1 - TAIL, 1 + over, np.where(below < TAIL, -under, below))
    lower = np.where(above > 1 - TAIL, 1 + under, np.where(above < TAIL, -over, above))
    return upper, lower


def ends_at(
    mixture: Mixture, units: Units, observed: Observed, thresholds: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Returns the lowest y whose `lower`, and the highest y whose `upper` is at most the threshold of its row, of one target."""
    share = jnp.asarray(np.clip(thresholds, TAIL, 1 - TAIL), mixture.logits.dtype)
    relative = np.asarray(quantile(mixture[:, None], jnp.stack([1 - share, share], axis=1)), np.float64)[..., 0]
    beyond = np.maximum(thresholds - 1, 0) + np.minimum(thresholds, 0)
    if np.any(beyond):
        relative = relative + np.stack([-beyond, beyond], axis=1) * _range_of(mixture)[2][:, None]
    low, high = np.asarray(observed.quantiles(units.absolute(relative[..., None])))[..., 0].T
    return low, high


def mass_of(mixture: Mixture, units: Units, observed: Observed, y: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " N"]:
    """Returns `mass` of a single target; on a lattice it is the smallest one in the middle and at the ends of the cell of y.

    Source: Izbicki, Shimizu and Stern (2022), CD-split and HPD-split.
    """
    latent = y if observed.atoms is None else observed.atoms.latent(y)
    if observed.lattice is not None:
        latent = latent + np.asarray(observed.lattice.step) * np.array([0, -0.5, 0.5])
    points = jnp.asarray(units.relative(latent), mixture.logits.dtype)
    return np.min(np.nan_to_num(np.asarray(mass_above(mixture, points), np.float64), nan=np.inf), axis=1)


def region_at(
    mixture: Mixture, units: Units, observed: Observed, thresholds: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N M 2"]:
    """Returns the intervals of all y whose `mass` is at most the threshold of its row, of one target; nan where there are fewer.

    On a lattice the intervals end at values whose cells they reach.
    """
    found = density_set(mixture, jnp.asarray(thresholds, mixture.logits.dtype))
    return observed.draws(units.absolute(np.asarray(found)[..., None]))[..., 0]


def _range_of(mixture: Mixture) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Returns the quantiles of TAIL on both sides, and the distance of the quartiles, in the units of the mixture."""
    levels = jnp.array([TAIL, 0.25, 0.75, 1 - TAIL])
    found: Array = quantile(mixture[:, None], levels)[..., 0]
    low, first, third, high = np.asarray(found, np.float64).T
    return low, high, np.maximum(third - first, 1e-30)
