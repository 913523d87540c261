"""The exact properties of the sinusoid, compared with published numbers, Monte Carlo and quadrature."""

import numpy as np
import pytest

from mdnjax.data import sinusoid


@pytest.fixture(scope="module")
def big():
    return sinusoid.make_splits(0, num_train=10, num_validation=10, num_test=100_000).test


def test_floor_mse_is_the_published_one():
    assert sinusoid.floor_mse() == pytest.approx(21.30754, abs=1e-5)


def test_many_points_are_as_exact_as_few():
    """Long arrays use a table of normalisers, short arrays the quadrature; some of these points are outside of the table."""
    v = np.random.default_rng(0).uniform(-25, 25, (9000, 1))
    u = np.zeros_like(v)
    pieces = np.concatenate([sinusoid.log_prob(v[i : i + 100], u[i : i + 100]) for i in range(0, 9000, 100)])
    np.testing.assert_allclose(sinusoid.log_prob(v, u), pieces, rtol=0, atol=1e-10)


def test_the_density_is_0_outside_of_the_range():
    assert sinusoid.log_prob(np.zeros((2, 1)), np.array([[10.6], [-10.6]])).tolist() == [-np.inf, -np.inf]


def test_forward_noise_is_standard_normal(big):
    forward = sinusoid.forward(big)
    residual = forward.y - sinusoid.curve(forward.x)
    assert residual.mean() == pytest.approx(0, abs=0.02)
    assert np.mean(residual**2) == pytest.approx(sinusoid.FORWARD_FLOOR_MSE, abs=0.03)
