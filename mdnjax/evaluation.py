"""How good predictive distributions are on rows that nothing was fitted to, beside two that anyone could make."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import GAUSSIAN, Full, Support
from mdnjax.data import Dataset
from mdnjax.data.columns import blocks
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, num_targets, warp
from mdnjax.predictor import Predictor
from mdnjax.scores import calibration_error, coverage, crps, nll, pit
from mdnjax.statistics import central_interval, marginal, mean

LEVELS = (0.5, 0.8, 0.95)
MAX_BY_QUADRATURE = 1000  # rows whose CRPS is computed where it has no closed form
NUM_SHUFFLES = 5
MAX_ROWS = 5000  # of which columns are shuffled


class Evaluation(NamedTuple):
    """Means over rows: NLL in nats and the targets' own units; the rest for each target `[D]`, intervals for each level `[D, L]`.

    Widths are medians; `calibration` is the mean distance between the distribution of the PIT and the uniform one.
    """

    nll: float
    crps: list[float]
    rmse: list[float]
    coverage: list[list[float]]
    width: list[list[float]]
    calibration: list[float]
    pit: np.ndarray

    def numbers(self) -> dict[str, Any]:
        """All but the PIT values, for a file."""
        return {name: value for name, value in self._asdict().items() if name != "pit"} | {"levels": list(LEVELS)}


def evaluate(predictor: Predictor, rows: Any, y: Any) -> Evaluation:
    """Scores a predictor on rows that it was not trained on, by what was observed: y `[N]` or `[N, D]`.

    Raises: TableError (a ValueError) if the rows have other columns than the predictor.
    """
    inputs = predictor.inputs(rows)
    return judge(predictor.at(inputs), predictor.observed(y, len(inputs)), predictor.units)


def judge(mixture: Mixture, observed: np.ndarray, units: Units) -> Evaluation:
    """Scores the mixtures `[N]` of N rows, which are in these units, by what was observed, `[N, D]`."""
    y = units.relative(observed).astype(mixture.logits.dtype)
    targets = range(num_targets(mixture))
    singles = [marginal(mixture, [target]) for target in targets] if len(targets) > 1 else [mixture]
    pits = [np.asarray(pit(single, y[:, target : target + 1])) for target, single in enumerate(singles)]
    scores = [crps_of(single, y[:, target : target + 1]) for target, single in enumerate(singles)]
    ends = [np.asarray(central_interval(one[:, None], jnp.array(LEVELS))) for one in singles]
    errors, wide = units.located(mean(mixture)) - observed, zip(ends, units.factor, strict=True)
    return Evaluation(
        nll=float(np.mean(np.asarray(nll(mixture, y), np.float64)) + np.sum(np.log(units.factor))),
        crps=[float(np.mean(own, dtype=np.float64)) * factor for own, factor in zip(scores, units.factor, strict=True)],
        rmse=[float(value) for value in np.sqrt(np.mean(errors**2, axis=0))],
        coverage=[[float(coverage(own, level)) for level in LEVELS] for own in pits],
        width=[(factor * np.median(own[..., 1] - own[..., 0], axis=0)).tolist() for own, factor in wide],
        calibration=[float(calibration_error(own)) for own in pits],
        pit=np.stack(pits, axis=1),
    )


def crps_of(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """CRPS of every example; where it has no closed form, of the first thousand: a Student-t costs 20 ms an example."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = mixture[:MAX_BY_QUADRATURE], y[:MAX_BY_QUADRATURE]
    return np.asarray(crps(mixture, y))


def marginal_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """One Gaussian for all rows, in these units: mean and covariance of the targets of training (of their logs or logits, if
    bounded)."""
    return _gaussian(np.zeros((len(train.x), 0)), units.relative(train.y), np.zeros((len(x), 0)), _in_units(support, units))


def linear_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Least squares on the inputs, and one covariance for all rows; in these units."""
    return _gaussian(train.x, units.relative(train.y), x, _in_units(support, units))


def _in_units(support: Support | None, units: Units) -> Support | None:
    return support and Support(*(tuple(units.relative(np.array(ends)).tolist()) for ends in support))


def _gaussian(x: np.ndarray, y: np.ndarray, at: np.ndarray, support: Support | None) -> Mixture:
    """Least squares on a constant and standardised inputs; the covariance of the residuals, by their degrees of freedom."""
    x, at = np.asarray(x, np.float64), np.asarray(at, np.float64)
    line = y if support is None else support.to_line(y, axis=1)
    middle, spread = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    design, at = (np.column_stack([np.ones(len(part)), (part - middle) / spread]) for part in (x, at))
    coefficients, _, rank, _ = np.linalg.lstsq(design, line, rcond=None)
    residuals = line - design @ coefficients
    covariance = residuals.T @ residuals / max(len(x) - int(rank), 1)
    covariance += 1e-12 * np.trace(covariance) * np.eye(len(covariance))
    tril = np.linalg.cholesky(np.linalg.inv(covariance))
    loc = (at @ coefficients)[:, None].astype(np.float32)
    tril = np.broadcast_to(tril.astype(np.float32), (len(at), 1, *tril.shape))
    mixture = Mixture(jnp.zeros((len(at), 1)), Full(jnp.asarray(loc), jnp.asarray(tril)))
    return mixture if support is None else warp(mixture, support)


def permutation_importance(predictor: Predictor, examples: Dataset, seed: int) -> dict[str, np.ndarray]:
    """By how much the mean NLL rises when a column is shuffled among the rows: `[NUM_SHUFFLES]` for each column, in nats.

    Examples are inputs, as `predictor.inputs` gives them, and targets; of many rows the first are taken. Of two columns that say
    the same each has little importance here, since the other one still says it. Source: Breiman (2001), section 10.
    """
    test = Dataset(examples.x[:MAX_ROWS], examples.y[:MAX_ROWS])
    generator, before = np.random.default_rng(seed), float(np.mean(predictor.nll(test)))
    rises = {}
    for name, block in blocks(predictor.columns):
        after = []
        for _ in range(NUM_SHUFFLES):
            x = test.x.copy()
            x[:, block] = x[generator.permutation(len(x)), block]
            after.append(float(np.mean(predictor.nll(Dataset(x, test.y)))) - before)
        rises[name] = np.array(after)
    return rises
