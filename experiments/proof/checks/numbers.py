"""Numbers that sum a mixture up: quantiles, moments, entropy, scores, of one target and of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import scoringrules

import mdnjax as mdn
from experiments.proof import one_target, several_targets
from experiments.proof.cases import SHARES, Case, is_gaussian
from experiments.proof.checks.check import Check, as_mixture, distinct, every, kinds, single
from experiments.proof.checks.density import y_of
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture


def shares(case: Case) -> np.ndarray:
    """Probabilities `[P, B]`, the same for each example."""
    return np.broadcast_to(SHARES[:, None], (len(SHARES), len(case.examples)))


def quantile_error(case: Case, p: np.ndarray, y: Any) -> Numbers:
    """How far values are from quantiles: in the value or, where the density is all but nothing, in the probability."""
    truth = case.each(one_target.quantile, p)
    below = case.each(_excess, np.asarray(y, float), p)
    by_value = np.abs(np.asarray(y, float) - truth) / np.maximum(1, np.abs(truth))
    return np.minimum(by_value[..., 0], np.abs(below))


def _excess(example: Example, y: Numbers, p: Any) -> float:
    """Of the probability below y over p, relative to the tail that p is in."""
    p = float(p)
    return (one_target.cdf(example, y) - p) / p if p < 0.5 else (1 - p - one_target.survival(example, y)) / (1 - p)


def _quantile(mixture: Mixture, case: Case) -> Numbers:
    return quantile_error(case, shares(case), mdn.quantile(mixture, as_mixture(shares(case), mixture)))


def _median(mixture: Mixture, case: Case) -> Numbers:
    half = np.full((1, len(case.examples)), 0.5, np.float32)
    return quantile_error(case, half, mdn.median(mixture)[None])


def _central_interval(mixture: Mixture, case: Case) -> Numbers:
    ends = np.asarray(mdn.central_interval(mixture, as_mixture([[0.5], [0.875]], mixture)))  # [2, B, 2]
    p = np.array([[0.25, 0.75], [0.0625, 0.9375]])
    parts = [quantile_error(case, np.repeat(p[:, side, None], len(case.examples), 1), ends[..., side, None]) for side in (0, 1)]
    return np.stack(parts)


def _standardised(order: int) -> Any:
    def of(example: Example) -> Numbers:
        targets = [example.target(d) for d in range(example.loc.shape[1])]
        with np.errstate(invalid="ignore"):
            return np.array([one_target.central(e, order) / np.float64(one_target.central(e, 2)) ** (order / 2) for e in targets])

    return of


def _finite(name: Any) -> bool:
    return not (name.family == "student_t" and name.support != "line" and name.support != "box")


def _crps_of_gaussians(case: Case) -> Numbers:
    return case.each(lambda e, y: scoringrules.crps_mixnorm(float(y[0]), e.loc[:, 0], e.scale[:, 0], e.weight), case.y)


def _cde(case: Case) -> Numbers:
    norms = case.each(one_target.squared_density)
    return norms - 2 * np.exp(case.each(lambda e, y: e.log_prob(y.astype(float)), case.y))


def _within_bounds(mixture: Mixture, case: Case) -> Numbers:
    low, high = mdn.entropy_bounds(mixture)
    truth = case.each(one_target.entropy)
    return np.maximum(np.maximum(np.asarray(low) - truth, truth - np.asarray(high)), 0)


def zeros(*shape: int) -> Any:
    """A truth of errors: none."""
    return lambda case: np.zeros((*shape, len(case.examples)))


def _moments(order: str) -> Any:
    return lambda m, c: getattr(mdn, order)(m)


CHECKS = [
    Check(
        "quantile",
        "F(y) = p, p from 1e-6 to 1 - 1e-6",
        "brentq on scipy's cdf and survival",
        _quantile,
        zeros(len(SHARES)),
        single,
        2e-5,
        1e-11,
    ),
    Check("median", "F(y) = 1/2", "brentq on scipy's cdf", _median, zeros(1), kinds, 1e-5, 1e-11),
    Check(
        "central_interval", "F(y) = (1 -+ level) / 2", "brentq on scipy's cdf", _central_interval, zeros(2, 2), kinds, 1e-5, 1e-11
    ),
    Check(
        "expected_shortfall",
        "E[Y; Y <= quantile(p)] / p",
        "Gauss-Legendre panels",
        lambda m, c: mdn.expected_shortfall(m, as_mixture(shares(c), m)),
        lambda c: c.each(one_target.expected_shortfall, shares(c)),
        distinct,
        2e-3,
        1e-9,
    ),
    Check(
        "mean",
        "sum_k w_k m_k",
        "Gauss-Legendre panels",
        _moments("mean"),
        lambda c: c.each(several_targets.mean),
        every,
        1e-5,
        1e-11,
    ),
    Check(
        "variance",
        "sum_k w_k (v_k + (m_k - m)^2), relative",
        "Gauss-Legendre panels",
        _moments("variance"),
        lambda c: c.each(lambda e: np.array([one_target.central(e.target(d), 2) for d in range(e.loc.shape[1])])),
        every,
        1e-4,
        1e-9,
        "relative",
    ),
    Check(
        "covariance",
        "sum_k w_k (C_k + (m_k - m)(m_k - m)^T)",
        "Gauss-Legendre panels, products of two",
        _moments("covariance"),
        lambda c: c.each(several_targets.covariance),
        _finite,
        1e-4,
        1e-9,
    ),
    Check(
        "skewness",
        "E[(Y - m)^3] / v^(3/2)",
        "Gauss-Legendre panels",
        _moments("skewness"),
        lambda c: c.each(_standardised(3)),
        lambda n: distinct(n) and _finite(n),
        1e-3,
        1e-8,
    ),
    Check(
        "kurtosis",
        "E[(Y - m)^4] / v^2",
        "Gauss-Legendre panels",
        _moments("kurtosis"),
        lambda c: c.each(_standardised(4)),
        lambda n: distinct(n) and _finite(n),
        1e-3,
        1e-8,
    ),
    Check(
        "entropy",
        "-E[log p(Y)]",
        "Gauss-Legendre panels",
        lambda m, c: mdn.entropy(m).value,
        lambda c: c.each(one_target.entropy),
        distinct,
        1e-4,
        1e-9,
    ),
    Check(
        "entropy_bounds",
        "how far the entropy is outside of them",
        "Gauss-Legendre panels",
        _within_bounds,
        zeros(),
        distinct,
        1e-4,
        1e-9,
    ),
    Check(
        "crps",
        "int (F(t) - [y <= t])^2 dt",
        "Gauss-Legendre panels",
        lambda m, c: mdn.crps(m, y_of(m, c)),
        lambda c: c.each(one_target.crps, c.y),
        distinct,
        1e-4,
        1e-9,
    ),
    Check(
        "crps",
        "Grimit et al. (2006), eq. 5",
        "scoringrules",
        lambda m, c: mdn.crps(m, y_of(m, c)),
        _crps_of_gaussians,
        lambda n: single(n) and is_gaussian(n) and n.support == "line",
        1e-5,
        1e-11,
    ),
    Check(
        "crps_by_quadrature",
        "int (F(t) - [y <= t])^2 dt",
        "Gauss-Legendre panels",
        lambda m, c: mdn.crps_by_quadrature(m, y_of(m, c)).value,
        lambda c: c.each(one_target.crps, c.y),
        lambda n: single(n) and n.support == "line" and n.family == "diagonal",
        1e-4,
        1e-9,
    ),
    Check(
        "cde_loss",
        "int p^2 - 2 p(y)",
        "Gauss-Legendre panels",
        lambda m, c: mdn.cde_loss(m, y_of(m, c)),
        _cde,
        distinct,
        1e-4,
        1e-9,
    ),
]
