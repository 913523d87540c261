"""Scores of predictions with the same columns for every method, whether it predicts a mixture, samples or quantiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mdnjax.data.units import Units
from mdnjax.evaluation import evaluate_mixtures
from mdnjax.mixture import Mixture
from mdnjax.observed import PLAIN, Observed
from mdnjax.statistics.quick import quick_interval
from mdnjax.types import Float

LEVEL = 0.9


class Points(NamedTuple):
    """Predictions without a density, of one target: its mean `[N]`, and `values[N, S]`, each of which has the weight 1 / S.

    The values are samples in any order, or the quantiles at (s - 1/2) / S for s = 1 to S.
    """

    mean: Float[np.ndarray, " N"]
    values: Float[np.ndarray, "N S"]


def scores_of(prediction: Mixture | Points, observed: Float[np.ndarray, "N 1"], units: Units) -> dict[str, float]:
    """Returns the means of NLL (nan without a density), CRPS and RMSE, and `interval_scores`, by the names of their columns.

    The prediction is in `units`; the observed targets and the scores are in the target's own units.
    """
    if isinstance(prediction, Mixture):
        evaluation = evaluate_mixtures(prediction, observed, units)
        nll, crps, rmse = evaluation.nll, evaluation.crps[0], evaluation.rmse[0]
    else:
        error = units.absolute(prediction.mean[:, None]) - observed
        nll, rmse = math.nan, float(np.sqrt(np.mean(error**2)))
        crps = float(np.mean(crps_of_points(prediction.values, units.relative(observed)[:, 0])) * units.factor[0])
    return {"nll": nll, "crps": crps, "rmse": rmse, **interval_scores(prediction, observed, units)}


def interval_scores(
    prediction: Mixture | Points, targets: Float[np.ndarray, "N 1"], units: Units, observed: Observed = PLAIN
) -> dict[str, float]:
    """Returns the share of targets inside of the central interval of 90 %, and the median width of this interval.

    Its ends are values of a lattice, or those of targets with atoms, if the targets are `observed` like that.
    """
    if isinstance(prediction, Mixture):
        ends = units.absolute(np.asarray(quick_interval(prediction, LEVEL), np.float64)[..., None])
        ends = np.asarray(observed.as_recorded().quantiles(ends))[..., 0]
    else:  # of this method's quantiles, that at (s - 1/2) / S is the s-th smallest value
        ends = np.quantile(prediction.values, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2), axis=1, method="hazen").T
        ends = units.absolute(ends[..., None])[..., 0]
    y = targets[:, 0]
    inside, width = (ends[:, 0] <= y) & (y <= ends[:, 1]), ends[:, 1] - ends[:, 0]
    return {"coverage_90": float(np.mean(inside)), "width_90": float(np.median(width))}


def crps_of_points(values: Float[np.ndarray, "N S"], y: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Returns the CRPS of the distribution that gives each of S values the weight 1 / S, exactly, in units of y.

    CRPS = 1/S sum_s |v_s - y| - 1/(2 S^2) sum_st |v_s - v_t|, where the last sum is 2 sum_s (2 s - S - 1) v_s of sorted values.
    Source: Gneiting & Raftery (2007), equation 21.
    """
    num = values.shape[1]
    ranks = 2 * np.arange(1, num + 1) - num - 1
    return np.mean(np.abs(values - y[:, None]), axis=1) - np.sort(values, axis=1) @ ranks / num**2
