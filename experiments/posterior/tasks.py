"""Tasks of the public benchmark of simulation-based inference: their priors, simulators and, where known, exact likelihoods.

Source: Lueckmann et al. (2021), appendix T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from experiments.command import import_extra
from mdnjax.data import two_moons
from mdnjax.posteriors.priors import Box, LogNormal, MultivariateNormal, Normal, Prior

POPULATION = 1e6
NUM_TESTED = 1000
PREY_AND_PREDATORS = (30.0, 1.0)
NUM_BINS, NUM_LAGS, STIMULUS_SEED = 100, 9, 42
Array = np.ndarray


class SimulatorTask(NamedTuple):
    """A prior, simulate(generator, theta[N, D]) -> x[N, X], and how many independent trials the columns of x are.

    log_likelihood(theta[D], x[X]), a function of jax, draws references where the benchmark's files are not there. These files are
    in `folder`, or in the one of the task's name, and the observations are in `observation_file`.
    """

    prior: Prior
    simulate: Callable[[np.random.Generator, Array], Array]
    log_likelihood: Callable[[Any, Any], Any] | None = None
    trials: int = 1
    folder: str | None = None
    observation_file: str = "observation.csv"


def gaussian_linear(generator: np.random.Generator, theta: Array) -> Array:
    """Draws x ~ N(theta, 0.1 I)."""
    return theta + np.sqrt(0.1) * generator.normal(size=theta.shape)


def gaussian_mixture(generator: np.random.Generator, theta: Array) -> Array:
    """Draws x ~ N(theta, I) / 2 + N(theta, 0.01 I) / 2."""
    sd = np.where(generator.random((len(theta), 1)) < 0.5, 1.0, 0.1)
    return theta + sd * generator.normal(size=theta.shape)


def slcp(generator: np.random.Generator, theta: Array) -> Array:
    """Draws four points from the Gaussian with mean (t1, t2), standard deviations t3^2 and t4^2, and correlation tanh t5."""
    e = generator.normal(size=(2, len(theta), 4))
    s1, s2, r = (values[:, None] for values in (theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])))
    first, second = s1 * e[0], s2 * (r * e[0] + np.sqrt(1 - r**2) * e[1])
    return (theta[:, None, :2] + np.stack([first, second], axis=-1)).reshape(len(theta), 8)


def sir(generator: np.random.Generator, theta: Array) -> Array:
    """Counts the infected among 1,000 people on ten days of an epidemic with contact rate t1 and recovery rate t2."""

    def rates(_: Any, state: Any, theta: Any) -> Any:
        susceptible, infected = state
        new = theta[0] * susceptible * infected
        return jnp.stack([-new, new - theta[1] * infected])

    start = jnp.array([1 - 1 / POPULATION, 1 / POPULATION])
    infected = _solve(rates, start, np.arange(0.0, 160, 17), theta)[..., 1]
    counts = generator.binomial(NUM_TESTED, np.clip(np.nan_to_num(infected), 0, 1))
    return np.where(np.isnan(infected), np.nan, counts)


def lotka_volterra(generator: np.random.Generator, theta: Array) -> Array:
    """Observes prey and predators at ten times with lognormal noise; theta are rates of birth, predation, death and growth."""

    def rates(_: Any, state: Any, theta: Any) -> Any:
        prey, predators = state
        return jnp.stack([theta[0] * prey - theta[1] * prey * predators, theta[3] * prey * predators - theta[2] * predators])

    states = _solve(rates, jnp.array(PREY_AND_PREDATORS), np.arange(0.0, 20, 2.1), theta)
    means = np.log(np.clip(np.moveaxis(states, 1, 2), 1e-10, 1e4)).reshape(len(theta), 20)
    return np.exp(means + 0.1 * generator.normal(size=means.shape))


def bernoulli_glm_raw(generator: np.random.Generator, theta: Array) -> Array:
    """Draws whether a neuron fires in each of 100 bins; its log odds are t1 + t2 to t10 times the last values of the stimulus."""
    return (generator.random((len(theta), NUM_BINS)) < expit(theta @ DESIGN.T)).astype(np.float64)


def bernoulli_glm(generator: np.random.Generator, theta: Array) -> Array:
    """Draws spikes as `bernoulli_glm_raw`, and returns their number and the sums of the stimulus at nine lags before them."""
    return bernoulli_glm_raw(generator, theta) @ DESIGN


def _design() -> Array:
    """Returns a column of ones, and nine in which the stimulus, white noise of a fixed seed, is later and later."""
    stimulus = np.random.RandomState(STIMULUS_SEED).randn(NUM_BINS).astype(np.float32).astype(np.float64)
    lagged = [np.concatenate([np.zeros(lag), stimulus[: NUM_BINS - lag]]) for lag in range(NUM_LAGS)]
    return np.stack([np.ones(NUM_BINS), *lagged], axis=1)


def _prior_of_glm() -> Prior:
    """Returns N(0, 2) of the offset, and N(0, (F' F)^-1) of the filter, where F has its second differences and some of itself."""
    step = np.eye(NUM_LAGS) - np.eye(NUM_LAGS, k=-1)
    rough = step @ step + np.diag(np.sqrt(np.arange(NUM_LAGS) / NUM_LAGS))
    covariance = np.zeros((1 + NUM_LAGS, 1 + NUM_LAGS))
    covariance[0, 0], covariance[1:, 1:] = 2, np.linalg.inv(rough.T @ rough)
    return MultivariateNormal(0, covariance, ["offset", *(f"filter_{lag}" for lag in range(NUM_LAGS))])


def _solve(rates: Callable[..., Any], start: Any, times: Array, theta: Array) -> Array:
    """Solves a differential equation for each theta; NaN where the solver gives up."""
    diffrax = import_extra("diffrax", "ode")
    term, steps = diffrax.ODETerm(rates), diffrax.PIDController(rtol=1e-6, atol=1e-9)
    options: Any = {"saveat": diffrax.SaveAt(ts=jnp.asarray(times)), "stepsize_controller": steps, "throw": False}

    def solve(theta: Any) -> Any:
        return diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, times[-1], 0.01, start, theta, **options).ys

    states = np.asarray(jax.jit(jax.vmap(solve))(jnp.asarray(theta)), np.float64)
    return np.where(np.isfinite(states), states, np.nan)


def _log_gaussian_linear(theta: Any, x: Any) -> Any:
    return jnp.sum(-((x - theta) ** 2) / 0.2 - 0.5 * jnp.log(0.2 * jnp.pi))


def _log_gaussian_mixture(theta: Any, x: Any) -> Any:
    square, log_sd = jnp.sum((x - theta) ** 2), jnp.log(jnp.array([1.0, 0.1]))
    return jax.nn.logsumexp(-0.5 * square * jnp.exp(-2 * log_sd) - 2 * log_sd) - jnp.log(4 * jnp.pi)


def _log_slcp(theta: Any, x: Any) -> Any:
    s1, s2 = (jnp.sqrt(theta[i] ** 4 + 1e-6) for i in (2, 3))  # the benchmark adds 1e-6 to the variances
    r = theta[2] ** 2 * theta[3] ** 2 * jnp.tanh(theta[4]) / (s1 * s2)
    z1, z2 = ((x.reshape(4, 2) - theta[:2]) / jnp.stack([s1, s2])).T
    log_norm = jnp.log(2 * jnp.pi * s1 * s2) + 0.5 * jnp.log1p(-(r**2))
    return jnp.sum(-0.5 * (z1**2 - 2 * r * z1 * z2 + z2**2) / (1 - r**2) - log_norm)


def _log_two_moons(theta: Any, x: Any) -> Any:
    u, v = (theta[0] + theta[1]) / 2**0.5, (theta[1] - theta[0]) / 2**0.5
    first, second = x[0] + jnp.abs(u) - two_moons.CENTRE, x[1] - v
    radius = jnp.sqrt(first**2 + second**2)
    log_density = -0.5 * ((radius - two_moons.RADIUS) / two_moons.WIDTH) ** 2 - jnp.log(radius)
    return jnp.where(first >= 0, log_density, -jnp.inf)


def _log_bernoulli_glm(theta: Any, x: Any) -> Any:
    log_odds = jnp.matmul(jnp.asarray(DESIGN, theta.dtype), theta, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(theta * x) - jnp.sum(jax.nn.softplus(log_odds))  # without a constant, in which theta does not occur


def _log_bernoulli_glm_raw(theta: Any, x: Any) -> Any:
    return _log_bernoulli_glm(theta, jnp.matmul(x, jnp.asarray(DESIGN, theta.dtype), precision=jax.lax.Precision.HIGHEST))


DESIGN = _design()
TASKS = {
    "two_moons": SimulatorTask(Box([-1, -1], [1, 1]), two_moons.simulate, _log_two_moons),
    "gaussian_mixture": SimulatorTask(Box([-10, -10], [10, 10]), gaussian_mixture, _log_gaussian_mixture),
    "gaussian_linear": SimulatorTask(Normal(np.zeros(10), np.sqrt(0.1)), gaussian_linear, _log_gaussian_linear),
    "gaussian_linear_uniform": SimulatorTask(Box(-np.ones(10), np.ones(10)), gaussian_linear, _log_gaussian_linear),
    "slcp": SimulatorTask(Box(np.full(5, -3), np.full(5, 3)), slcp, _log_slcp, trials=4),
    "bernoulli_glm": SimulatorTask(_prior_of_glm(), bernoulli_glm, _log_bernoulli_glm),
    "bernoulli_glm_raw": SimulatorTask(
        _prior_of_glm(),
        bernoulli_glm_raw,
        _log_bernoulli_glm_raw,
        folder="bernoulli_glm",
        observation_file="observation_raw.csv",
    ),
    "sir": SimulatorTask(LogNormal(np.log([0.4, 0.125]), [0.5, 0.2], ["contact", "recovery"]), sir),
    "lotka_volterra": SimulatorTask(LogNormal([-0.125, -3, -0.125, -3], 0.5), lotka_volterra),
}
