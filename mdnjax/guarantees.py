"""Sets that contain the target of a new row with a stated probability, whether or not the predictor is right.

They need rows that the predictor was not trained on; see `mdnjax.conformity` for what exactly is guaranteed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mdnjax.conformity import Conformal, ends_at, scores_of
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_probabilities
from mdnjax.data.scaler import relative_transform, relative_units
from mdnjax.mixture import Mixture
from mdnjax.predictor import Predictor
from mdnjax.statistics.targets import marginals
from mdnjax.types import Bool, Float


def conformal(predictor: Predictor, rows: Any, y: Any, groups: Sequence[Any] | np.ndarray | None = None) -> Conformal:
    """Returns the scores of rows that the predictor was not trained on, and of their targets y `[n]` or `[n, D]`.

    Args: with `groups`, a label for each row such as the category of a column, the guarantee holds within each group.
    `with_guarantee` attaches them to a predictor.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if y or groups has another shape.
    """
    inputs = predictor.inputs(rows)
    scores = conformal_of_examples(predictor, Dataset(inputs, predictor.checked_targets(y, len(inputs))))
    if groups is None:
        return scores
    names, group = np.unique([str(label) for label in groups], return_inverse=True)
    if len(group) != len(inputs):
        raise ValueError(f"groups: got {len(group)} labels, expected one for each of {len(inputs)} rows")
    return scores._replace(group=group.ravel(), names=tuple(names.tolist()))


def conformal_of_examples(predictor: Predictor, examples: Dataset) -> Conformal:
    """Returns the scores of examples whose inputs are those of `predictor.inputs`, in one group."""
    inputs, y = examples[:2]
    units, observed = relative_units(predictor.scaler), predictor.observed.as_recorded()

    def scores(mixture: Mixture, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        singles = enumerate(marginals(mixture))
        both = [scores_of(single, units.select(d), observed.select(d), y[:, [d]]) for d, single in singles]
        upper, lower = (np.stack(columns, axis=1) for columns in zip(*both, strict=True))
        return upper, lower

    upper, lower = predictor.map_rows(scores, inputs, y, transform=relative_transform(predictor.scaler))
    return Conformal(upper, lower, predictor.nll(Dataset(inputs, y)), np.zeros(len(y), int))


def with_guarantee(predictor: Predictor, scores: Conformal) -> Predictor:
    """Returns the predictor with these scores, which are saved with it."""
    return replace(predictor, conformal=scores)


def guaranteed_intervals(
    predictor: Predictor, rows: Any, levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns central intervals that contain each target with at least these probabilities; an end may be infinite.

    An interval is all y for which both F(y|x) and 1 - F(y|x) are at most a threshold. It is infinite if there are fewer than
    level / (1 - level) rows with scores. Raises: ValueError if the predictor has no scores, or a group has none.
    """
    return guaranteed_intervals_of_inputs(predictor, predictor.inputs(rows), levels, groups)


def guaranteed_intervals_of_inputs(
    predictor: Predictor, inputs: Float[np.ndarray, "N X"], levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns `guaranteed_intervals` of rows whose inputs are those of `predictor.inputs`."""
    scores = _scores(predictor)
    return _ends(predictor, inputs, np.maximum(scores.upper, scores.lower), levels, groups)


def guaranteed_bounds(
    predictor: Predictor, rows: Any, levels: Sequence[float | int] | np.ndarray, groups: Any = None
) -> Float[np.ndarray, "N L 2 D"]:
    """Returns a lower and an upper bound of each target, each of which holds with at least these probabilities."""
    scores, inputs = _scores(predictor), predictor.inputs(rows)
    low = _ends(predictor, inputs, np.asarray(scores.lower), levels, groups)[:, :, 0]
    return np.stack([low, _ends(predictor, inputs, np.asarray(scores.upper), levels, groups)[:, :, 1]], axis=2)


def in_guaranteed_region(predictor: Predictor, rows: Any, y: Any, level: float, groups: Any = None) -> Bool[np.ndarray, " N"]:
    """Returns whether y lies in the region of the highest joint density that contains all targets with at least this probability.

    The region of a row is all y with -log p(y|x) of at most a threshold. Source: Izbicki, Shimizu and Stern (2022).
    """
    scores, inputs = _scores(predictor), predictor.inputs(rows)
    (probability,) = as_probabilities("level", [level])
    limit = scores.thresholds(np.asarray(scores.density), float(probability), scores.groups_of(groups, len(inputs)))
    return predictor.nll(Dataset(inputs, predictor.checked_targets(y, len(inputs)))) <= limit


def _ends(predictor: Predictor, inputs: np.ndarray, scores: np.ndarray, levels: Any, groups: Any) -> Float[np.ndarray, "N L 2 D"]:
    known = _scores(predictor)
    units, places = relative_units(predictor.scaler), known.groups_of(groups, len(inputs))
    probabilities = as_probabilities("levels", levels)
    limits = np.stack(
        [np.stack([known.thresholds(column, float(level), places) for column in scores.T], axis=1) for level in probabilities],
        axis=1,
    )

    def ends(mixture: Mixture, limits: np.ndarray) -> np.ndarray:
        targets = []
        for d, single in enumerate(marginals(mixture)):
            of_target = units.select(d), predictor.observed.select(d)
            of_levels = [np.stack(ends_at(single, *of_target, limit), axis=1) for limit in limits[:, :, d].T]
            targets.append(np.stack(of_levels, axis=1))
        return np.stack(targets, axis=-1)

    return predictor.map_rows(ends, inputs, limits, transform=relative_transform(predictor.scaler))


def _scores(predictor: Predictor) -> Conformal:
    if predictor.conformal is None:
        raise ValueError("guarantee: got a predictor without scores of other rows, expected one of mdnjax.with_guarantee")
    return predictor.conformal
