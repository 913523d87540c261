"""Tests of priors, against the laws of scipy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mdnjax as mdn
from mdnjax.posteriors.law import units_of

stats: Any = scipy.stats  # its type stubs know no frozen laws
LAWS = {
    "a": (mdn.Box(-3, 1), stats.uniform(-3, 4)),
    "b": (mdn.Normal(1, 0.1), stats.norm(1, 0.1)),
    "c": (mdn.LogUniform(0.1, 10), stats.loguniform(0.1, 10)),
    "d": (mdn.LogNormal(0.5, 2), stats.lognorm(2, scale=np.exp(0.5))),
}


def test_priors_have_the_densities_of_their_laws():
    prior = mdn.Product(*(prior for prior, _ in LAWS.values()))
    laws = [law for _, law in LAWS.values()]
    theta = prior.sample(jax.random.key(0), (3000,))
    for column, law in zip(theta.T, laws, strict=True):
        assert stats.kstest(column, law.cdf).pvalue > 1e-3
    expected = sum(law.logpdf(column) for law, column in zip(laws, theta.T, strict=True))
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-12)
    assert (prior.log_prob(theta[:2] * [1, 1, -1, 1]) == -np.inf).all()
    assert prior.log_prob([1.001, 1, 1, 1]) == -np.inf
    np.testing.assert_allclose(prior.support, [(-3, 1), (-np.inf, np.inf), (0.1, 10), (0, np.inf)])


def test_correlated_parameters_have_the_density_of_scipy_and_a_map_to_independent_numbers():
    """The others of a product stay independent. A number in order grows with its own parameter alone, unlike z."""
    covariance = np.array([[4, 1.5, 0.1], [1.5, 1, 0.2], [0.1, 0.2, 0.5]])
    prior = mdn.Product(LAWS["a"][0], mdn.MultivariateNormal([1, -2, 1e6], covariance, ["p", "q", "r"]), LAWS["d"][0])
    theta = prior.sample(jax.random.key(0), (3000,))
    np.testing.assert_allclose(np.cov(theta[:, 1:4].T), covariance, atol=0.3)
    law = stats.multivariate_normal([1, -2, 1e6], covariance)
    expected = law.logpdf(theta[:, 1:4]) + sum(LAWS[name][1].logpdf(theta[:, i]) for name, i in (("a", 0), ("d", 4)))
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-9)
    assert prior.log_prob(theta[0] + np.array([9, 0, 0, 0, 0])) == -np.inf
    z = jnp.asarray(prior.real(theta[:50]))
    np.testing.assert_allclose(prior.parameters(z), theta[:50], rtol=1e-9)
    np.testing.assert_allclose(prior.law.parameters(z), theta[:50], rtol=1e-9)
    jacobian = jax.vmap(jax.jacfwd(prior.law.parameters))(z)
    np.testing.assert_allclose(prior.law.log_prob(z), expected[:50] + np.linalg.slogdet(jacobian)[1], rtol=1e-8)
    relative = prior.law.relative_log_prob(z) - expected[:50]
    np.testing.assert_allclose(relative, relative[0], atol=1e-8)
    standardised = prior.law.standardised(units_of(prior.law, 0.3, 2.0), z)
    np.testing.assert_allclose(standardised, (theta[:50] - 0.3) / 2, rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(prior.law.ordered(z), axis=0), np.argsort(theta[:50], axis=0))
    assert (np.argsort(z, axis=0) != np.argsort(theta[:50], axis=0)).any()
    within = prior.within(theta[:50])
    np.testing.assert_allclose(np.diff(within.log_prob(theta[:2])), np.diff(expected[:2]), rtol=1e-9)


def test_a_prior_within_draws_is_the_law_restricted_to_their_range():
    prior = mdn.Product(*(prior for prior, _ in LAWS.values()))
    draws = prior.sample(jax.random.key(2), (200,)) * [0.1, 1, 1, 1]
    draws[:, 2] = draws[:, 2].clip(0.5, 2)
    restricted = prior.within(draws)
    theta = restricted.sample(jax.random.key(3), (2000,))
    assert np.isfinite(restricted.log_prob(draws)).all()
    assert ((theta[:, 0] > -0.4) & (theta[:, 0] < 0.2)).all()
    np.testing.assert_allclose(restricted.support[2], [0.5 / 4**0.1, 2 * 4**0.1])
    mass = (LAWS["a"][1].cdf(restricted.support[0]) @ [-1, 1]) * (LAWS["c"][1].cdf(restricted.support[2]) @ [-1, 1])
    np.testing.assert_allclose(restricted.log_prob(theta), prior.log_prob(theta) - np.log(mass), rtol=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_the_density_on_the_real_line_is_that_of_the_prior(name):
    """p(z) = p(theta) |dtheta / dz|."""
    prior, _ = LAWS[name]
    z = jnp.linspace(-3, 3, 7)[:, None]
    slope = jax.vmap(jax.jacfwd(prior.law.parameters))(z)[:, 0, 0]
    expected = prior.log_prob(np.asarray(prior.law.parameters(z))) + np.log(slope)
    np.testing.assert_allclose(prior.law.log_prob(z), expected, atol=1e-10)
    np.testing.assert_allclose(prior.real(prior.parameters(z)), z, atol=1e-6)
    np.testing.assert_allclose(prior.parameters(z), prior.law.parameters(z), rtol=1e-12)
    relative = prior.law.relative_log_prob(z) - prior.log_prob(prior.parameters(z))
    np.testing.assert_allclose(relative, relative[0], atol=1e-10)
    standardised = prior.law.standardised(units_of(prior.law, 0.3, 2.0), z)
    np.testing.assert_allclose(standardised, (prior.law.parameters(z) - 0.3) / 2, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mdn.Box(1, 1), "expected low < high"),
        (lambda: mdn.Box([0, 0], [1, np.inf]), "expected a finite number for each parameter"),
        (lambda: mdn.Normal(0, -1), "expected sd > 0"),
        (lambda: mdn.LogUniform(0, 1), "expected positive numbers"),
        (lambda: mdn.Box([0, 0], [1, 1, 1]), "do not fit together"),
        (lambda: mdn.Box(0, 1, ["a", "b"]), "got 2 names for 1 parameters"),
        (lambda: mdn.MultivariateNormal([0, 0], [1, 1]), r"mean of shape \(2,\) and covariance of shape \(2,\), expected \[D\]"),
        (lambda: mdn.MultivariateNormal([0, 0, 0], np.eye(2)), r"mean of shape \(3,\) and covariance of shape \(2, 2\)"),
        (lambda: mdn.MultivariateNormal(np.nan, np.eye(2)), "expected finite means and covariances"),
        (lambda: mdn.MultivariateNormal(0, np.diag([1, 0])), "got variance 0 of parameter 1 from 0, expected > 0"),
        (lambda: mdn.MultivariateNormal(0, [[1, 0.5], [0.2, 1]]), r"covariance\[0, 1\] = 0.5, \[1, 0\] = 0.2, expected a"),
        (lambda: mdn.MultivariateNormal(0, [[1, 2], [2, 1]]), "the eigenvalue -1, expected a positive definite matrix"),
        (lambda: mdn.MultivariateNormal(0, [[1, 2], [2, 4]]), "expected a positive definite matrix"),
    ],
)
def test_impossible_priors_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
