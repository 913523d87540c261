"""Sets that contain the target of a new row with a stated probability, whether or not the predictor is right.

They need rows that the predictor was not trained on; see `mdnjax.conformity` for what exactly is guaranteed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mdnjax.conformity import OTHER_CATEGORY, Conformal, ends_at, mass_of, region_at, scores_of
from mdnjax.data.columns import category_places
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_probabilities
from mdnjax.data.scaler import relative_transform, relative_units
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.predictor import Predictor
from mdnjax.statistics.targets import marginals
from mdnjax.types import Bool, Float, Int


def conformal(predictor: Predictor, rows: Any, y: Any, groups: str | Sequence[Any] | np.ndarray | None = None) -> Conformal:
    """Returns the scores of rows that the predictor was not trained on, and of their targets y `[n]` or `[n, D]`.

    Args: with `groups` the guarantee holds within each group. It is the name of an input column that has categories, or a label
    for each row, which later calls then need for their rows too. `with_guarantee` attaches the scores to a predictor.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor, or the column of the groups has no categories;
    ValueError if y or groups has another shape.
    """
    inputs = predictor.inputs(rows)
    examples = Dataset(inputs, predictor.checked_targets(y, len(inputs)))
    if groups is None or isinstance(groups, str):
        return conformal_of_examples(predictor, examples, groups)
    names, group = np.unique([str(label) for label in groups], return_inverse=True)
    if len(group) != len(inputs):
        raise ValueError(f"groups: got {len(group)} labels, expected one for each of {len(inputs)} rows")
    return conformal_of_examples(predictor, examples)._replace(group=group.ravel(), names=tuple(names.tolist()))


def conformal_of_examples(predictor: Predictor, examples: Dataset, column: str | None = None) -> Conformal:
    """Returns the scores of examples whose inputs are those of `predictor.inputs`, with the categories of a column as groups.

    The last group is that of all categories that training did not see.
    """
    inputs, y = examples[:2]
    predictor = replace(predictor, recalibration=None)
    units, observed = relative_units(predictor.scaler), predictor.observed.as_recorded()

    def scores(mixture: Mixture, y: np.ndarray) -> list[np.ndarray]:
        singles = [(single, units.select(d), observed.select(d), y[:, [d]]) for d, single in enumerate(marginals(mixture))]
        of_targets = [(*scores_of(*single), mass_of(*single)) for single in singles]
        return [np.stack(columns, axis=1) for columns in zip(*of_targets, strict=True)]

    upper, lower, mass = predictor.map_rows(scores, inputs, y, transform=relative_transform(predictor.scaler))
    known = Conformal(upper, lower, mass, predictor.nll(Dataset(inputs, y)), np.zeros(len(y), int))
    if column is None:
        return known
    names, places = category_places(predictor.columns, inputs, column)
    return known._replace(group=places, names=(*names, OTHER_CATEGORY), column=column)


def with_guarantee(predictor: Predictor, scores: Conformal) -> Predictor:
    """Returns the predictor with these scores, which are saved with it."""
    return replace(predictor, conformal=scores)


def guaranteed_intervals(
    predictor: Predictor, rows: Any, levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns central intervals that contain each target with at least these probabilities; an end may be infinite.

    An interval is all y for which both F(y|x) and 1 - F(y|x) are at most a threshold. It is infinite if there are fewer than
    level / (1 - level) rows with scores in the row's group.
    Args: `groups` are the labels of the rows, if `conformal` had labels; those of a column are read from the rows.
    Raises: ValueError if the predictor has no scores, or a label has none.
    """
    return guaranteed_intervals_of_inputs(predictor, predictor.inputs(rows), levels, groups)


def guaranteed_intervals_of_inputs(
    predictor: Predictor, inputs: Float[np.ndarray, "N X"], levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns `guaranteed_intervals` of rows whose inputs are those of `predictor.inputs`."""
    return _sets(predictor, inputs, known_scores(predictor).central, levels, groups, _interval_at)


def guaranteed_regions(
    predictor: Predictor, rows: Any, levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L M 2 D"]:
    """Returns sets of highest density that contain each target with at least these probabilities: at most M = 4 intervals.

    A set is a highest-density region of the prediction, whose probability is a quantile of the scores, so that it is short where
    the density has several modes. Fewer intervals are followed by nan, and the smallest gaps between more of them are closed.
    Args and errors are those of `guaranteed_intervals`. Source: Izbicki, Shimizu and Stern (2022), HPD-split.
    """
    scores = known_scores(predictor)
    return _sets(predictor, predictor.inputs(rows), np.asarray(scores.mass), levels, groups, region_at)


def guaranteed_bounds(
    predictor: Predictor, rows: Any, levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns a lower and an upper bound of each target, each of which holds with at least these probabilities."""
    scores, inputs = known_scores(predictor), predictor.inputs(rows)
    sides = (np.asarray(side) for side in (scores.lower, scores.upper))
    low, high = (_sets(predictor, inputs, side, levels, groups, _interval_at) for side in sides)
    return np.stack([low[:, :, 0], high[:, :, 1]], axis=2)


def in_guaranteed_region(predictor: Predictor, rows: Any, y: Any, level: float, groups: Any = None) -> Bool[np.ndarray, " N"]:
    """Returns whether y lies in the region of the highest joint density that contains all targets with at least this probability.

    The region of a row is all y with -log p(y|x) of at most a threshold. Source: Izbicki, Shimizu and Stern (2022).
    """
    scores, inputs = known_scores(predictor), predictor.inputs(rows)
    (probability,) = as_probabilities("level", [level])
    limit = scores.thresholds(np.asarray(scores.density), float(probability), group_places(predictor, inputs, groups))
    y = predictor.checked_targets(y, len(inputs))
    return replace(predictor, recalibration=None).nll(Dataset(inputs, y)) <= limit


def group_places(predictor: Predictor, inputs: Float[np.ndarray, "N X"], groups: Any = None) -> Int[np.ndarray, " N"]:
    """Returns the place of each row's group among the groups of the predictor's scores.

    Raises: ValueError if there are no scores, labels are missing, or are given although the groups are those of a column.
    """
    scores = known_scores(predictor)
    if scores.column is None:
        return scores.groups_of(groups, len(inputs))
    if groups is not None:
        raise ValueError(f"groups: got labels, expected none, since they are the categories of the column {scores.column!r}")
    return category_places(predictor.columns, inputs, scores.column)[1]


def known_scores(predictor: Predictor) -> Conformal:
    """Returns the scores of a predictor. Raises: ValueError if it has none."""
    if predictor.conformal is None:
        raise ValueError("guarantee: got a predictor without scores of other rows, expected one of mdnjax.with_guarantee")
    return predictor.conformal


def _interval_at(mixture: Mixture, units: Units, observed: Observed, thresholds: np.ndarray) -> np.ndarray:
    return np.stack(ends_at(mixture, units, observed, thresholds), axis=1)


def _sets(
    predictor: Predictor, inputs: np.ndarray, scores: np.ndarray, levels: Any, groups: Any, set_at: Callable[..., np.ndarray]
) -> Any:
    """Returns the sets `[N, L, ..., D]` of all y whose score is at most the threshold of a level."""
    places = group_places(predictor, inputs, groups)
    known, units, observed = known_scores(predictor), relative_units(predictor.scaler), predictor.observed
    probabilities = as_probabilities("levels", levels).tolist()
    limits = [np.stack([known.thresholds(column, level, places) for column in scores.T], axis=1) for level in probabilities]

    def of_block(mixture: Mixture, limits: np.ndarray) -> np.ndarray:
        singles = [(single, units.select(d), observed.select(d)) for d, single in enumerate(marginals(mixture))]
        of_targets = [[set_at(*single, limit) for limit in limits[:, :, d].T] for d, single in enumerate(singles)]
        return np.stack([np.stack(of_levels, axis=1) for of_levels in of_targets], axis=-1)

    return predictor.map_rows(of_block, inputs, np.stack(limits, axis=1), transform=relative_transform(predictor.scaler))
