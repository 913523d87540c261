"""Draws by tempered particles have the exact posterior and evidence, and keep all modes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mdnjax as mdn
from mdnjax.posteriors.tempering import Effort, draw_tempered

stats: Any = scipy.stats  # its type stubs know neither frozen laws nor covariances
SMALL = Effort(500, 30, 0.5)

pytestmark = pytest.mark.usefixtures("floats_of_users")


def test_draws_have_the_conjugate_posterior_and_evidence():
    prior, sd = mdn.Normal([0, 0], [1, 2]), 0.1

    def log_likelihood(z):
        return jnp.sum(jax.scipy.stats.norm.logpdf(prior.law.parameters(z), 1, sd))

    tempered = jax.jit(lambda key: draw_tempered(key, log_likelihood, prior.law, 1500, SMALL))(jax.random.key(0))
    precision = 1 / np.array([1, 4]) + 1 / sd**2
    draws = prior.parameters(tempered.draws)
    np.testing.assert_allclose(draws.mean(axis=0), 1 / sd**2 / precision, atol=0.15 * sd)
    np.testing.assert_allclose(draws.std(axis=0), precision**-0.5, rtol=0.1)
    evidence = stats.norm(0, np.sqrt(np.array([1, 4]) + sd**2)).logpdf(1).sum()
    assert float(tempered.log_evidence) == pytest.approx(evidence, abs=0.5)
    assert tempered.exponent == 1
    assert 750 < tempered.ess <= 1500


def test_particles_keep_narrow_modes_at_the_edges_of_a_box():
    """Four modes, each a thousandth of the box, with weights of .1, .2, .3 and .4; one is cut by the bound."""
    places, weights, sd = np.array([-0.5, 0.1, 0.6, 1.0]), np.array([0.1, 0.2, 0.3, 0.8]), 0.002

    prior, effort = mdn.Box(-1, 1), Effort(1000, 30, 0.5)

    def log_likelihood(z):
        return jax.nn.logsumexp(-0.5 * ((prior.law.parameters(z)[0] - places) / sd) ** 2 + jnp.log(weights))

    tempered = jax.jit(lambda key: draw_tempered(key, log_likelihood, prior.law, 2000, effort))(jax.random.key(1))
    draws = prior.parameters(tempered.draws)
    near = np.abs(draws - places) < 6 * sd
    assert near.any(axis=1).all()
    np.testing.assert_allclose(near.mean(axis=0), [0.1, 0.2, 0.3, 0.4], atol=0.06)
    assert np.abs(draws).max() <= 1
