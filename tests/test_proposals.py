"""Proposals of further parameters: draws of the prior where a posterior is that is known."""

from typing import Any

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.posteriors.proposals import draws_near

NUM = 4000


class Known(mdn.DirectPosterior):
    """A Gaussian posterior of D independent parameters with one standard deviation."""

    def sample(self, key: Any, x: Any, shape: Any) -> Any:
        generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        prior: Any = self.prior
        low, high = np.array(prior.support).T
        return np.clip(generator.normal(x[:, 0], x[:, 1], (shape, len(x))), low + 1e-6, high - 1e-6)

    def log_prob(self, theta: Any, x: Any) -> Any:
        return -0.5 * np.sum(((theta - x[:, 0]) / x[:, 1]) ** 2, axis=1)


def known_posterior(prior):
    posterior: Any = object.__new__(Known)  # made without networks, which its draws and densities do not use
    object.__setattr__(posterior, "prior", prior)
    return posterior


def correlated(num, correlation):
    return mdn.MultivariateNormal(0.0, np.full((num, num), correlation) + (1 - correlation) * np.eye(num))


@pytest.mark.parametrize("num", [2, 10])
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_proposals_of_a_narrow_posterior_are_draws_of_the_prior_in_a_ball(num, correlation):
    """In a small ball of radius r log p is linear with the slope -C^-1 mean, which moves the mean by r^2 / (D + 2) times it."""
    prior, mean, sd = correlated(num, correlation), np.linspace(-1, 1, num), 0.05
    posterior, x = known_posterior(prior), np.stack([mean, np.full(num, sd)], axis=1)
    proposed = posterior.propose(jax.random.key(0), x, NUM)
    assert proposed.shape == (NUM, num)
    distance = np.linalg.norm(proposed - mean, axis=1)
    radius = np.quantile(np.linalg.norm(posterior.sample(jax.random.key(1), x, 200_000) - mean, axis=1), 0.999)
    assert distance.max() == pytest.approx(radius, rel=0.05)
    # The share in a smaller ball of the same centre is that of its volume.
    assert np.mean(distance < distance.max() * 0.5 ** (1 / num)) == pytest.approx(0.5, abs=0.05)
    covariance = np.full((num, num), correlation) + (1 - correlation) * np.eye(num)
    shift = -np.linalg.solve(covariance, mean) * radius**2 / (num + 2)
    np.testing.assert_allclose(proposed.mean(axis=0) - mean, shift, atol=5 * radius / (num * NUM) ** 0.5)


def test_proposals_of_a_posterior_as_wide_as_the_prior_are_draws_of_the_prior():
    prior = mdn.Product(mdn.Normal(3.0, 2.0), mdn.Box(0.0, 1.0), mdn.LogNormal(0.0, 0.5))
    posterior, x = known_posterior(prior), np.array([[3.0, 6.0], [0.5, 9.0], [1.0, 9.0]])
    proposed = posterior.propose(jax.random.key(0), x, NUM)
    expected = prior.sample(jax.random.key(1), (100_000,))
    np.testing.assert_allclose(np.mean(proposed, axis=0), np.mean(expected, axis=0), atol=0.15)
    np.testing.assert_allclose(np.std(proposed, axis=0), np.std(expected, axis=0), rtol=0.06)


def test_candidates_of_bounded_and_gaussian_parameters_have_the_law_of_the_prior_inside():
    """In two of three parameters, in which the ellipsoid contains all draws of the prior, candidates are these draws."""
    prior = mdn.Product(mdn.Normal([0.0, 1.0], [1.0, 2.0]), mdn.Box(-2.0, 4.0))
    draws = prior.sample(jax.random.key(0), (2000,))
    found = draws_near(jax.random.key(1), prior, draws, 400_000)
    assert len(found) > 5000
    np.testing.assert_allclose(found.mean(axis=0), [0, 1, 1], atol=0.1)
    np.testing.assert_allclose(found.std(axis=0), [1, 2, 6 / 12**0.5], rtol=0.04)
