"""Checks of numbers that summarise a mixture: quantiles, moments, entropy and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.command import import_extra
from experiments.proof import one_target, several_targets
from experiments.proof.cases import PROBABILITIES, Case, Name, is_gaussian
from experiments.proof.checks import select
from experiments.proof.checks.check import (
    Check,
    Position,
    as_dtype_of,
    at_points,
    each_example,
    each_point,
    for_each_example,
    of_mixture,
    zeros,
)
from experiments.proof.oracles import Example, Numbers
from experiments.proof.regimes import EVERY, OF_MIXTURES
from mdnjax import Mixture


def _quantile_error(case: Case, p: np.ndarray, y: Any) -> Numbers:
    """Returns the error of the value or of the probability, whichever is smaller: the second where the density is nearly 0."""
    rounding, y, truth = case.rounding(y.dtype), case.relative(y), case.each(one_target.quantile, p)
    by_value = np.maximum(np.abs(y - truth) - rounding, 0) / np.maximum(1, np.abs(truth))
    return np.minimum(by_value[..., 0], np.abs(case.each(_probability_error, y, p)))


def _probability_error(example: Example, y: Numbers, p: Any) -> float:
    """Returns cdf(y) - p, relative to the probability of the tail that p is in."""
    p = float(p)
    return (one_target.cdf(example, y) - p) / p if p < 0.5 else (1 - p - one_target.survival(example, y)) / (1 - p)


def _quantile(mixture: Mixture, case: Case) -> Numbers:
    p = for_each_example(PROBABILITIES, case)
    return _quantile_error(case, p, mdn.quantile(mixture, as_dtype_of(mixture, p)))


def _median(mixture: Mixture, case: Case) -> Numbers:
    return _quantile_error(case, for_each_example(np.array([0.5]), case), mdn.median(mixture)[None])


def _central_interval(mixture: Mixture, case: Case) -> Numbers:
    ends = np.asarray(mdn.central_interval(mixture, as_dtype_of(mixture, [[0.5], [0.875]])))  # [2, B, 2]
    p = np.array([[0.25, 0.75], [0.0625, 0.9375]])
    return np.stack([_quantile_error(case, for_each_example(p[:, side], case), ends[..., side, None]) for side in (0, 1)])


def _standardised_moment(order: int) -> Callable[[Example], Numbers]:
    def oracle(example: Example) -> Numbers:
        with np.errstate(invalid="ignore"):
            moments = [one_target.central(target, order) for target in example.targets()]
            return np.array(moments) / several_targets.variance(example) ** (order / 2)

    return oracle


def _has_variance(name: Name) -> bool:
    return not (name.family == "student_t" and name.support not in ("line", "box"))


def _crps_of_gaussians(example: Example, y: Numbers) -> Any:
    scoringrules = import_extra("scoringrules", "test")
    return scoringrules.crps_mixnorm(float(y[0]), example.loc[:, 0], example.scale[:, 0], example.weight)


def _cde_loss(case: Case) -> Numbers:
    return case.each(one_target.squared_density) - 2 * np.exp(each_point(Example.log_prob)(case))


def _distance_from_bounds(mixture: Mixture, case: Case) -> Numbers:
    low, high = mdn.entropy_bounds(mixture)
    truth = case.each(one_target.entropy)
    return np.maximum(np.maximum(np.asarray(low) - truth, truth - np.asarray(high)), 0)


CRPS = Check(
    "crps",
    "int (F(t) - [y <= t])^2 dt",
    "Gauss-Legendre panels",
    at_points(mdn.crps),
    each_point(one_target.crps),
    select.distinct,
    (1e-4, 1e-9),
    regimes=EVERY,
)
CRPS_OF_GAUSSIANS = Check(
    "crps",
    "Grimit et al. (2006), eq. 5",
    "scoringrules",
    at_points(mdn.crps),
    each_point(_crps_of_gaussians),
    lambda n: select.single(n) and is_gaussian(n) and n.support == "line",
    (1e-5, 1e-11),
    regimes=(*OF_MIXTURES, "kinks"),
)
CHECKS = [
    Check(
        "quantile",
        "F(y) = p, p from 1e-6 to 1 - 1e-6",
        "brentq on scipy's cdf and survival",
        _quantile,
        zeros(len(PROBABILITIES)),
        select.single,
        (2e-5, 1e-11),
        regimes=OF_MIXTURES,
    ),
    Check(
        "median", "F(y) = 1/2", "brentq on scipy's cdf", _median, zeros(1), select.each_tail, (1e-5, 1e-11), regimes=OF_MIXTURES
    ),
    Check(
        "central_interval",
        "F(y) = (1 -+ level) / 2",
        "brentq on scipy's cdf",
        _central_interval,
        zeros(2, 2),
        select.each_tail,
        (1e-5, 1e-11),
        regimes=OF_MIXTURES,
    ),
    Check(
        "expected_shortfall",
        "E[Y; Y <= quantile(p)] / p",
        "Gauss-Legendre panels",
        lambda m, c: Position(mdn.expected_shortfall(m, as_dtype_of(m, for_each_example(PROBABILITIES, c)))),
        lambda c: c.each(one_target.expected_shortfall, for_each_example(PROBABILITIES, c)),
        select.distinct,
        (2e-3, 1e-9),
        regimes=OF_MIXTURES,
    ),
    Check(
        "mean",
        "sum_k w_k m_k",
        "Gauss-Legendre panels",
        of_mixture(lambda m: Position(mdn.mean(m))),
        each_example(several_targets.mean),
        select.every,
        (1e-5, 1e-11),
        regimes=OF_MIXTURES,
    ),
    Check(
        "variance",
        "sum_k w_k (v_k + (m_k - m)^2), relative",
        "Gauss-Legendre panels",
        of_mixture(mdn.variance),
        each_example(several_targets.variance),
        select.every,
        (1e-4, 1e-9),
        "relative",
        regimes=OF_MIXTURES,
    ),
    Check(
        "covariance",
        "sum_k w_k (C_k + (m_k - m)(m_k - m)^T)",
        "Gauss-Legendre panels, products of two",
        of_mixture(mdn.covariance),
        each_example(several_targets.covariance),
        _has_variance,
        (1e-4, 1e-9),
        regimes=OF_MIXTURES,
    ),
    *[
        Check(
            name,
            formula,
            "Gauss-Legendre panels",
            of_mixture(function),
            each_example(_standardised_moment(order)),
            lambda n, tails=tails: select.distinct(n) and _has_variance(n) and (n.family == "student_t") in tails,
            (1e-3, 1e-8),
            regimes=regimes,
        )
        for order, name, function, formula, tails, regimes in (
            (3, "skewness", mdn.skewness, "E[(Y - m)^3] / v^(3/2)", (False, True), OF_MIXTURES),
            (4, "kurtosis", mdn.kurtosis, "E[(Y - m)^4] / v^2", (False,), OF_MIXTURES),
            # Among 64 Student-t components some have df near 4, where the panels of the oracle end before the fourth moment does.
            (4, "kurtosis", mdn.kurtosis, "E[(Y - m)^4] / v^2", (True,), ("far", "weights", "df", "one")),
        )
    ],
    Check(
        "entropy",
        "-E[log p(Y)]",
        "Gauss-Legendre panels",
        of_mixture(lambda m: mdn.entropy(m).value),
        each_example(one_target.entropy),
        select.distinct,
        (1e-4, 1e-9),
        regimes=OF_MIXTURES,
    ),
    Check(
        "entropy_bounds",
        "how far the entropy is outside of them",
        "Gauss-Legendre panels",
        _distance_from_bounds,
        zeros(),
        select.distinct,
        (1e-4, 1e-9),
        regimes=OF_MIXTURES,
    ),
    CRPS,
    CRPS_OF_GAUSSIANS,
    CRPS._replace(
        function="crps_by_quadrature",
        value=at_points(lambda m, y: mdn.crps_by_quadrature(m, y).value),
        applies=lambda n: select.single(n) and n.support == "line" and n.family == "diagonal",
    ),
    Check(
        "cde_loss",
        "int p^2 - 2 p(y)",
        "Gauss-Legendre panels",
        at_points(mdn.cde_loss),
        _cde_loss,
        select.distinct,
        (1e-4, 1e-9),
        regimes=EVERY,
    ),
]
