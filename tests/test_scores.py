"""Tests of scores: published formulas against other libraries, quadrature and known values."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mdnjax as mdn
from experiments.proof.checks import numbers
from tests import oracles


def test_crps_equals_that_of_scoringrules():
    mixture = oracles.random_mixture(0, (200,), 5, 1)
    y = 4 * jax.random.normal(jax.random.key(0), (200, 1))
    assert oracles.largest_error_of(numbers.CRPS_OF_GAUSSIANS, mixture, y) <= 1e-12


def test_crps_is_the_integral_of_the_squared_cdf_error():
    assert oracles.largest_error_of(numbers.CRPS, oracles.random_mixture(1, (), 4, 1), jnp.array([0.7])) <= 1e-9


def test_crps_of_a_scale_whose_square_overflows():
    scale = jnp.array([[1.0], [1e25]], jnp.float32)
    mixture = mdn.Mixture(jnp.array([40.0, -40.0], jnp.float32), mdn.Diagonal(jnp.zeros((2, 1), jnp.float32), scale))
    assert float(mdn.crps(mixture, jnp.zeros(1, jnp.float32))) == pytest.approx(0.233695, rel=1e-5)
    wide = replace(mixture, logits=-mixture.logits)
    assert float(mdn.crps(wide, jnp.zeros(1, jnp.float32))) == pytest.approx(0.233695e25, rel=1e-5)


def test_pit_of_samples_is_uniform_and_has_the_nominal_coverage():
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
