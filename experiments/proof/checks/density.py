"""Checks of densities, distribution functions, responsibilities and probabilities of sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

import mdnjax as mdn
from experiments.proof import one_target, several_targets
from experiments.proof.cases import Case
from experiments.proof.checks import select
from experiments.proof.checks.check import (
    Check,
    as_dtype_of,
    at_points,
    each_example,
    each_point,
    of_mixture,
    standard_errors,
    zeros_at_points,
)
from experiments.proof.oracles import Example
from experiments.proof.regimes import EVERY
from mdnjax import Mixture


def boxes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of boxes between pairs of the case's points."""
    first, second = case.y, np.roll(case.y, 1, axis=0)
    return np.minimum(first, second), np.maximum(first, second)


def box_prob(mixture: Mixture, case: Case) -> Any:
    """Returns the estimate for boxes between the case's points."""
    return mdn.box_prob(mixture, *(as_dtype_of(mixture, corner) for corner in boxes(case)))


def true_box_prob(case: Case) -> np.ndarray:
    """Returns the probabilities of these boxes; that of a box with an end of nan is nan."""

    def oracle(example: Example, low: np.ndarray, high: np.ndarray) -> float:
        low, high = (np.clip(end, example.low, example.high) for end in (low, high))  # outside of a support there is nothing
        return np.nan if np.isnan([low, high]).any() else several_targets.box_prob(example, low, high)

    return case.each(oracle, *map(case.relative, boxes(case)))


def _box_prob_error(mixture: Mixture, case: Case) -> Any:
    """Returns the error divided by the one that the estimate states, which is six standard errors of twelve lattices."""
    return standard_errors(box_prob(mixture, case), true_box_prob(case), 1e-6)


def _interval_prob(mixture: Mixture, case: Case) -> Any:
    return mdn.interval_prob(mixture, *(as_dtype_of(mixture, corner) for corner in boxes(case)))


LOG_PROB = Check(
    "log_prob",
    "log sum_k w_k p_k(y)",
    "scipy's densities, change of variables by hand",
    at_points(mdn.log_prob),
    each_point(Example.log_prob),
    select.every,
    (2e-5, 1e-11),
    regimes=EVERY,
)
RESPONSIBILITIES = Check(
    "responsibilities",
    "w_k p_k(y) / p(y)",
    "Bayes' rule on scipy's densities",
    at_points(mdn.responsibilities),
    each_point(Example.responsibilities),
    select.every,
    (1e-4, 1e-10),
    regimes=EVERY,
)
CDF = Check(
    "cdf", "sum_k w_k F_k(y)", "scipy's cdf", at_points(mdn.cdf), each_point(one_target.cdf), select.single, regimes=EVERY
)
CHECKS = [
    LOG_PROB,
    Check(
        "prob",
        "sum_k w_k p_k(y)",
        "scipy's densities",
        at_points(mdn.prob),
        each_point(lambda e, y: np.exp(e.log_prob(y))),
        select.each_tail,
        (1e-4, 1e-11),
        regimes=EVERY,
    ),
    Check(
        "nll",
        "-log p(y)",
        "scipy's densities",
        at_points(mdn.nll),
        each_point(lambda e, y: -e.log_prob(y)),
        select.distinct,
        (2e-5, 1e-11),
        regimes=("ends",),
    ),
    Check(
        "weights",
        "softmax(logits)",
        "numpy",
        of_mixture(mdn.weights),
        each_example(lambda e: e.weight),
        select.each_tail,
        (1e-6, 1e-12),
        regimes=("weights", "many"),
    ),
    Check(
        "log_weights",
        "log softmax(logits)",
        "numpy",
        of_mixture(mdn.log_weights),
        lambda c: special.log_softmax(np.asarray(c.given.logits, float), axis=-1),
        select.each_tail,
        (1e-6, 1e-12),
        regimes=("weights", "many"),
    ),
    RESPONSIBILITIES,
    CDF,
    Check("pit", "F(y)", "scipy's cdf", at_points(mdn.pit), each_point(one_target.cdf), select.single),
    Check(
        "survival",
        "sum_k w_k (1 - F_k(y)), relative",
        "scipy's survival function",
        at_points(mdn.survival),
        each_point(one_target.survival),
        select.distinct,
        (2e-4, 1e-10),
        "relative",
        regimes=EVERY,
    ),
    Check(
        "interval_prob",
        "F(b) - F(a)",
        "scipy's cdf",
        _interval_prob,
        lambda c: c.each(one_target.interval_prob, *map(c.relative, boxes(c))),
        select.distinct,
        regimes=EVERY,
    ),
    Check(
        "box_prob",
        "P(a < Y <= b)",
        "products of scipy's cdf; its normal probability of two targets",
        lambda m, c: box_prob(m, c).value,
        true_box_prob,
        lambda n: select.two(n) or select.each_tail(n),
        (1e-5, 1e-9),
        regimes=EVERY,
    ),
    Check(
        "box_prob",
        "P(a < Y <= b), three targets, divided by its error estimate",
        "scipy's randomised normal probability",
        _box_prob_error,
        zeros_at_points,
        lambda n: n.num_targets == 3,
        (1.0, 1.0),
        "absolute",
    ),
]
