"""Numbers of many predictive distributions, as the explorer shows them: quantiles, modes, and points of the density's curve.

Programs of a run are compiled for its own numbers of rows. The rows of a page are therefore computed in blocks of these sizes,
because compiling the same statistics anew would take longer than the page may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, prob
from mdnjax.observed import Observed
from mdnjax.predictor import Predictor
from mdnjax.statistics import cdf
from mdnjax.statistics.quick import quick_interval, quick_quantile
from mdnjax.statistics.targets import marginals
from mdnjax.types import Float

INTERVALS = (0.998, 0.95, 0.9, 0.8, 0.5)  # their ends and the median are the quantiles
LEVELS = (*((1 - level) / 2 for level in INTERVALS), 0.5, *((1 + level) / 2 for level in reversed(INTERVALS)))
NUM_POINTS = 32  # of a curve that one call of the density computes
NUM_ADDITIONS = 2  # of as many points where the curve has its probability and its shape
WEIGHT_OF_SHAPE = 0.5  # of the height and the length of a part of a curve, where its probability has weight 1
MAX_MODES = 4
NUM_SEARCHES = 3  # of each mode between the two points beside it
MIN_HEIGHT = 0.01  # of a mode, as a share of the highest one


class Summary(NamedTuple):
    """Numbers of the predictive distributions of one target for S rows, in its own units; nan where there is no mode.

    `curve_y` and `density` are points of the curve of the density, in the order of y. `atoms` are the probabilities of the values
    `atom_values`, beside which the target has the density.
    """

    quantiles: Float[np.ndarray, "S L"]
    modes: Float[np.ndarray, "S M"]
    heights: Float[np.ndarray, "S M"]
    curve_y: Float[np.ndarray, "S C"]
    density: Float[np.ndarray, "S C"]
    atom_values: Float[np.ndarray, " A"]
    atoms: Float[np.ndarray, "S A"]


def summarise(predictor: Predictor, inputs: Float[np.ndarray, "S X"], num_rows: int, max_rows: int) -> list[Summary]:
    """Returns the numbers of each target for rows of inputs, which `Predictor.inputs` returned.

    Args: mixtures are computed for `num_rows` rows at a time, and their statistics for at most `max_rows`.
    """
    mixture = in_blocks(predictor.at, inputs, num_rows)
    singles, rows = jax.tree.map(np.asarray, marginals(mixture)), min(num_rows, max_rows)
    units, observed = predictor.units, predictor.observed
    return [_of_target(single, units.select(d), observed.select(d), rows) for d, single in enumerate(singles)]


def in_blocks(function: Callable[[Any], Any], rows: Any, num: int) -> Any:
    """Applies a function to `num` rows at a time; the last rows are repeated, so that one program serves all blocks."""
    total, results = len(jax.tree.leaves(rows)[0]), []
    for start in range(0, total, num):
        block = jax.tree.map(lambda leaf, i=start: np.resize(leaf[i : i + num], (num, *leaf.shape[1:])), rows)
        results.append(jax.tree.map(np.asarray, function(block)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:total], *results)


def _of_target(mixture: Mixture, units: Units, observed: Observed, num: int) -> Summary:
    v = _quantiles_of_mixtures(mixture, observed, num)
    points, density, modes, heights = _curve(lambda at: in_blocks(_density_slope_and_share, (mixture, at), num), v)
    own = [units.absolute(values[..., None])[..., 0] for values in (v, modes, points)]
    quantiles = observed.quantiles(own[0][..., None])[..., 0]
    density, heights = density / units.factor[0], heights / units.factor[0]
    atoms, values = np.zeros((len(v), 0)), np.zeros(0)
    if (known := observed.atoms) is not None:
        shown = known._replace(low=np.where(known.censored > 0, known.high, known.low))  # predictions have no bounds of censoring
        own[1:] = [np.asarray(shown.observed(values)) for values in own[1:]]
        is_atom = [shown.place_of(np.nan_to_num(values)[..., None])[..., 0] >= 0 for values in own[1:]]
        values, atoms = observed.values, observed.probabilities(mixture, units)
        own[1], heights = (np.where(is_atom[0], np.nan, numbers) for numbers in (own[1], heights))
        density = np.where(is_atom[1], 0, density)
    return Summary(quantiles, own[1], heights, own[2], density, values, atoms)


def _quantiles_of_mixtures(mixture: Mixture, observed: Observed, num: int) -> np.ndarray:
    """Returns the quantiles at LEVELS of each row, after recalibration, in the units of the mixtures."""
    if observed.recalibration is not None:
        return in_blocks(lambda rows: observed.mixture_quantiles(rows, np.array(LEVELS)), mixture, num)
    middle = in_blocks(lambda rows: quick_quantile(rows, 0.5), mixture, num)
    ends = np.stack([in_blocks(lambda rows, level=level: quick_interval(rows, level), mixture, num) for level in INTERVALS], -1)
    return np.concatenate([ends[:, 0], middle, ends[:, 1, ::-1]], axis=1)


@jax.jit
def _density_slope_and_share(mixture_and_points: tuple[Mixture, Any]) -> tuple[Any, Any, Any]:
    """Returns the density at points y `[N, C]`, its slope, and the probability below them."""
    mixture, y = mixture_and_points
    density, slope = jax.jvp(lambda y: prob(mixture[:, None], y[..., None]), (y,), (jnp.ones_like(y),))
    return density, slope, cdf(mixture[:, None], y[..., None])


def _curve(evaluate: Callable[[np.ndarray], Any], quantiles: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns points of the curve, the density there, and modes with their heights.

    The first points divide the distances between the quantiles. More are put where the curve has its probability, so that a
    narrow peak between two points, which shows in the probability, gets points of its own, and where its height changes.
    """
    places = np.linspace(0, quantiles.shape[1] - 1, NUM_POINTS)
    y = np.stack([np.interp(places, np.arange(len(row)), row) for row in quantiles]).astype(np.float32)
    curve = (y, *evaluate(y))
    for _ in range(NUM_ADDITIONS):
        curve = _with_points(
            curve, [_points_between(y, density, below) for y, density, _, below in zip(*curve, strict=True)], evaluate
        )
    for _ in range(NUM_SEARCHES):
        curve = _with_points(curve, [_points_at_modes(*row) for row in zip(*curve[:3], strict=True)], evaluate)
    modes = np.stack([_modes(*row) for row in zip(*curve[:3], strict=True)])
    return curve[0], curve[1], modes[:, 0], modes[:, 1]


def _with_points(curve: tuple[np.ndarray, ...], more: list[np.ndarray], evaluate: Callable[[np.ndarray], Any]) -> Any:
    """Returns a curve with more points, in the order of y."""
    y = np.stack(more).astype(np.float32)
    parts = [np.concatenate(part, axis=1) for part in zip(curve, (y, *evaluate(y)), strict=True)]
    order = np.argsort(parts[0], axis=1, kind="stable")
    return tuple(np.take_along_axis(part, order, axis=1) for part in parts)


def _points_between(y: np.ndarray, density: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns points that divide a curve evenly in the sum of its probability, its height up and down, and its length."""
    tiny = np.finfo(np.float32).tiny
    height = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(density)))]) / max(density.max(), tiny)
    length = (y - y[0]) / max(y[-1] - y[0], tiny)
    passed = np.maximum.accumulate(below) - below[0] + WEIGHT_OF_SHAPE * (height + length)
    return np.interp(np.linspace(0, passed[-1], NUM_POINTS + 2)[1:-1], passed, y)


def _before_modes(density: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Returns the indices of the points before the highest modes, in the order of y: there the slope changes its sign."""
    found = np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    height = np.maximum(density[found], density[found + 1])
    found, height = (values[height >= MIN_HEIGHT * density.max()] for values in (found, height))
    return np.sort(found[np.argsort(-height, kind="stable")][:MAX_MODES])


def _points_at_modes(y: np.ndarray, density: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Returns points between the two points beside each of the highest modes, and others where modes may be hidden.

    Between two points with slopes of one sign there may be a mode and a minimum if the density changes by less than these slopes.
    """
    found, num = _before_modes(density, slope), NUM_POINTS // MAX_MODES
    around = [np.linspace(y[i], y[i + 1], num + 2)[1:-1] for i in found]
    change, steps = np.abs(np.diff(density)), np.diff(y) * (np.abs(slope[:-1]) + np.abs(slope[1:]))
    change = np.where(
        (density[1:] >= MIN_HEIGHT * density.max()) & (steps > 0), change / np.maximum(steps, np.finfo(np.float32).tiny), np.inf
    )
    hidden = np.argsort(change, kind="stable")[: NUM_POINTS - num * len(found)]
    return np.concatenate([*around, (y[hidden] + y[hidden + 1]) / 2])


def _modes(y: np.ndarray, density: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Returns the modes and their heights `[2, M]`: where a line through the slopes beside each mode is zero."""
    modes = np.full((2, MAX_MODES), np.nan)
    for place, i in enumerate(_before_modes(density, slope)):
        share = slope[i] / (slope[i] - slope[i + 1])
        modes[:, place] = y[i] + share * (y[i + 1] - y[i]), max(density[i], density[i + 1])
    return modes
