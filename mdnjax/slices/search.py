"""Searches for slices of rows in which PIT values are not uniform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mdnjax.data.columns import Columns
from mdnjax.data.examples import as_weight
from mdnjax.data.units import Units
from mdnjax.evaluation import median_over_rows
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.predictor import Predictor
from mdnjax.slices.chance import LEVELS, UNIFORM, Chance, Expected, Scores, chance_of, means, range_by_chance, sizes, z_scores
from mdnjax.slices.report import MIN_ROWS, RATE, Calibration, Slice, Slices
from mdnjax.slices.sets import Family, families_of
from mdnjax.statistics.targets import marginals
from mdnjax.types import Float, Int

MAX_ROWS = 5000
# What a negative and a positive score mean, of the shares outside of both intervals and of the mean PIT.
INTERVALS = ("intervals too wide", "intervals too narrow")
FAULTS = (INTERVALS, INTERVALS, ("predictions too high", "predictions too low"))


def evaluate_slices(predictor: Predictor, rows: Any, y: Any, weight: Any = None, event: Any = None) -> Slices:
    """Searches for slices in which a predictor is wrong, in rows that it was not trained on.

    Args: `y` `[N]` or `[N, D]` are the targets of the rows; `weight` `[N]` says how much each row counts in shares and means,
    while p-values are those of independent rows; `event` `[N]` says which targets are observed, as for `mdnjax.fit`.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if y or weight has another shape.
    """
    inputs = predictor.inputs(rows)
    weight = None if weight is None else as_weight("weight", weight, len(inputs))
    y = predictor.checked_targets(y, len(inputs))
    censoring = predictor.observed.checked_censoring(event, y)
    pits = pit_of(predictor.at(inputs), y, predictor.units, predictor.observed, censoring)
    return slices_of(predictor.columns, inputs, pits, weight)


def pit_of(
    mixture: Mixture,
    y: Float[np.ndarray, "N D"],
    units: Units,
    observed: Observed,
    censoring: Int[np.ndarray, " N"] | None = None,
) -> Float[np.ndarray, "N D"]:
    """Returns the PIT of each recorded target, randomised where values have probabilities; the mixtures are in these units."""
    recorded, singles = observed.as_recorded(), enumerate(marginals(mixture))
    if censoring is not None:
        return recorded.pit(mixture, units, y, censoring)[:, None]
    return np.stack([recorded.select(d).pit(single, units.select(d), y[:, [d]]) for d, single in singles], axis=1)


def slices_of(
    columns: Columns,
    inputs: Float[np.ndarray, "N X"],
    pit: Float[np.ndarray, "N D"],
    weight: Float[np.ndarray, " N"] | None = None,
    width: Float[np.ndarray, "N D"] | None = None,
) -> Slices:
    """Searches for slices in which PIT values are not uniform; inputs are those of `predictor.inputs`.

    Args: `width` are the widths of any intervals, of which each slice gets the median.

    The sets of rows are those of `families_of`, their scores those of `z_scores`, and p-values are exact for independent rows
    (`Chance.corrected`); with D targets they are multiplied by D. The neighbourhoods are the local test of Zhao et al. (2021,
    Diagnostics for conditional density models and Bayesian inference algorithms), with the mean over the nearest rows as the
    regression on x, and three functions of the PIT in place of the indicators of u <= a.

    If all rows together are wrong, the p-value of another slice is the larger one of two: that of a uniform PIT in the slice, and
    that of a PIT as in all rows, by permutations. Otherwise a fault that all rows have would be found in every slice.
    Of more than 5000 rows a random part is used. Rows with a PIT of nan are left out. Rows that depend on each other, such as
    copies or successive days, make p-values too small.
    """
    weight = np.ones(len(inputs)) if weight is None else weight
    return slices_in(prepare_search(columns, inputs, np.where(np.isfinite(pit).all(axis=1), weight, 0)), pit, width)


class Search(NamedTuple):
    """The rows in which slices are searched, with their weights, the sets of rows, and their scores by chance.

    It does not depend on the PIT, so that it can be used for many models of the same rows.
    """

    targets: tuple[str, ...]
    rows: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    families: list[Family]
    chance: Chance | None


def prepare_search(columns: Columns, inputs: Float[np.ndarray, "N X"], weight: Float[np.ndarray, " N"]) -> Search:
    """Returns the search in the rows with a weight above 0; it has no sets if there are too few of them."""
    generator = np.random.default_rng([0, 1])  # not that of a randomised PIT, which is drawn with the seed 0
    rows = np.flatnonzero(weight > 0)
    if len(rows) > MAX_ROWS:
        rows = np.sort(generator.choice(rows, MAX_ROWS, replace=False))
    if len(rows) < MIN_ROWS:
        return Search(columns.targets, rows, weight[rows], [], None)
    families, weight = families_of(columns, inputs[rows], generator), weight[rows] / weight[rows].mean()
    sets = [family.sets for family in families]
    chance = chance_of(sets, weight, lambda num: generator.random((num, len(rows)), np.float32), UNIFORM)
    return Search(columns.targets, rows, weight, families, chance)


def slices_in(search: Search, pit: Float[np.ndarray, "N D"], width: Float[np.ndarray, "N D"] | None = None) -> Slices:
    """Returns the slices of a search, by the PIT of all rows."""
    found = list[Slice]()
    if search.chance is not None:
        for d, (name, u) in enumerate(zip(search.targets, pit[search.rows].T, strict=True)):
            of_rows = None if width is None else width[search.rows, d]
            found += _slices_of_target(name, search, search.chance, u.astype(np.float32), of_rows)
    return Slices(tuple(found), len(search.rows), {family.kind: len(family.sets.start) for family in search.families})


def _slices_of_target(
    target: str, search: Search, chance: Chance, u: Float[np.ndarray, " n"], width: Float[np.ndarray, " n"] | None
) -> Iterator[Slice]:
    weight, num_targets = search.weight, len(search.targets)
    z = [z_scores(family.sets, weight, u[None], UNIFORM)[:, :, 0] for family in search.families]
    corrected = [np.minimum(num_targets * p, 1) for p in chance.corrected(z)]
    if corrected[0].min() <= RATE and len(corrected) > 1:
        corrected[1:] = _and_unlike_all_rows(corrected[1:], z[1:], search, u)
    limits = chance.limits(RATE / num_targets)
    for family, scores, p, p_alone, limit in zip(search.families, z, corrected, chance.p_values(z), limits, strict=True):
        order = p - 1e-6 * np.abs(scores)  # of equal p-values, that of the larger score
        shares, size = means(family.sets, weight, u[None])[:, :, 0], sizes(family.sets, weight)
        for j in [int(order.min(axis=1).argmin())] if family.sets.is_search else range(len(scores)):
            k = int(order[j].argmin())
            lowest, highest = range_by_chance(size[j], limit)
            rows = family.sets.rows(j)
            yield Slice(
                target,
                family.kind,
                *family.describe(j),
                num_rows=int(rows.sum()),
                observed=_calibration(np.append(1 - shares[j, :-1], shares[j, -1])),
                lowest=_calibration(lowest),
                highest=_calibration(highest),
                score=float(abs(scores[j, k])),
                p_value=float(p_alone[j, k]),
                corrected=float(p[j, k]),
                fault=FAULTS[k][int(scores[j, k] > 0)] if p[j, k] <= RATE else "",
                median_width=None if width is None else median_over_rows(width[rows], weight[rows]),
            )


def _calibration(numbers: Float[np.ndarray, " 3"]) -> Calibration:
    inside_50, inside_90, mean_pit = numbers.tolist()
    return Calibration(inside_50, inside_90, mean_pit)


def _and_unlike_all_rows(corrected: Scores, z: Scores, search: Search, u: Float[np.ndarray, " n"]) -> Scores:
    """Returns the p-values of all families but the first, none smaller than that of a comparison with the PIT of all rows.

    In this comparison the PIT of all rows is permuted. A score is only counted if it has the same sign in both comparisons.
    """
    generator = np.random.default_rng([0, 2])
    sets, num_targets = [family.sets for family in search.families[1:]], len(search.targets)
    outside = tuple(float(np.mean(np.abs(u - 0.5) > level / 2)) for level in LEVELS)
    of_all = Expected(outside, float(u.mean()), max(float(u.std()), 1e-6))
    chance = chance_of(sets, search.weight, lambda num: generator.permuted(np.tile(u, (num, 1)), axis=1), of_all)
    unlike = [z_scores(one, search.weight, u[None], of_all)[:, :, 0] for one in sets]
    return [
        np.where(score * other > 0, np.maximum(p, np.minimum(num_targets * q, 1)), 1)
        for p, q, score, other in zip(corrected, chance.corrected(unlike), z, unlike, strict=True)
    ]
