"""Density, distribution function, responsibilities, probabilities of sets."""

from __future__ import annotations

from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.proof import one_target, several_targets
from experiments.proof.cases import Case
from experiments.proof.checks.check import Check, against_samples, as_mixture, distinct, every, kinds, single
from mdnjax import Mixture


def y_of(mixture: Mixture, case: Case) -> np.ndarray:
    """The case's points in the mixture's dtype."""
    return as_mixture(case.y, mixture)


def box_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Corners of boxes: of pairs of the case's points."""
    first, second = case.y, np.roll(case.y, 1, axis=0)
    return np.minimum(first, second), np.maximum(first, second)


def _log_prob(case: Case) -> Any:
    return case.each(lambda e, y: e.log_prob(y.astype(float)), case.y)


def _box(mixture: Mixture, case: Case) -> Any:
    return mdn.box_prob(mixture, *(as_mixture(end, mixture) for end in box_of(case))).value


def _box_in_errors(mixture: Mixture, case: Case) -> Any:
    """The error that comes with the estimate is three standard errors of twelve lattices."""
    estimate = mdn.box_prob(mixture, *(as_mixture(end, mixture) for end in box_of(case)))
    return against_samples(estimate, case.each(several_targets.box_prob, *box_of(case)), 1e-6)


def _interval(mixture: Mixture, case: Case) -> Any:
    return mdn.interval_prob(mixture, *(as_mixture(end, mixture) for end in box_of(case)))


CHECKS = [
    Check(
        "log_prob",
        "log sum_k w_k p_k(y)",
        "scipy's densities, change of variables by hand",
        lambda m, c: mdn.log_prob(m, y_of(m, c)),
        _log_prob,
        every,
        2e-5,
        1e-11,
    ),
    Check(
        "prob",
        "sum_k w_k p_k(y)",
        "scipy's densities",
        lambda m, c: mdn.prob(m, y_of(m, c)),
        lambda c: np.exp(_log_prob(c)),
        kinds,
        1e-4,
        1e-11,
    ),
    Check(
        "nll",
        "-log p(y)",
        "scipy's densities",
        lambda m, c: mdn.nll(m, y_of(m, c)),
        lambda c: -_log_prob(c),
        distinct,
        2e-5,
        1e-11,
    ),
    Check("weights", "softmax(logits)", "numpy", lambda m, c: mdn.weights(m), lambda c: c.each(lambda e: e.weight), kinds, 1e-6),
    Check(
        "log_weights",
        "log softmax(logits)",
        "numpy",
        lambda m, c: np.exp(mdn.log_weights(m)),
        lambda c: c.each(lambda e: e.weight),
        kinds,
        1e-6,
    ),
    Check(
        "responsibilities",
        "w_k p_k(y) / p(y)",
        "Bayes' rule on scipy's densities",
        lambda m, c: mdn.responsibilities(m, y_of(m, c)),
        lambda c: c.each(lambda e, y: e.responsibilities(y.astype(float)), c.y),
        every,
        1e-4,
        1e-10,
    ),
    Check(
        "cdf",
        "sum_k w_k F_k(y)",
        "scipy's cdf",
        lambda m, c: mdn.cdf(m, y_of(m, c)),
        lambda c: c.each(one_target.cdf, c.y),
        single,
    ),
    Check("pit", "F(y)", "scipy's cdf", lambda m, c: mdn.pit(m, y_of(m, c)), lambda c: c.each(one_target.cdf, c.y), single),
    Check(
        "survival",
        "sum_k w_k (1 - F_k(y)), relative",
        "scipy's survival function",
        lambda m, c: mdn.survival(m, y_of(m, c)),
        lambda c: c.each(one_target.survival, c.y),
        distinct,
        2e-4,
        1e-10,
        "relative",
    ),
    Check(
        "interval_prob",
        "F(b) - F(a)",
        "scipy's cdf",
        _interval,
        lambda c: c.each(lambda e, a, b: one_target.cdf(e, b) - one_target.cdf(e, a), *box_of(c)),
        distinct,
    ),
    Check(
        "box_prob",
        "P(a < Y <= b)",
        "products of scipy's cdf; its normal probability of two targets",
        _box,
        lambda c: c.each(several_targets.box_prob, *box_of(c)),
        lambda n: n.num_targets == 2 or kinds(n),
        1e-5,
        1e-9,
    ),
    Check(
        "box_prob",
        "P(a < Y <= b), three targets, in parts of its own error",
        "scipy's randomised normal probability",
        _box_in_errors,
        lambda c: np.zeros(c.y.shape[:2]),
        lambda n: n.num_targets == 3,
        1.7,
        1.7,
        "absolute",
    ),
]
