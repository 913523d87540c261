"""The factor of the scales of a pooled mixture, against a maximisation of the likelihood by scipy."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import norm

from mdnjax.training.spread import EXTRAPOLATION, MIN_FACTOR, SCALE_FACTORS, UNCHANGED, scale_factor


def log_probs(loc, scale, y, factors: Any = SCALE_FACTORS) -> Any:
    """Log densities `[F, C, V]` of Gaussians whose scales are multiplied by each factor."""
    factors = np.asarray(factors, np.float64)[:, None, None]
    return norm.logpdf(y, np.reshape(loc, (-1, 1)), factors * np.reshape(scale, (-1, 1)))


def quantiles_of(sd, num=2000):
    return norm.ppf((np.arange(num) + 0.5) / num, scale=sd)


def best_factor(of_factor):
    found: Any = minimize_scalar(lambda log_factor: -of_factor(np.exp(log_factor)), bounds=(-1.5, 1.0), method="bounded")
    return found.x


def test_the_factor_one_is_among_the_factors():
    assert SCALE_FACTORS[UNCHANGED] == 1


@pytest.mark.parametrize("sd", [0.35, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("rotate", [False, True])
def test_equal_distributions_that_are_too_wide_get_the_ratio_of_their_widths(sd, rotate):
    found = scale_factor(log_probs([0, 0], [1, 1], quantiles_of(sd)), np.array([0.3, 0.7]), None, rotate)
    assert found == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize(("loc", "weights"), [((-0.5, 0.5), (0.5, 0.5)), ((-0.8, 0.2, 0.5), (0.2, 0.5, 0.3))])
def test_a_mixture_of_calibrated_distributions_becomes_as_narrow_as_its_errors(loc, weights):
    loc, weights = np.array(loc), np.array(weights)
    y = quantiles_of(np.sqrt(1 - weights @ loc**2))  # the errors of a distribution have the variance 1 in the mean
    pooled = best_factor(
        lambda f: np.mean(np.asarray(logsumexp(log_probs(loc, 1 + 0 * loc, y, [f])[0], axis=0, b=weights[:, None])))
    )
    single = best_factor(lambda f: np.mean(weights @ log_probs(loc, 1 + 0 * loc, y, [f])[0]))
    assert pooled < np.log(0.9)
    assert single == pytest.approx(0, abs=0.01)
    found = [scale_factor(log_probs(loc, 1 + 0 * loc, y), 3 * weights, None, rotate) for rotate in (False, True)]
    assert found[0] == pytest.approx(np.exp(pooled), rel=0.01)
    assert found[1] == pytest.approx(np.exp(pooled + EXTRAPOLATION * (pooled - single)), rel=0.01)


def test_no_distribution_becomes_wider_or_vanishes():
    wide, narrow = (scale_factor(log_probs([0, 0], [1, 1], quantiles_of(sd)), np.ones(2), None, True) for sd in (2, 1e-3))
    assert wide == 1
    assert narrow == pytest.approx(MIN_FACTOR, rel=0.01)


def test_a_row_of_weight_two_counts_as_two_rows_and_a_setting_of_weight_zero_does_not_count():
    y = np.random.default_rng(0).normal(scale=0.6, size=50)
    weight = np.where(np.arange(50) < 20, 2.0, 1.0)
    loc, scale = np.array([-0.3, 0.2, 50]), np.array([1, 0.8, 1e-3])
    weights = np.array([0.5, 0.5, 0])
    found = scale_factor(np.maximum(log_probs(loc, scale, y), -1e4), weights, weight, True)
    repeated = scale_factor(log_probs(loc[:2], scale[:2], np.append(y, y[:20])), weights[:2], None, True)
    assert found == pytest.approx(repeated, rel=1e-6)
    assert found < 1
