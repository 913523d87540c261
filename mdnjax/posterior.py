"""Posteriors of a simulator's parameters theta given an observation x, learnt from simulations.

A posterior is a network of p(theta|x), or a network of the likelihood p(x|theta) with a prior, from which theta is drawn with
tempered particles. Both answer the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.schema import Run
from mdnjax.config.simulated import Simulated
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.data.scaler import relative_units
from mdnjax.fitting import fit_networks
from mdnjax.mixture import log_prob
from mdnjax.predictor import Predictor
from mdnjax.priors import Prior
from mdnjax.ranks import Ranks, rank
from mdnjax.statistics import Modes, modes
from mdnjax.tempering import Effort, Tempered, draw_tempered, import_blackjax
from mdnjax.training.history import Observer, means_of
from mdnjax.types import Float, PRNGKey

VALIDATION_SHARE = 0.1
MIN_SIMULATIONS = 20
THOROUGH = Effort()
QUICK = Effort(200, 30, 0.5)  # for the ranks of many simulations, which need fewer draws than a posterior that is looked at
ROWS_PER_CALL = 4000  # particles of several observations that are evaluated at a time


class Evaluated(NamedTuple):
    """Ranks of the true parameters of test simulations, and -log p(theta|x) of each, in nats and the parameters' own units."""

    ranks: Ranks
    nll: Float[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class DirectPosterior:
    """A posterior by networks of p(theta|x), whose inputs are x and whose targets are theta."""

    predictor: Predictor

    def sample(self, key: PRNGKey, x: Any, num: int) -> Float[np.ndarray, "S D"]:
        """Draws `num` parameters given one observation."""
        return self.predictor.sample(key, np.asarray(x, np.float64)[None], num)[0]

    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " N"]:
        """Computes log p(theta|x) of parameters given one observation."""
        theta = as_numbers("theta", theta)
        return self.predictor.log_prob(np.repeat(np.asarray(x, np.float64)[None], len(theta), axis=0), theta)

    def modes(self, x: Any) -> Modes:
        """Returns the modes of p(theta|x), the most probable first, and NaN where there is none."""
        return modes(self.predictor(np.asarray(x, np.float64)))

    def evaluate(self, key: PRNGKey, test: Dataset, num: int) -> Evaluated:
        """Ranks the true parameters of test simulations among `num` draws, and computes their densities."""
        return Evaluated(rank(self.predictor, test, key, num), self.predictor.nll(test))


@dataclass(frozen=True, eq=False)
class LikelihoodPosterior:
    """A posterior by networks of the likelihood p(x|theta) of one trial, whose inputs are theta and whose targets are x.

    An observation is `[T, X]`, any number T of independent trials, or `[X]`, a single one.
    """

    predictor: Predictor
    prior: Prior
    _programs: dict[Any, Callable[..., Any]] = field(default_factory=dict, repr=False)

    def sample(self, key: PRNGKey, x: Any, num: int, effort: Effort = THOROUGH) -> Float[np.ndarray, "S D"]:
        """Draws `num` parameters given one observation."""
        return np.asarray(self.tempered(key, np.asarray(x)[None], num, effort).draws[0], np.float64)

    def tempered(self, key: PRNGKey, x: Any, num: int, effort: Effort = THOROUGH) -> Tempered:
        """Draws `num` parameters for each of M observations in one compiled program; observations are the first axis."""

        def draw(key: PRNGKey, trials: Any) -> Tempered:
            return draw_tempered(key, partial(self._log_likelihood, trials), self.prior, num, effort)

        trials = self._relative(x)
        return self._of_each(("draw", num, effort), draw, effort, jax.random.split(key, len(trials)), trials)

    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " N"]:
        """Computes log p(x|theta) + log p(theta), which is log p(theta|x) but for a constant, the log evidence of x."""
        theta, trials = as_numbers("theta", theta), np.asarray(x, np.float64)
        trials = trials.reshape(-1, trials.shape[-1])
        repeated = np.repeat(theta, len(trials), axis=0), np.tile(trials, (len(theta), 1))
        return self.predictor.log_prob(*repeated).reshape(len(theta), -1).sum(axis=1) + self.prior.log_prob(theta)

    def evaluate(self, key: PRNGKey, test: Dataset, num: int, effort: Effort = QUICK) -> Evaluated:
        """Ranks the true parameters of test simulations among `num` draws, and computes their densities.

        The evidence is estimated with the particles. `test.x` is `[N, X]` or `[N, T, X]`.
        """

        def evaluate_one(key: PRNGKey, trials: Any, theta: Any) -> Any:
            tempered = draw_tempered(key, partial(self._log_likelihood, trials), self.prior, num, effort)
            of_draws = jax.vmap(partial(self._log_likelihood, trials))(tempered.draws)
            of_truth = self._log_likelihood(trials, theta)
            above = jnp.sum(of_draws + self._log_prior(tempered.draws) > of_truth + self._log_prior(theta))
            return jnp.sum(tempered.draws < theta, axis=0), above, tempered.log_evidence - of_truth

        arguments = (jax.random.split(key, len(test.x)), self._relative(test.x), np.asarray(test.y, np.float32))
        below, above, nll = self._of_each(("evaluate", num, effort), evaluate_one, effort, *arguments)
        nll = np.asarray(nll, np.float64) - self.prior.log_prob(test.y)
        return Evaluated(Ranks(np.asarray(below), np.asarray(above), num), nll)

    def _log_likelihood(self, trials: Any, theta: Any) -> Any:
        mixture = self.predictor.relative(theta)
        return jnp.sum(jax.vmap(lambda x: log_prob(mixture, x))(trials))

    def _log_prior(self, theta: Any) -> Any:
        """Returns log p(theta) but for a constant, for parameters of the support."""
        v = jnp.where(self.prior.is_log, jnp.log(theta), theta)
        z = (v - self.prior.offset) / self.prior.factor
        log_law = jnp.where(self.prior.is_bounded, 0.0, -0.5 * z**2)
        return jnp.sum(log_law - jnp.where(self.prior.is_log, v, 0.0), axis=-1)

    def _relative(self, x: Any) -> Float[np.ndarray, "M T X"]:
        """Returns observations as trials, in the units in which the networks predict them."""
        x, num = _results(x), len(self.predictor.columns.targets)
        if x.ndim not in (2, 3) or x.shape[-1] != num:
            raise ValueError(f"x: got shape {x.shape[1:]} of an observation, expected [{num}] or [trials, {num}]")
        x = x[:, None] if x.ndim == 2 else x
        return np.asarray(relative_units(self.predictor.scaler).relative(x), np.float32)

    def _of_each(self, name: Any, function: Callable[..., Any], effort: Effort, *arguments: Any) -> Any:
        """Applies a function to each observation, several at a time; a second call with the same name compiles nothing."""
        if name not in self._programs:
            width = max(1, ROWS_PER_CALL // effort.num_particles)
            self._programs[name] = jax.jit(lambda *leaves: jax.lax.map(lambda one: function(*one), leaves, batch_size=width))
        return self._programs[name](*arguments)


Posterior = DirectPosterior | LikelihoodPosterior
S = TypeVar("S", bound=Simulated)


def fit_posterior(
    theta: Any,
    x: Any,
    *,
    prior: Prior,
    method: str = "posterior",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    observe: Observer | None = None,
) -> Posterior:
    """Learns the posterior of parameters theta `[N, D]`, drawn from the prior, from their simulations x.

    Args:
        theta: Parameters of N simulations.
        x: Results `[N, X]`, or `[N, T, X]` for T independent trials with the same parameters (only with method "likelihood").
        prior: The law of theta: `Box`, `Normal`, `LogUniform`, `LogNormal`, or a `Product` of them.
        method: "posterior" trains networks of p(theta|x), which answer at once. "likelihood" trains networks of p(x|theta) and
            draws with particles, which takes seconds for an observation; it is better where the likelihood is the simpler one.
        settings: Changed keys of the configuration: {"train.num_steps": 3000, "likelihood.train.num_steps": 5000}.
        seed: Determines the validation rows, the initial parameters and the noise.
        observe: Called as observe(step, loss, validation NLL) at each report.
    Raises: ValueError if the simulations or the settings cannot be used, or training diverged.
    """
    changes = {"seed": seed, "method": method, **(settings or {})}
    config = resolve(Simulated, [settings_layer(changes, dict.fromkeys(changes, "settings"))])
    theta, x = as_numbers("theta", theta), _results(x)
    check_simulations(theta, x, prior, config.method)
    if config.method == "likelihood":
        import_blackjax()
    order = np.random.default_rng(config.seed).permutation(len(theta))
    num = max(1, round(VALIDATION_SHARE * len(order)))
    train, validation = (rows_of(config.method, theta[part], x[part]) for part in (order[num:], order[:num]))
    columns = columns_of(config.method, prior.names, x.shape[-1])
    fitted = fit_networks(config_of(config, prior), train, validation, columns=columns, observe=observe and means_of(observe))
    if fitted.diverged:
        raise ValueError("training diverged: the loss was no longer finite")
    return posterior_of(config.method, fitted.predictor, prior)


def check_simulations(theta: np.ndarray, x: np.ndarray, prior: Prior, method: str) -> None:
    """Raises: ValueError if parameters, results, prior and method do not fit together."""
    if method == "both":
        raise ValueError("method: got 'both', expected 'posterior' or 'likelihood'")
    if theta.ndim != 2 or x.ndim not in (2, 3) or len(theta) != len(x):
        expected = "[N, D] and [N, X], or [N, T, X] for T trials"
        raise ValueError(f"theta, x: got shapes {theta.shape} and {x.shape}, expected {expected}")
    if x.ndim == 3 and method == "posterior":
        raise ValueError(f"x: got {x.shape[1]} trials, expected method='likelihood', which multiplies their likelihoods")
    if len(theta) < MIN_SIMULATIONS:
        raise ValueError(f"theta: got {len(theta)} simulations, expected at least {MIN_SIMULATIONS}")
    if theta.shape[1] != len(prior.names):
        raise ValueError(f"prior: got {len(prior.names)} parameters, expected {theta.shape[1]}, the columns of theta")
    if (outside := ~np.isfinite(prior.log_prob(theta))).any():
        row = int(outside.argmax())
        raise ValueError(f"theta: got {theta[row]} in row {row}, which has density 0 in the prior ({outside.sum()} such rows)")


def rows_of(method: str, theta: Float[np.ndarray, "N D"], x: Float[np.ndarray, "N *trials X"]) -> Dataset:
    """Returns rows to train on: theta given x, or each trial of x given theta."""
    if method == "posterior":
        return Dataset(x.reshape(len(x), -1), theta)
    trials = x.reshape(len(x), -1, x.shape[-1])
    return Dataset(np.repeat(theta, trials.shape[1], axis=0), trials.reshape(-1, x.shape[-1]))


def columns_of(method: str, names: tuple[str, ...], num_results: int) -> Columns:
    """Names the inputs and the targets of the networks: the parameters, and x_1, x_2, ..."""
    results = tuple(f"x_{i + 1}" for i in range(num_results))
    inputs, targets = (results, names) if method == "posterior" else (names, results)
    return Columns(tuple(map(Column, inputs)), targets)


def config_of(config: Simulated, prior: Prior | None) -> Run:
    """Returns the run of the networks that the method trains; the targets of a posterior are bounded like the prior."""
    if config.method == "likelihood":
        data = config.data.model_copy(update={"target_support": "real"})
        sections = {name: getattr(config.likelihood, name) for name in ("model", "train", "ensemble")}
        return config.model_copy(update={**sections, "data": data})
    return config if prior is None else with_support(config, prior)


def with_support(config: S, prior: Prior) -> S:
    """Returns the configuration with the bounds of the prior as those of the targets."""
    support = prior.support if np.isfinite(prior.support).any() else "real"
    return config.model_copy(update={"data": config.data.model_copy(update={"target_support": support})})


def posterior_of(method: str, predictor: Predictor, prior: Prior | None) -> Posterior:
    """Returns the posterior of trained networks."""
    if method == "posterior":
        return DirectPosterior(predictor)
    assert prior is not None
    return LikelihoodPosterior(predictor, prior)


def _results(x: Any) -> Float[np.ndarray, "N *trials X"]:
    """Returns results of simulations in float64. Raises: ValueError if they are not finite numbers."""
    shape = np.shape(x)
    if len(shape) != 3:
        return as_numbers("x", x)
    return as_numbers("x", np.reshape(x, (shape[0] * shape[1], shape[2]))).reshape(shape)
