"""Scores: published formulas against other people's code, quadrature and known values."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from scipy import stats

import mdnjax as mdn
from tests import oracles


def test_crps_is_scoringrules():
    mixture = oracles.random_mixture(0, (200,), 5, 1)
    y = 4 * jax.random.normal(jax.random.key(0), (200, 1))
    weight, loc, scale = oracles.parts(mixture)
    expected = scoringrules.crps_mixnorm(np.asarray(y[:, 0]), loc[..., 0], scale[..., 0], weight)
    np.testing.assert_allclose(mdn.crps(mixture, y), expected, atol=1e-12)


def test_crps_is_the_integral_of_the_squared_cdf_error():
    mixture, y = oracles.random_mixture(1, (), 4, 1), 0.7
    grid = np.linspace(-60, 60, 400_001)
    error = np.asarray(mdn.cdf(mixture, grid[:, None])) - (grid >= y)
    assert float(mdn.crps(mixture, jnp.array([y]))) == pytest.approx(np.trapezoid(error**2, grid), abs=2e-4)


def test_crps_of_a_scale_whose_square_is_no_number():
    scale = jnp.array([[1.0], [1e25]], jnp.float32)
    mixture = mdn.Mixture(jnp.array([40.0, -40.0], jnp.float32), mdn.Diagonal(jnp.zeros((2, 1), jnp.float32), scale))
    assert float(mdn.crps(mixture, jnp.zeros(1, jnp.float32))) == pytest.approx(0.233695, rel=1e-5)
    wide = replace(mixture, logits=-mixture.logits)
    assert float(mdn.crps(wide, jnp.zeros(1, jnp.float32))) == pytest.approx(0.233695e25, rel=1e-5)


@pytest.mark.parametrize("loc", [0.0, 5.0])
def test_crps_of_one_normal_knows_the_location(loc):
    """A known defect of a peer ignores the locations: for N(0, 1) at 0 the answer is (sqrt 2 - 1) / sqrt pi."""
    mixture = mdn.Mixture(jnp.zeros(1), mdn.Diagonal(jnp.full((1, 1), loc), jnp.ones((1, 1))))
    at_zero = float(mdn.crps(mixture, jnp.zeros(1)))
    assert at_zero == pytest.approx(float(scoringrules.crps_normal(0.0, loc, 1.0)), abs=1e-12)
    if loc == 0:
        assert at_zero == pytest.approx(0.233695, abs=1e-6)


def test_pit_of_true_draws_is_uniform_and_covers():
    mixture = oracles.random_mixture(2, (20_000,), 3, 1)
    values = mdn.pit(mixture, mdn.sample(jax.random.key(1), mixture))
    assert stats.kstest(np.asarray(values), "uniform").pvalue > 1e-3
    for level in (0.5, 0.9):
        assert float(mdn.coverage(values, level)) == pytest.approx(level, abs=5 * np.sqrt(level * (1 - level) / 20_000))


def test_nll_is_minus_log_prob():
    mixture, y = oracles.random_mixture(3, (4,), 2, 3), jnp.ones((4, 3))
    np.testing.assert_array_equal(mdn.nll(mixture, y), -mdn.log_prob(mixture, y))


def test_crps_of_two_targets_is_refused():
    with pytest.raises(ValueError, match="2 targets"):
        mdn.crps(oracles.random_mixture(0, (4,), 3, 2), jnp.zeros((4, 2)))
