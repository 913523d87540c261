"""Scores predictive distributions on rows that were not trained on, and makes two Gaussian baselines to compare with."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import GAUSSIAN, Full, Support
from mdnjax.data import Dataset
from mdnjax.data.columns import blocks
from mdnjax.data.dataset import mean_over_rows, select_rows
from mdnjax.data.examples import as_weight
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, warp
from mdnjax.predictor import Predictor, marginals
from mdnjax.scores import calibration_error, coverage, crps, nll, pit
from mdnjax.statistics import central_interval, mean
from mdnjax.types import Float

LEVELS = (0.5, 0.8, 0.95)
MAX_CRPS_ROWS = 1000  # if the CRPS is computed by quadrature
NUM_SHUFFLES = 5
MAX_IMPORTANCE_ROWS = 5000


class Evaluation(NamedTuple):
    """Means over rows: the NLL in nats and the targets' own units, other scores of each target `[D]`, at each level `[D, L]`.

    `coverage` and `width` (a median) are those of central intervals at `LEVELS`; `calibration` is the mean distance between the
    distribution of the PIT values `[N, D]` and the uniform distribution.
    """

    nll: float
    crps: list[float]
    rmse: list[float]
    coverage: list[list[float]]
    width: list[list[float]]
    calibration: list[float]
    pit: np.ndarray

    def numbers(self) -> dict[str, Any]:
        """Returns all scores but the PIT values, and the levels, for a JSON file."""
        return {name: value for name, value in self._asdict().items() if name != "pit"} | {"levels": list(LEVELS)}


def evaluate(predictor: Predictor, rows: Any, y: Any, weight: Any = None) -> Evaluation:
    """Scores a predictor on rows that it was not trained on, by their observed targets y `[N]` or `[N, D]`.

    Args: `weight` `[N]` says how much each row counts in the means, by default all the same.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if y or weight has another shape.
    """
    inputs = predictor.inputs(rows)
    weight = None if weight is None else as_weight("weight", weight, len(inputs))
    return evaluate_mixtures(predictor.at(inputs), predictor.checked_targets(y, len(inputs)), predictor.units, weight)


def evaluate_mixtures(
    mixture: Mixture, observed: np.ndarray, units: Units, weight: Float[np.ndarray, " N"] | None = None
) -> Evaluation:
    """Scores the mixtures `[N]` of N rows, which are in these units, by the observed targets `[N, D]` in their own units.

    With weights all means, medians and distributions over rows are weighted, so that whole numbers have the effect of copies.
    """
    y = units.relative(observed).astype(mixture.logits.dtype)
    singles = marginals(mixture)
    pits = [np.asarray(pit(single, y[:, target : target + 1])) for target, single in enumerate(singles)]
    scores = [crps_of(single, y[:, target : target + 1]) for target, single in enumerate(singles)]
    ends = [np.asarray(central_interval(single[:, None], jnp.array(LEVELS))) for single in singles]
    errors = units.absolute(mean(mixture)) - observed
    return Evaluation(
        nll=float(mean_over_rows(nll(mixture, y), weight) + np.sum(np.log(units.factor))),
        crps=[mean_of_first_rows(score, weight) * factor for score, factor in zip(scores, units.factor, strict=True)],
        rmse=[float(value) for value in np.sqrt(mean_over_rows((errors**2).T, weight))],
        coverage=[[float(coverage(values, level, weight)) for level in LEVELS] for values in pits],
        width=[
            [float(factor * median_over_rows(width, weight)) for width in (interval[..., 1] - interval[..., 0]).T]
            for interval, factor in zip(ends, units.factor, strict=True)
        ],
        calibration=[float(calibration_error(values, weight)) for values in pits],
        pit=np.stack(pits, axis=1),
    )


def crps_of(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """Computes the CRPS of every example; without a closed form, of the first 1000, since a Student-t takes 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = mixture[:MAX_CRPS_ROWS], y[:MAX_CRPS_ROWS]
    return np.asarray(crps(mixture, y))


def mean_of_first_rows(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Returns the mean of scores that may be those of the first rows alone, as `crps_of` computes them."""
    return float(mean_over_rows(values, None if weight is None else weight[: len(values)]))


def median_over_rows(values: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"] | None) -> float:
    """Returns the median of the distribution with these weights; between two values it is their mean."""
    if weight is None:
        return float(np.median(values))
    order = np.argsort(values)
    below = np.cumsum(weight[order]) / np.sum(weight)
    return float(np.mean(values[order][[np.searchsorted(below, 0.5, side) for side in ("left", "right")]]))


def marginal_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns one Gaussian for all rows, with the mean and covariance of the train targets, in `units`.

    With a support they are those of the targets' logs or logits.
    """
    without_inputs = train._replace(x=np.zeros((len(train.x), 0)), y=units.relative(train.y))
    return _gaussian(without_inputs, np.zeros((len(x), 0)), _in_units(support, units))


def linear_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns the Gaussians of a least-squares fit on the inputs, with one covariance for all rows, in `units`."""
    return _gaussian(train._replace(y=units.relative(train.y)), x, _in_units(support, units))


def _in_units(support: Support | None, units: Units) -> Support | None:
    """Converts the bounds of a support to other units."""
    return support and Support(*(tuple(units.relative(np.array(ends)).tolist()) for ends in support))


def _gaussian(train: Dataset, at: np.ndarray, support: Support | None) -> Mixture:
    """Fits y by least squares on a constant and standardised inputs x; predicts at `at`, with the covariance of the residuals."""
    x, at = np.asarray(train.x, np.float64), np.asarray(at, np.float64)
    unbounded = train.y if support is None else support.to_line(train.y, axis=1)
    root = np.ones(len(x)) if train.weight is None else np.sqrt(train.weight / np.mean(train.weight))
    x_mean, x_sd = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    design, at = (np.column_stack([np.ones(len(inputs)), (inputs - x_mean) / x_sd]) for inputs in (x, at))
    coefficients, _, rank, _ = np.linalg.lstsq(root[:, None] * design, root[:, None] * unbounded, rcond=None)
    residuals = root[:, None] * (unbounded - design @ coefficients)
    covariance = residuals.T @ residuals / max(len(x) - int(rank), 1)
    covariance += 1e-12 * np.trace(covariance) * np.eye(len(covariance))
    tril = np.linalg.cholesky(np.linalg.inv(covariance))
    loc = (at @ coefficients)[:, None].astype(np.float32)
    tril = np.broadcast_to(tril.astype(np.float32), (len(at), 1, *tril.shape))
    mixture = Mixture(jnp.zeros((len(at), 1)), Full(jnp.asarray(loc), jnp.asarray(tril)))
    return mixture if support is None else warp(mixture, support)


def permutation_importance(predictor: Predictor, examples: Dataset, seed: int) -> dict[str, np.ndarray]:
    """Computes the rise of the mean NLL, in nats, when one column is shuffled among the rows: `[NUM_SHUFFLES]` for each column.

    The examples' inputs are those that `predictor.inputs` returns; only the first MAX_IMPORTANCE_ROWS rows are used. Of two
    columns with the same information, each has little importance. Source: Breiman (2001), section 10.
    """
    test = select_rows(examples, slice(MAX_IMPORTANCE_ROWS))
    generator, nll_before = np.random.default_rng(seed), float(mean_over_rows(predictor.nll(test), test.weight))
    rises = {}
    for name, block in blocks(predictor.columns):
        increases = []
        for _ in range(NUM_SHUFFLES):
            x = test.x.copy()
            x[:, block] = x[generator.permutation(len(x)), block]
            increases.append(float(mean_over_rows(predictor.nll(Dataset(x, test.y)), test.weight)) - nll_before)
        rises[name] = np.array(increases)
    return rises
