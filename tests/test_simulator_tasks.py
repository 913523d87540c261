"""Tests of the tasks of the public benchmark: exact likelihoods and solvers, against scipy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from experiments.posterior.tasks import DESIGN, TASKS
from mdnjax.data import two_moons

stats: Any = scipy.stats  # its type stubs know no covariances
SPIKES = "1101111111100000011111110001110111100000111100001110001111001100011111001110000000111000111110000111"
STATISTICS = [56, 3.32306, 14.356438, 11.104893, -4.167525, -18.507809, -21.917496, -9.553517, -0.357257, -5.497825]


def test_the_likelihoods_of_tasks_are_those_of_their_simulators():
    log_likelihoods: Any = {name: task.log_likelihood for name, task in TASKS.items()}
    theta = {name: TASKS[name].prior.sample(jax.random.key(1)) for name in TASKS}
    x = {name: TASKS[name].simulate(np.random.default_rng(1), theta[name][None])[0] for name in ("gaussian_mixture", "slcp")}
    expected = {}
    t = theta["gaussian_mixture"]
    laws = [stats.multivariate_normal(t, variance) for variance in (1, 0.01)]
    expected["gaussian_mixture"] = np.log(np.mean([law.pdf(x["gaussian_mixture"]) for law in laws]))
    t = theta["slcp"]
    s1, s2, r = t[2] ** 2, t[3] ** 2, np.tanh(t[4])
    law = stats.multivariate_normal(t[:2], np.array([[s1**2, r * s1 * s2], [r * s1 * s2, s2**2]]) + 1e-6 * np.eye(2))
    expected["slcp"] = law.logpdf(x["slcp"].reshape(4, 2)).sum()
    for name, value in expected.items():
        found = log_likelihoods[name](jnp.asarray(theta[name]), jnp.asarray(x[name]))
        assert float(found) == pytest.approx(value, rel=1e-6), name
    observed = np.array([-0.2, 0.1])
    pair = two_moons.draw_posterior(np.random.default_rng(2), observed, 2)
    found = [log_likelihoods["two_moons"](jnp.asarray(t), jnp.asarray(observed)) for t in pair]
    exact = two_moons.log_prob(np.stack([observed] * 2), pair)
    assert float(found[1] - found[0]) == pytest.approx(exact[1] - exact[0], rel=1e-6)


def test_the_bernoulli_glm_is_that_of_the_benchmark():
    """Published spikes and statistics are those of the first observation, and the prior is that of the precision matrix."""
    spikes = np.array([int(digit) for digit in SPIKES], float)
    np.testing.assert_allclose(spikes @ DESIGN, STATISTICS, atol=4e-6)
    prior = TASKS["bernoulli_glm"].prior
    difference = np.eye(9) - np.eye(9, k=-1)
    rough = difference @ difference + np.diag((np.arange(9) / 9) ** 0.5)
    precision = np.asarray(scipy.linalg.block_diag([[0.5]], rough.T @ rough))
    law = stats.multivariate_normal(np.zeros(10), np.linalg.inv(precision))
    theta = prior.sample(jax.random.key(0), (3,))
    np.testing.assert_allclose(prior.log_prob(theta), law.logpdf(theta), rtol=1e-9)


def test_the_likelihood_of_the_bernoulli_glm_is_that_of_its_spikes():
    """It is a product over bins, of the statistics and of the spikes; the simulator has its means and covariances."""
    theta = 0.5 * TASKS["bernoulli_glm"].prior.sample(jax.random.key(3), (2,))
    generator = np.random.default_rng(4)
    spikes = TASKS["bernoulli_glm_raw"].simulate(generator, np.repeat(theta[:1], 4000, axis=0))
    p = 1 / (1 + np.exp(-theta @ DESIGN.T))
    np.testing.assert_allclose(spikes.mean(axis=0), p[0], atol=0.04)
    x = TASKS["bernoulli_glm"].simulate(np.random.default_rng(4), np.repeat(theta[:1], 4000, axis=0))
    np.testing.assert_allclose(x, spikes @ DESIGN)  # the same spikes
    exact = np.sum(np.log(np.where(spikes[0] == 1, p, 1 - p)), axis=1)
    for name, observed in (("bernoulli_glm", x[0]), ("bernoulli_glm_raw", spikes[0])):
        log_likelihood: Any = TASKS[name].log_likelihood
        found = [float(log_likelihood(jnp.asarray(t), jnp.asarray(observed))) for t in theta]
        assert np.diff(found) == pytest.approx(np.diff(exact), rel=1e-6)


@pytest.mark.parametrize("name", ["sir", "lotka_volterra"])
def test_simulators_of_differential_equations_agree_with_scipy(name):
    from scipy.integrate import solve_ivp

    generator = np.random.default_rng(0)
    if name == "sir":
        theta = np.array([0.5, 0.1])
        means = TASKS[name].simulate(generator, np.tile(theta, (400, 1))).mean(axis=0) / 1000
        rates = lambda _, s: [-theta[0] * s[0] * s[1], (theta[0] * s[0] - theta[1]) * s[1]]  # noqa: E731
        start, times = [1 - 1e-6, 1e-6], np.arange(0.0, 160, 17)
        states = solve_ivp(rates, (0, 160), start, t_eval=times, rtol=1e-8, atol=1e-12).y[1]
        np.testing.assert_allclose(means, states, atol=0.005)
        return
    theta = np.exp([-0.125, -3, -0.125, -3])
    logs = np.log(TASKS[name].simulate(generator, np.tile(theta, (400, 1)))).mean(axis=0)
    rates = lambda _, s: [(theta[0] - theta[1] * s[1]) * s[0], (theta[3] * s[0] - theta[2]) * s[1]]  # noqa: E731
    states = solve_ivp(rates, (0, 20), [30.0, 1.0], t_eval=np.arange(0.0, 20, 2.1), rtol=1e-8, atol=1e-10).y
    np.testing.assert_allclose(logs, np.log(states).ravel(), atol=0.03)
