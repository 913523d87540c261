"""Posteriors by networks of the likelihood p(x|theta), with a prior, from which theta is drawn with tempered particles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.data.scaler import relative_units
from mdnjax.posteriors.joint import Joint, joint_of
from mdnjax.posteriors.maxima import find_maxima
from mdnjax.posteriors.posterior import Evaluated, Posterior, as_results, as_shape, in_shape
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.ranks import Ranks
from mdnjax.posteriors.success import Success
from mdnjax.posteriors.tempering import Effort, Tempered, draw_tempered
from mdnjax.statistics import Modes
from mdnjax.types import Float, PRNGKey

THOROUGH = Effort()
QUICK = Effort(200, 30, 0.5)  # for the ranks of many simulations, each of which needs fewer draws than a posterior that is shown
ROWS_PER_CALL = 4000  # particles of several observations that are evaluated at a time
NUM_ASCENTS = 200  # draws from which modes are searched


@dataclass(frozen=True, eq=False)
class LikelihoodPosterior(Posterior):
    """A posterior by networks of the likelihood p(x|theta) of one trial, whose inputs are theta and whose targets are x.

    An observation is `[T, X]`, any number T of independent trials, or `[X]`, a single one. With `success`, the probability that a
    simulation succeeds depends on theta, and an observation is one that did.
    """

    prior: Prior
    success: Success | None = None
    effort: Effort = THOROUGH

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return self.prior.names

    def sample(self, key: PRNGKey, x: Any, shape: int | Sequence[int]) -> Float[np.ndarray, "*shape D"]:
        """Draws parameters given one observation; `shape` is their number, or the shape of an array of them."""
        sizes = as_shape(shape)
        return in_shape(np.asarray(self.tempered(key, np.asarray(x)[None], math.prod(sizes)).draws[0]), sizes)

    def tempered(self, key: PRNGKey, x: Any, num: int) -> Tempered:
        """Draws `num` parameters for each of M observations in one compiled program; observations are the first axis.

        The log evidence is log p(x) in the units of x.
        """

        trials = self._relative(x)
        num_drawn = -(-num // self.effort.num_particles) * self.effort.num_particles  # few numbers, so that few programs
        draw = partial(_draw, self._joint, num=num_drawn, effort=self.effort)
        found: Tempered = _of_each(draw, self.effort, jax.random.split(key, len(trials)), trials)
        found = found._replace(draws=found.draws[:, :num], ess=found.ess * (num / num_drawn))
        log_units = trials.shape[1] * float(np.sum(np.log(self.predictor.scaler.y_factor)))
        return found._replace(draws=self.prior.parameters(found.draws), log_evidence=np.asarray(found.log_evidence) - log_units)

    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " N"]:
        """Computes log p(x|theta) + log p(theta), which is log p(theta|x) up to a constant, the log evidence of x.

        With `success`, log p(success|theta) is added.
        """
        theta, trials = as_numbers("theta", theta), np.asarray(x, np.float64)
        trials = trials.reshape(-1, trials.shape[-1])
        repeated = np.repeat(theta, len(trials), axis=0), np.tile(trials, (len(theta), 1))
        likelihood = self.predictor.log_prob(*repeated).reshape(len(theta), -1).sum(axis=1)
        success = 0.0
        if self.success is not None:
            z = (theta - self.success.mean) / self.success.sd
            success = np.asarray(self.success.log_prob(z, len(trials)), np.float64)
        return likelihood + success + self.prior.log_prob(theta)

    def modes(self, x: Any) -> Modes:
        """Returns local maxima of p(theta|x), sorted by the first parameter, that ascents from draws with a fixed key reach.

        The mass of a mode is the share of these ascents, and the log density contains the estimated log evidence.
        """
        tempered = self.tempered(jax.random.key(0), np.asarray(x)[None], NUM_ASCENTS)
        trials = self._relative(np.asarray(x)[None])[0]

        log_density = Partial(Joint.log_density, self._joint, trials)
        maxima = find_maxima(log_density, self.prior.real(tempered.draws[0]))
        theta = self.prior.parameters(maxima.z)
        order = np.argsort(theta[:, 0])
        log_density_of_modes = self.log_prob(theta, x) - tempered.log_evidence[0]
        return Modes(theta[order], log_density_of_modes[order], maxima.mass[order], np.asarray(len(theta)))  # pyright: ignore

    def propose(self, key: PRNGKey, x: Any, num: int) -> Float[np.ndarray, "N D"]:
        """Draws parameters from the posterior: a likelihood may be learnt from any, together with earlier simulations.

        Source: Papamakarios, Sterratt & Murray (2019), sequential neural likelihood.
        """
        return self.sample(key, x, num)

    def evaluate(self, key: PRNGKey, test: Dataset, num: int) -> Evaluated:
        """Ranks the true parameters of test simulations among `num` draws, and computes their densities.

        The evidence is estimated with few particles; where they do not reach the posterior, -log p(theta|x) is infinite.
        `test.x` is `[N, X]` or `[N, T, X]`.
        """
        num_particles = min(QUICK.num_particles, self.effort.num_particles)
        effort = Effort(num_particles, min(QUICK.num_moves, self.effort.num_moves), QUICK.target_ess)

        z = np.asarray(self.prior.real(test.y), np.float32)
        arguments = (jax.random.split(key, len(test.x)), self._relative(test.x), z)
        below, above, nll = _of_each(partial(_evaluate, self._joint, num=num, effort=effort), effort, *arguments)
        nll = np.asarray(nll, np.float64) - self.prior.log_prob(test.y)
        return Evaluated(Ranks(np.asarray(below), np.asarray(above), num), nll, np.reshape(test.x, (len(test.x), -1)))

    @cached_property
    def _joint(self) -> Joint:
        return joint_of(self.predictor, self.prior, self.success)

    def _relative(self, x: Any) -> Float[np.ndarray, "M T X"]:
        """Returns observations as trials, in the units in which the networks predict them."""
        x, num = as_results(x), len(self.predictor.columns.targets)
        if x.ndim not in (2, 3) or x.shape[-1] != num:
            raise ValueError(f"x: got shape {x.shape[1:]} of an observation, expected [{num}] or [trials, {num}]")
        x = x[:, None] if x.ndim == 2 else x
        return np.asarray(relative_units(self.predictor.scaler).relative(x), np.float32)


@partial(jax.jit, static_argnames=("num", "effort"))
def _draw(joint: Joint, keys: Any, trials: Any, num: int, effort: Effort) -> Tempered:
    """Draws parameters given each observation `[M, T, X]`."""

    def draw(key: PRNGKey, trials: Any) -> Tempered:
        return draw_tempered(key, partial(joint.log_likelihood, trials), joint.law, num, effort)

    return jax.vmap(draw)(keys, trials)


@partial(jax.jit, static_argnames=("num", "effort"))
def _evaluate(joint: Joint, keys: Any, trials: Any, z: Any, num: int, effort: Effort) -> Any:
    """Counts the draws below the true parameters and those of a higher density, and computes -log p(theta|x)."""

    def evaluate(key: PRNGKey, trials: Any, z: Any) -> Any:
        tempered = draw_tempered(key, partial(joint.log_likelihood, trials), joint.law, num, effort)
        of_draws = jax.vmap(partial(joint.log_density, trials))(tempered.draws)
        nll = jnp.where(tempered.exponent < 1, jnp.inf, tempered.log_evidence - joint.log_likelihood(trials, z))
        below = joint.law.ordered(tempered.draws) < joint.law.ordered(z)
        return jnp.sum(below, axis=0), jnp.sum(of_draws > joint.log_density(trials, z)), nll

    return jax.vmap(evaluate)(keys, trials, z)


def _of_each(function: Callable[..., Any], effort: Effort, *arguments: Any) -> Any:
    """Applies a compiled function of several observations to all, a few at a time."""
    num = len(arguments[0])
    width = min(num, max(1, ROWS_PER_CALL // effort.num_particles))
    results = []
    for start in range(0, num, width):
        rows = np.arange(start, start + width) % num  # the last are repeated, so that all calls have the same shape
        results.append(jax.device_get(function(*(leaf[rows] for leaf in arguments))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:num], *results)
