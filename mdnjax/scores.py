"""Scores of predicted mixtures against observed targets, one value per example and batch-first; the caller takes the mean."""

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
from mdnjax.statistics.line import line_mixture
from mdnjax.statistics.overlaps import log_overlaps
from mdnjax.statistics.probabilities import cdf
from mdnjax.statistics.samples import sample
from mdnjax.types import AnyArray, Array, Float, PRNGKey

NUM_STEPS_CRPS = 48  # of the quadrature; fewer than for densities, because distribution functions are smoother


def nll(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns the negative log-likelihood -log p(y|x), in nats and the units of y; lower is better."""
    return -log_prob(mixture, y)


def pit(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns the probability integral transform P(Y <= y|x), uniform on [0, 1] if the mixture is the true distribution.

    Source: Dawid (1984).
    """
    return cdf(mixture, y)


@jax.jit
def coverage(pit_values: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Returns the share of observations inside the central interval of that level, where |PIT - 1/2| <= level / 2."""
    values = jnp.asarray(pit_values)
    return jnp.mean(jnp.abs(values - 0.5) <= level / 2, dtype=values.dtype)


@jax.jit
def hdr_coverage(hdr_masses: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Returns the share of observations inside the highest-density region of that level, from the `hdr_mass` of each."""
    values = jnp.asarray(hdr_masses)
    return jnp.mean(values <= level, dtype=values.dtype)


@jax.jit
def calibration_error(pit_values: Float[AnyArray, "*batch"]) -> Float[Array, ""]:
    """Returns the integral of |F_n(u) - u| over [0, 1], where F_n is the empirical distribution function of the PIT.

    It is 0 if the predicted quantiles are exceeded exactly as often as they should be, and 1/2 at most. If the mixture is the
    true distribution, it is about 0.31 / sqrt(N).
    """
    values = jnp.sort(jnp.ravel(jnp.asarray(pit_values)))
    ends = jnp.concatenate([jnp.zeros(1, values.dtype), values, jnp.ones(1, values.dtype)])
    height = jnp.arange(len(values) + 1, dtype=values.dtype) / max(len(values), 1)
    first, last = height - ends[:-1], height - ends[1:]  # F_n(u) - u at the ends of a step, between which it is linear
    return jnp.sum(0.5 * (first * jnp.abs(first) - last * jnp.abs(last)))


@jax.jit
def crps(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns the continuous ranked probability score, in units of y, for a single target; lower is better.

    For Gaussian components in closed form, CRPS = sum_k w_k A(y - m_k, s_k^2) - 1/2 sum_kl w_k w_l A(m_k - m_l, s_k^2 + s_l^2),
    A(m, v) = m (2 Phi(m / sqrt v) - 1) + 2 sqrt v phi(m / sqrt v); for other components by `crps_by_quadrature`.
    Raises: ValueError if there is more than one target. Source: Grimit et al. (2006), eq. 5.
    """
    check_single("crps", mixture)
    check_targets(mixture, y)
    if isinstance(mixture.component, GAUSSIAN):
        return map_examples(_gaussian_crps, mixture, y, size=mixture.logits.shape[-1])
    return crps_by_quadrature(mixture, y).value


@jax.jit
def crps_by_quadrature(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Estimate:
    """Returns CRPS = int (F(t) - [y <= t])^2 dt for components of any family and a single target, with its error.

    Raises: ValueError if there is more than one target. Source: Matheson and Winkler (1976).
    """
    check_single("crps_by_quadrature", mixture)
    check_targets(mixture, y)
    return map_batch(_crps, mixture, y, size=2 * NUM_STEPS_CRPS)


@partial(jax.jit, static_argnames="num_samples")
def energy_score(key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"], num_samples: int = 1000) -> Estimate:
    """Returns the energy score E|Y - y| - 1/2 E|Y - Y'| for any number of targets, from samples with its standard error.

    Norms are Euclidean; for one target it is the CRPS. Y' are the same samples, each paired with the next, so the estimate is
    unbiased. y has the mixture's batch. Source: Gneiting and Raftery (2007), eq. 22.
    """
    check_targets(mixture, y)
    samples = sample(key, mixture, (num_samples,))
    terms = _norm(samples - y) - 0.5 * _norm(samples - jnp.roll(samples, 1, axis=0))
    centred = terms - jnp.mean(terms, axis=0)
    # Neighbouring terms share a sample, so the variance of the mean includes twice their covariance.
    variance = jnp.mean(centred**2, axis=0) + 2 * jnp.mean(centred * jnp.roll(centred, 1, axis=0), axis=0)
    return Estimate(jnp.mean(terms, axis=0), jnp.sqrt(jnp.maximum(variance, 0)) / math.sqrt(num_samples))


@jax.jit
def cde_loss(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns the conditional density estimation loss int p(t|x)^2 dt - 2 p(y|x), in inverse units of y; lower is better.

    Up to a constant, its mean over y is the integrated squared error of the density. The integral is sum_kl w_k w_l int p_k p_l,
    in closed form for Gaussian components, by quadrature for others.
    Raises: ValueError for correlated targets on a bounded support. Source: Izbicki and Lee (2016).
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
    distance_to_y = jnp.sum(weight * _mean_distance(y - loc, scale), axis=0)
    distances = _mean_distance(loc[:, None] - loc, jnp.hypot(scale[:, None], scale))  # the squares may overflow in float32
    return distance_to_y - 0.5 * jnp.sum(weight[:, None] * weight * distances, axis=(0, 1))


def _mean_distance(m: Float[AnyArray, "*shape"], sd: Float[Array, "*#shape"]) -> Float[AnyArray, "*shape"]:
    """Returns E|N(m, sd^2)|, which is A(m, sd^2)."""
    z = m / sd
    return m * (2 * ndtr(z) - 1) + 2 * sd * norm.pdf(z)


def _crps(logits: Array, component: Component, y: Array) -> Estimate:
    line = line_mixture(logits, component)
    y_on_line = line.marginals.to_line(y)[0]

    def integrand(u: Array) -> Array:
        tail = jnp.where(u < y_on_line, line.cdf(u), line.survival(u))
        return jnp.where(tail == 0, 0, jnp.exp(2 * jnp.log(jnp.where(tail == 0, 1, tail)) - line.log_slope(u)))

    inside = jnp.isfinite(y_on_line)
    value, error = line.integrate(integrand, jnp.where(inside, y_on_line, 0), num_steps=NUM_STEPS_CRPS)
    distance_to_support = jnp.where(inside, 0, jnp.abs(y[0] - line.value(y_on_line[None])[0]))
    return Estimate(value + distance_to_support, error)


def _norm(y: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Returns the Euclidean norm; its gradient at 0 is 0 instead of NaN."""
    square = jnp.sum(y**2, axis=-1)
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
