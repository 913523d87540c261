"""Scores of predictive mixtures against what was observed, per example and batch-first; the caller takes the mean."""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jax.scipy.stats import norm

from mdnjax.batching import map_batch, map_examples
from mdnjax.components import GAUSSIAN, Component, Diagonal
from mdnjax.mixture import Mixture, check_single, check_targets, log_prob, prob
from mdnjax.quadrature import Estimate
from mdnjax.statistics.line import line_of
from mdnjax.statistics.overlaps import log_overlaps
from mdnjax.statistics.probabilities import cdf
from mdnjax.statistics.samples import sample
from mdnjax.types import AnyArray, Array, Float, PRNGKey

NUM_STEPS_CRPS = 48  # of the quadrature: distribution functions are smoother than densities


def nll(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Negative log-likelihood -log p(y|x), in nats and the units of y; lower is better."""
    return -log_prob(mixture, y)


def pit(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Probability integral transform P(Y <= y|x): uniform on [0, 1] where the mixture is the truth. Source: Dawid (1984)."""
    return cdf(mixture, y)


@jax.jit
def coverage(pit_values: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Share of observations inside the central interval of that level, which is |PIT - 1/2| <= level / 2."""
    values = jnp.asarray(pit_values)
    return jnp.mean(jnp.abs(values - 0.5) <= level / 2, dtype=values.dtype)


@jax.jit
def hdr_coverage(hdr_masses: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Share of observations inside the highest-density region of that level, from the `hdr_mass` of each."""
    values = jnp.asarray(hdr_masses)
    return jnp.mean(values <= level, dtype=values.dtype)


@jax.jit
def calibration_error(pit_values: Float[AnyArray, "*batch"]) -> Float[Array, ""]:
    """Mean distance between the distribution of the PIT and the uniform one: the integral of |F_n(u) - u| over [0, 1].

    0 where every quantile is met as often as it promises, 1/2 at most. Where the mixture is the truth it is about
    0.31 / sqrt(N).
    """
    values = jnp.sort(jnp.ravel(jnp.asarray(pit_values)))
    ends = jnp.concatenate([jnp.zeros(1, values.dtype), values, jnp.ones(1, values.dtype)])
    height = jnp.arange(len(values) + 1, dtype=values.dtype) / max(len(values), 1)
    low, high = height - ends[:-1], height - ends[1:]  # F_n(u) - u falls from low to high over a step
    square = 0.5 * (low * jnp.abs(low) - high * jnp.abs(high))
    return jnp.sum(square)


@jax.jit
def crps(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Continuous ranked probability score, in units of y, for a single target; lower is better.

    For Gaussian components in closed form, CRPS = sum_k w_k A(y - m_k, s_k^2) - 1/2 sum_kl w_k w_l A(m_k - m_l, s_k^2 + s_l^2),
    A(m, v) = m (2 Phi(m / sqrt v) - 1) + 2 sqrt v phi(m / sqrt v); for others as `crps_by_quadrature`.
    Raises: ValueError if there is more than one target. Source: Grimit et al. (2006), eq. 5.
    """
    check_single("crps", mixture)
    check_targets(mixture, y)
    if isinstance(mixture.component, GAUSSIAN):
        return map_examples(_gaussian_crps, mixture, y, size=mixture.logits.shape[-1])
    return crps_by_quadrature(mixture, y).value


@jax.jit
def crps_by_quadrature(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Estimate:
    """CRPS = int (F(t) - [y <= t])^2 dt of any mixture of a single target, with its error.

    Source: Matheson and Winkler (1976).
    """

    check_single("crps_by_quadrature", mixture)
    check_targets(mixture, y)
    return map_batch(_crps, mixture, y, size=2 * NUM_STEPS_CRPS)


@partial(jax.jit, static_argnames="num_samples")
def energy_score(key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"], num_samples: int = 1000) -> Estimate:
    """Energy score E|Y - y| - 1/2 E|Y - Y'| for any number of targets, from samples with its standard error.

    Norms are Euclidean; for one target it is the CRPS. Unbiased: Y' are the same samples, each paired with the next. y has the
    mixture's batch.
    Source: Gneiting and Raftery (2007), eq. 22.
    """
    check_targets(mixture, y)
    draws = sample(key, mixture, (num_samples,))
    terms = _norm(draws - y) - 0.5 * _norm(draws - jnp.roll(draws, 1, axis=0))
    centred = terms - jnp.mean(terms, axis=0)
    # neighbours share a sample, so their covariance counts twice
    spread = jnp.mean(centred**2, axis=0) + 2 * jnp.mean(centred * jnp.roll(centred, 1, axis=0), axis=0)
    return Estimate(jnp.mean(terms, axis=0), jnp.sqrt(jnp.maximum(spread, 0)) / math.sqrt(num_samples))


@jax.jit
def cde_loss(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """int p(t|x)^2 dt - 2 p(y|x), in inverse units of y: squared distance to the truth but for a constant; lower is better.

    The integral is sum_kl w_k w_l int p_k p_l: closed for Gaussian components, by quadrature for others. Source: Izbicki and
    Lee (2016).
    """
    check_targets(mixture, y)
    return map_examples(_squared_density, mixture, size=mixture.logits.shape[-1]) - 2 * prob(mixture, y)


def _squared_density(logits: Array, component: Component) -> Float[Array, "*batch"]:
    log_weight = jax.nn.log_softmax(logits, axis=0)
    pairs = log_weight[:, None] + log_weight
    return jnp.sum(jnp.where(pairs > -jnp.inf, jnp.exp(pairs + log_overlaps(component)), 0), axis=(0, 1))


def _gaussian_crps(logits: Array, component: Component, y: Array) -> Float[Array, "..."]:
    marginals, weight = cast(Diagonal, component.marginals()), jax.nn.softmax(logits, axis=0)
    loc, scale = marginals.loc[:, 0], marginals.scale[:, 0]
    to_y = jnp.sum(weight * _mean_distance(y - loc, scale), axis=0)
    apart = _mean_distance(loc[:, None] - loc, jnp.hypot(scale[:, None], scale))  # their squares may be no numbers of 32 bits
    return to_y - 0.5 * jnp.sum(weight[:, None] * weight * apart, axis=(0, 1))


def _mean_distance(m: Float[AnyArray, "*shape"], sd: Float[Array, "*#shape"]) -> Float[AnyArray, "*shape"]:
    """E|N(m, sd^2)|, which is A(m, sd^2)."""
    z = m / sd
    return m * (2 * ndtr(z) - 1) + 2 * sd * norm.pdf(z)


def _crps(logits: Array, component: Component, y: Array) -> Estimate:
    line = line_of(logits, component)
    at = line.marginals.to_line(y)[0]

    def integrand(u: Array) -> Array:
        tail = jnp.where(u < at, line.cdf(u), line.survival(u))
        return jnp.where(tail == 0, 0, jnp.exp(2 * jnp.log(jnp.where(tail == 0, 1, tail)) - line.log_slope(u)))

    inside = jnp.isfinite(at)
    value, error = line.integrate(integrand, jnp.where(inside, at, 0), num_steps=NUM_STEPS_CRPS)
    beyond = jnp.where(inside, 0, jnp.abs(y[0] - line.value(at[None])[0]))  # outside of the support
    return Estimate(value + beyond, error)


def _norm(y: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Euclidean norm, with the gradient 0 at 0."""
    square = jnp.sum(y**2, axis=-1)
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
