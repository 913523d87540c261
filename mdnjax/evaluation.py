"""Scores predictive distributions on rows that were not trained on, and makes two Gaussian baselines to compare with."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import GAUSSIAN, Full, Support
from mdnjax.data import Dataset
from mdnjax.data.columns import blocks
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, warp
from mdnjax.predictor import Predictor, marginals
from mdnjax.scores import calibration_error, coverage, crps, nll, pit
from mdnjax.statistics import central_interval, mean

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


def evaluate(predictor: Predictor, rows: Any, y: Any) -> Evaluation:
    """Scores a predictor on rows that it was not trained on, by their observed targets y `[N]` or `[N, D]`.

    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if y has another shape.
    """
    inputs = predictor.inputs(rows)
    return evaluate_mixtures(predictor.at(inputs), predictor.checked_targets(y, len(inputs)), predictor.units)


def evaluate_mixtures(mixture: Mixture, observed: np.ndarray, units: Units) -> Evaluation:
    """Scores the mixtures `[N]` of N rows, which are in these units, by the observed targets `[N, D]` in their own units."""
    y = units.relative(observed).astype(mixture.logits.dtype)
    singles = marginals(mixture)
    pits = [np.asarray(pit(single, y[:, target : target + 1])) for target, single in enumerate(singles)]
    scores = [crps_of(single, y[:, target : target + 1]) for target, single in enumerate(singles)]
    ends = [np.asarray(central_interval(single[:, None], jnp.array(LEVELS))) for single in singles]
    errors = units.absolute(mean(mixture)) - observed
    return Evaluation(
        nll=float(np.mean(np.asarray(nll(mixture, y), np.float64)) + np.sum(np.log(units.factor))),
        crps=[float(np.mean(score, dtype=np.float64)) * factor for score, factor in zip(scores, units.factor, strict=True)],
        rmse=[float(value) for value in np.sqrt(np.mean(errors**2, axis=0))],
        coverage=[[float(coverage(values, level)) for level in LEVELS] for values in pits],
        width=[
            (factor * np.median(interval[..., 1] - interval[..., 0], axis=0)).tolist()
            for interval, factor in zip(ends, units.factor, strict=True)
        ],
        calibration=[float(calibration_error(values)) for values in pits],
        pit=np.stack(pits, axis=1),
    )


def crps_of(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """Computes the CRPS of every example; without a closed form, of the first 1000, since a Student-t takes 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = mixture[:MAX_CRPS_ROWS], y[:MAX_CRPS_ROWS]
    return np.asarray(crps(mixture, y))


def marginal_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns one Gaussian for all rows, with the mean and covariance of the train targets, in `units`.

    With a support they are those of the targets' logs or logits.
    """
    return _gaussian(np.zeros((len(train.x), 0)), units.relative(train.y), np.zeros((len(x), 0)), _in_units(support, units))


def linear_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns the Gaussians of a least-squares fit on the inputs, with one covariance for all rows, in `units`."""
    return _gaussian(train.x, units.relative(train.y), x, _in_units(support, units))


def _in_units(support: Support | None, units: Units) -> Support | None:
    """Converts the bounds of a support to other units."""
    return support and Support(*(tuple(units.relative(np.array(ends)).tolist()) for ends in support))


def _gaussian(x: np.ndarray, y: np.ndarray, at: np.ndarray, support: Support | None) -> Mixture:
    """Fits y by least squares on a constant and standardised inputs x; predicts at `at`, with the covariance of the residuals."""
    x, at = np.asarray(x, np.float64), np.asarray(at, np.float64)
    unbounded = y if support is None else support.to_line(y, axis=1)
    x_mean, x_sd = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    design, at = (np.column_stack([np.ones(len(inputs)), (inputs - x_mean) / x_sd]) for inputs in (x, at))
    coefficients, _, rank, _ = np.linalg.lstsq(design, unbounded, rcond=None)
    residuals = unbounded - design @ coefficients
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
    test = Dataset(examples.x[:MAX_IMPORTANCE_ROWS], examples.y[:MAX_IMPORTANCE_ROWS])
    generator, nll_before = np.random.default_rng(seed), float(np.mean(predictor.nll(test)))
    rises = {}
    for name, block in blocks(predictor.columns):
        increases = []
        for _ in range(NUM_SHUFFLES):
            x = test.x.copy()
            x[:, block] = x[generator.permutation(len(x)), block]
            increases.append(float(np.mean(predictor.nll(Dataset(x, test.y)))) - nll_before)
        rises[name] = np.array(increases)
    return rises
