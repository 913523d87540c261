"""Detects observations outside of the simulations, and rows outside of the rows, that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from mdnjax.data.columns import blocks
from mdnjax.known_rows import KnownRows, p_values
from mdnjax.predictor import Predictor
from mdnjax.types import Bool, Float

MAX_CHANCE = 0.001  # of a note about test rows, if they are like those of training
ROUNDING = 1e-12  # of p-values
MAX_QUERIES = 2000  # simulations whose distance to the nearest other one is computed


def outside(simulated: np.ndarray, observed: np.ndarray, names: Sequence[str]) -> dict[int, str]:
    """Returns a sentence for each observation `[M, X]` that is farther from all simulations `[N, X]` than these are apart.

    The keys are the places of these observations. Distances are in standard deviations of the simulations; `names` are the names
    of the X numbers of an observation.
    """
    wide = simulated.astype(np.float64)
    mean, sd = wide.mean(axis=0), wide.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    scaled = (wide - mean) / sd
    tree = KDTree(scaled)
    max_gap = tree.query(scaled[:: -(-len(scaled) // MAX_QUERIES)], k=2)[0][:, 1].max()
    distances = tree.query((observed - mean) / sd)[0]
    sentences = dict[int, str]()
    for number in np.flatnonzero(distances > max_gap).tolist():
        value, low, high = observed[number].astype(np.float64), wide.min(axis=0), wide.max(axis=0)
        beyond = np.maximum(low - value, value - high) / sd
        column = int(beyond.argmax())
        reason = f"{names[column]} is {value[column]:g}, but was simulated from {low[column]:g} to {high[column]:g}"
        if beyond[column] <= 0:
            reason = "each of its numbers is in the simulated range, but not in this combination"
        sentences[number] = (
            f"observation {number + 1} is outside of what was simulated: the nearest simulation is {distances[number]:.2g} sd "
            f"away, while each simulation has another one within {max_gap:.2g} sd ({reason}); do not trust its posterior"
        )
    return sentences


def unlike_simulations(predictor: Predictor, observed: Float[np.ndarray, "M X"]) -> dict[int, str]:
    """Returns a sentence for each observation that is unlike the simulations by which p(theta|x) was learnt, by its place.

    Whereas `outside` compares an observation with all simulations, this sees how the network reads it, but only some of them.
    """
    found, level = likeness(predictor, observed), known_rows_in(predictor).level
    return {
        number: f"observation {number + 1} is unlike the simulations, to the network or in its numbers together (p-value "
        f"{found[number]:.2g}; {100 * level:.2g} % of simulations are as unlike): compare the draws with more simulations"
        for number in np.flatnonzero(found <= level + ROUNDING).tolist()
    }


def outside_of_training(predictor: Predictor, inputs: Float[np.ndarray, "N X"]) -> dict[str, Bool[np.ndarray, " N"]]:
    """Returns, for each column of the table, which rows have a value outside of the range of training, or an unseen category.

    `inputs` are those that `predictor.inputs` returns. Columns without such a row are left out. A row without any may still be a
    combination that training did not have, see `unlike_training`.
    """
    scaler, found = predictor.scaler, {}
    with np.errstate(invalid="ignore"):  # a constant column, and one that is not standardised, have no range
        ends = np.stack([scaler.x_mean + scaler.x_sd * limit for limit in (scaler.x_low, scaler.x_high)])
        quarter = (ends[1] - ends[0]) / 4  # the limits are half of the range of training beyond it, on either side
        inner = ends[0] + quarter, ends[1] - quarter, 1e-6 * quarter
    for column, (name, block) in zip(predictor.columns.inputs, blocks(predictor.columns), strict=True):
        if column.categories is not None:
            is_outside = ~np.any(inputs[:, block] > 0, axis=1)
        else:
            low, high, margin = (values[block.start] for values in inner)
            value = inputs[:, block.start]
            is_outside = (value < low - margin) | (value > high + margin)
        if is_outside.any():
            found[name] = is_outside
    return found


def likeness(predictor: Predictor, rows: Any) -> Float[np.ndarray, " N"]:
    """Returns a p-value for each row: how likely a row like those of training is at least as far from them as this one.

    It is small for a row that is far from all known rows of training, and for a combination of inputs that they do not have, also
    where each input is in its range. `mdnjax.known_rows` has the formula. It cannot see a combination that differs little from
    known ones, in the inputs together and in what the network has learnt of them, nor inputs that the model does not have.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if it contains no rows of training.
    """
    return likeness_of_inputs(predictor, predictor.inputs(rows))


def unlike_training(predictor: Predictor, rows: Any) -> Bool[np.ndarray, " N"]:
    """Returns which rows are unlike those of training: the p-value of `likeness` is at most .01.

    Of rows like those of training, such as other random rows of the same table, about a hundredth is unlike too, or with fewer
    than 199 rows of training 2 / (rows + 1).
    Raises: ValueError as `likeness` does.
    """
    return unlike_training_of_inputs(predictor, predictor.inputs(rows))


def likeness_of_inputs(predictor: Predictor, inputs: Float[np.ndarray, "N X"]) -> Float[np.ndarray, " N"]:
    """Returns `likeness` of rows whose inputs are those of `predictor.inputs`."""
    arrays = predictor.networks, known_rows_in(predictor), predictor.scaled(inputs)
    return p_values(predictor.model, *arrays, len(predictor.columns.targets))


def unlike_training_of_inputs(predictor: Predictor, inputs: Float[np.ndarray, "N X"]) -> Bool[np.ndarray, " N"]:
    """Returns `unlike_training` of rows whose inputs are those of `predictor.inputs`."""
    return likeness_of_inputs(predictor, inputs) <= known_rows_in(predictor).level + ROUNDING


def known_rows_in(predictor: Predictor) -> KnownRows:
    """Returns the rows of training that a predictor contains. Raises: ValueError if it contains none."""
    if predictor.known is None:
        expected = "expected one of mdnjax.fit with data.known_rows above 0, or a file written since December 2026"
        raise ValueError(f"likeness: got a predictor without rows of training, {expected}")
    return predictor.known


def note_of_test_rows(predictor: Predictor, inputs: Float[np.ndarray, "N X"]) -> Iterator[str]:
    """Yields a sentence if more test rows are unlike those of training than chance explains in one of a thousand tables."""
    from scipy.stats import betabinom  # imported here because the import takes half a second

    known = predictor.known
    if known is None:
        return
    num, num_known = int(unlike_training_of_inputs(predictor, inputs).sum()), len(known.held_out) or len(known.trained)
    num_marked = math.floor(known.level * (num_known + 1) + ROUNDING)  # of as many held-out rows and a new one
    if betabinom.sf(num - 1, len(inputs), num_marked, num_known + 1 - num_marked) < MAX_CHANCE:
        yield (
            f"{num} of {len(inputs)} test rows are unlike those of training (about {known.level * len(inputs):.2g} would be by "
            "chance): the scores are also about rows of a kind that the model did not learn from"
        )
