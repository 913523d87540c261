"""Tests of the tasks of the public benchmark: exact likelihoods and solvers, against scipy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.posterior.tasks import TASKS
from mdnjax.data import two_moons

stats: Any = scipy.stats  # its type stubs know no covariances


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
