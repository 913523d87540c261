"""The sinusoid's exact answers: published numbers, Monte Carlo, and brute-force integrals."""

import numpy as np
import pytest
from scipy import integrate

from mdnjax.data import sinusoid


@pytest.fixture(scope="module")
def big():
    return sinusoid.make_splits(0, num_train=10, num_validation=10, num_test=100_000).test


def test_entropy_is_the_published_one():
    assert sinusoid.entropy() == pytest.approx(1.28800943736, abs=1e-8)


def test_floor_mse_is_the_published_one():
    assert sinusoid.floor_mse() == pytest.approx(21.30754, abs=1e-5)


def test_entropy_is_the_mean_nll_of_draws(big):
    nll = -sinusoid.log_prob(*big)
    assert nll.mean() == pytest.approx(sinusoid.entropy(), abs=5 * nll.std() / np.sqrt(len(nll)))
    assert nll.std() == pytest.approx(0.815, abs=0.01)


@pytest.mark.parametrize("v", [-12.0, -5.0, 0.0, 3.3, 8.0, 15.0])
def test_the_exact_density_integrates_to_one(v):
    def density(u):
        return float(np.exp(sinusoid.log_prob(np.array([[v]]), np.array([[u]])))[0])

    total, _ = integrate.quad(density, -10.5, 10.5, limit=500, points=np.linspace(-10, 10, 41))
    assert total == pytest.approx(1, abs=1e-9)


def test_many_points_are_as_exact_as_one():
    """A long array goes by a table of normalisers, a short one by the quadrature itself; outside the table too."""
    v = np.random.default_rng(0).uniform(-25, 25, (9000, 1))
    u = np.zeros_like(v)
    pieces = np.concatenate([sinusoid.log_prob(v[i : i + 100], u[i : i + 100]) for i in range(0, 9000, 100)])
    np.testing.assert_allclose(sinusoid.log_prob(v, u), pieces, rtol=0, atol=1e-10)


def test_nothing_lies_outside_the_range():
    assert sinusoid.log_prob(np.zeros((2, 1)), np.array([[10.6], [-10.6]])).tolist() == [-np.inf, -np.inf]


def test_forward_noise_is_standard_normal(big):
    forward = sinusoid.forward(big)
    residual = forward.y - sinusoid.curve(forward.x)
    assert residual.mean() == pytest.approx(0, abs=0.02)
    assert np.mean(residual**2) == pytest.approx(sinusoid.FORWARD_FLOOR_MSE, abs=0.03)


def test_parts_are_reproducible_and_independent():
    a = sinusoid.make_splits(3, num_train=50, num_validation=20, num_test=30)
    b = sinusoid.make_splits(3, num_train=60, num_validation=20, num_test=30)
    np.testing.assert_array_equal(a.validation.x, b.validation.x)
    np.testing.assert_array_equal(a.test.y, b.test.y)
    everything = np.concatenate([part.x[:, 0] for part in a])
    assert len(np.unique(everything)) == len(everything)
    assert not np.array_equal(a.train.x, sinusoid.make_splits(4, num_train=50, num_validation=20, num_test=30).train.x)
