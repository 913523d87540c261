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
from mdnjax.components import GAUSSIAN, Component, Diagonal, Laplace, Warped
from mdnjax.components.laplace import mean_of_decay
from mdnjax.mixture import Mixture, check_single, log_prob, prob
from mdnjax.quadrature import ROUNDING, Estimate
from mdnjax.statistics.arguments import as_targets, check_count, check_levels
from mdnjax.statistics.line import LineMixture, line_mixture
from mdnjax.statistics.overlaps import log_overlaps
from mdnjax.statistics.probabilities import cdf
from mdnjax.statistics.samples import sample
from mdnjax.types import AnyArray, Array, Float, PRNGKey

NUM_STEPS_CRPS = 56  # of the quadrature; fewer than for densities, because distribution functions are smoother


def nll(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns the negative log-likelihood -log p(y|x), in nats and the units of y; lower is better."""
    return -log_prob(mixture, as_targets("nll", mixture, y))


def pit(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns the probability integral transform P(Y <= y|x), uniform on [0, 1] if the mixture is the true distribution.

    Source: Dawid (1984).
    """
    return cdf(mixture, as_targets("pit", mixture, y))


def coverage(
    pit_values: Float[AnyArray, "*batch"], level: float | Float[Array, ""], weight: Float[AnyArray, "*batch"] | None = None
) -> Float[Array, ""]:
    """Returns the share of observations inside the central interval of that level, where |PIT - 1/2| <= level / 2.

    With weights of the observations it is the share of their total weight.
    Raises: ValueError if the level is a number outside of [0, 1].
    """
    check_levels("coverage", "level", level)
    return _coverage(pit_values, level, weight)


def hdr_coverage(hdr_masses: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Returns the share of observations inside the highest-density region of that level, from the `hdr_mass` of each.

    It is nan if one of the masses is nan, as that of a missing observation, or a traced level is outside of [0, 1].
    Raises: ValueError if the level is a number outside of [0, 1].
    """
    check_levels("hdr_coverage", "level", level)
    return _hdr_coverage(hdr_masses, level)


@jax.jit
def calibration_error(pit_values: Float[AnyArray, "*batch"], weight: Float[AnyArray, "*batch"] | None = None) -> Float[Array, ""]:
    """Returns the integral of |F_n(u) - u| over [0, 1], where F_n is the empirical distribution function of the PIT.

    It is 0 if the predicted quantiles are exceeded exactly as often as they should be, and 1/2 at most. If the mixture is the
    true distribution, it is about 0.31 / sqrt(N). Weights of the observations are those of their steps in F_n.
    """
    values = jnp.ravel(jnp.asarray(pit_values))
    order = jnp.argsort(values)
    values = values[order]
    ends = jnp.concatenate([jnp.zeros(1, values.dtype), values, jnp.ones(1, values.dtype)])
    if weight is None:
        height = jnp.arange(len(values) + 1, dtype=values.dtype) / max(len(values), 1)
    else:
        below = jnp.cumsum(jnp.ravel(jnp.asarray(weight, values.dtype))[order])
        height = jnp.concatenate([jnp.zeros(1, values.dtype), below / below[-1]])
    first, last = height - ends[:-1], height - ends[1:]  # F_n(u) - u at the ends of a step, between which it is linear
    return jnp.sum(0.5 * (first * jnp.abs(first) - last * jnp.abs(last)))


@jax.jit
def crps(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns the continuous ranked probability score, in units of y, for a single target; lower is better.

    CRPS = sum_k w_k E|Y_k - y| - 1/2 sum_kl w_k w_l E|Y_k - Y_l|, in closed form for Gaussian and Laplace components, with
    E|N(m, v)| = m (2 Phi(m / sqrt v) - 1) + 2 sqrt v phi(m / sqrt v) for a Gaussian; for other components by
    `crps_by_quadrature`. It is inf for an infinite y.
    Raises: ValueError if there is more than one target. Source: Grimit et al. (2006), eq. 5; Jordan, Krueger and Lerch (2019),
    Evaluating probabilistic forecasts with scoringRules.
    """
    check_single("crps", mixture)
    y = as_targets("crps", mixture, y)
    if isinstance(mixture.component, (*GAUSSIAN, Laplace)):
        return map_examples(_crps_of_pairs, mixture, y, size=mixture.logits.shape[-1])
    return crps_by_quadrature(mixture, y).value


@jax.jit
def crps_by_quadrature(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Estimate:
    """Returns CRPS = int (F(t) - [y <= t])^2 dt for components of any family and a single target, with its error.

    Nodes are distances from the locations and y, so that no digits are lost where these are far from zero. It is inf for an
    infinite y.
    Raises: ValueError if there is more than one target. Source: Matheson and Winkler (1976).
    """
    check_single("crps_by_quadrature", mixture)
    y = as_targets("crps_by_quadrature", mixture, y)
    return map_batch(_crps, mixture, y, size=2 * NUM_STEPS_CRPS)


@partial(jax.jit, static_argnames="num_samples")
def energy_score(key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"] | float, num_samples: int = 1000) -> Estimate:
    """Returns the energy score E|Y - y| - 1/2 E|Y - Y'| for any number of targets, from samples with its standard error.

    Norms are Euclidean; for one target it is the CRPS. Y' are the same samples, each paired with the next, so the estimate is
    unbiased. The batch axes of y broadcast to those of the mixture.
    Raises: ValueError if there are fewer than two samples. Source: Gneiting and Raftery (2007), eq. 22.
    """
    check_count("energy_score", "num_samples", num_samples, 2)
    y = as_targets("energy_score", mixture, y, own_batch=False)
    samples = sample(key, mixture, (num_samples,))
    terms = _norm(samples - y) - 0.5 * _norm(samples - jnp.roll(samples, 1, axis=0))
    centred = terms - jnp.mean(terms, axis=0)
    # Neighbouring terms share a sample, so the variance of the mean includes twice their covariance.
    variance = jnp.mean(centred**2, axis=0) + 2 * jnp.mean(centred * jnp.roll(centred, 1, axis=0), axis=0)
    return Estimate(jnp.mean(terms, axis=0), jnp.sqrt(jnp.maximum(variance, 0)) / math.sqrt(num_samples))


@jax.jit
def cde_loss(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns the conditional density estimation loss int p(t|x)^2 dt - 2 p(y|x), in inverse units of y; lower is better.

    Up to a constant, its mean over y is the integrated squared error of the density. The integral is sum_kl w_k w_l int p_k p_l,
    in closed form for Gaussian and Laplace components, by quadrature for others.
    Raises: ValueError for correlated targets on a bounded support. Source: Izbicki and Lee (2016).
    """
    y = as_targets("cde_loss", mixture, y)
    return map_examples(_squared_density, mixture, size=mixture.logits.shape[-1]) - 2 * prob(mixture, y)


@jax.jit
def _hdr_coverage(hdr_masses: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    values = jnp.asarray(hdr_masses)
    is_nan = jnp.isnan(values) | ~((level >= 0) & (level <= 1))
    return jnp.mean(jnp.where(is_nan, jnp.nan, values <= level), dtype=values.dtype)


@jax.jit
def _coverage(
    pit_values: Float[AnyArray, "*batch"], level: float | Float[Array, ""], weight: Float[AnyArray, "*batch"] | None
) -> Float[Array, ""]:
    values = jnp.asarray(pit_values)
    inside = jnp.where(jnp.isnan(values), jnp.nan, (jnp.abs(values - 0.5) <= level / 2).astype(values.dtype))
    return jnp.mean(inside) if weight is None else jnp.average(inside, weights=jnp.asarray(weight, values.dtype))


def _squared_density(logits: Array, component: Component) -> Float[Array, "*batch"]:
    log_weight = jax.nn.log_softmax(logits, axis=0)
    pairs = log_weight[:, None] + log_weight
    return jnp.sum(jnp.where(pairs > -jnp.inf, jnp.exp(pairs + log_overlaps(component)), 0), axis=(0, 1))


def _crps_of_pairs(logits: Array, component: Component, y: Array) -> Float[Array, "..."]:
    marginals, weight = cast(Diagonal | Laplace, component.marginals()), jax.nn.softmax(logits, axis=0)
    loc, scale = marginals.loc[:, 0], marginals.scale[:, 0]
    infinite = jnp.isinf(y)
    to_y, difference = jnp.where(infinite, 0, y) - loc, loc[:, None] - loc
    if isinstance(marginals, Laplace):
        sizes, distances = _laplace_size(to_y, scale), _laplace_distance(difference, scale[:, None], scale)
    else:
        sizes = _gaussian_size(to_y, scale)
        distances = _gaussian_size(difference, jnp.hypot(scale[:, None], scale))  # the squares may overflow in float32
    value = jnp.sum(weight * sizes, axis=0) - 0.5 * jnp.sum(weight[:, None] * weight * distances, axis=(0, 1))
    return value + jnp.where(infinite[0], jnp.inf, 0)


def _gaussian_size(m: Float[AnyArray, "*shape"], sd: Float[Array, "*#shape"]) -> Float[AnyArray, "*shape"]:
    """Returns E|N(m, sd^2)|."""
    z = m / sd
    return m * (2 * ndtr(z) - 1) + 2 * sd * norm.pdf(z)


def _laplace_size(m: Float[Array, "*shape"], scale: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """Returns E|m + scale Z| = |m| + scale exp(-|m| / scale), with Z of the standard Laplace distribution."""
    size = jnp.abs(m)
    return size + scale * jnp.exp(-size / scale)


def _laplace_distance(
    m: Float[Array, "..."], scale: Float[Array, "..."], other_scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Returns E|m + a Z - b Z'| = d + (a^3 exp(-d / a) - b^3 exp(-d / b)) / (a^2 - b^2), with d = |m|.

    With a the larger one, r = b / a and h = d (1 / b - 1 / a), it is
    d + exp(-d / a) (a (1 + r + r^2) + r^2 d (1 - exp(-h)) / h) / (1 + r), where nothing cancels if the scales are nearly equal.
    """
    d, a, b = jnp.abs(m), jnp.maximum(scale, other_scale), jnp.minimum(scale, other_scale)
    r = b / a
    return d + jnp.exp(-d / a) * (a * (1 + r + r**2) + r**2 * d * mean_of_decay(d / b * (1 - r))) / (1 + r)


def _crps(logits: Array, component: Component, y: Array) -> Estimate:
    line = line_mixture(logits, component)
    y_on_line = line.marginals.to_line(y)[0]

    def integrand(near: LineMixture, distance: Array, point: Array) -> Array:
        # A piece of length 0, between y and an equal location, is below y; its length has a gradient.
        tail = near.tails(distance, distance <= y_on_line - point)
        if not isinstance(component, Warped):
            return tail**2
        log_slope = line.log_slope(point + distance)
        return jnp.where(tail == 0, 0, jnp.exp(2 * jnp.log(jnp.where(tail == 0, 1, tail)) - log_slope))

    value, error = line.integrate(integrand, y_on_line, num_steps=NUM_STEPS_CRPS)
    nearest = jax.lax.stop_gradient(line.value(y_on_line[None])[0])
    distance_to_support = jnp.where(jnp.isfinite(y_on_line), 0, jnp.where(jnp.isinf(y[0]), jnp.inf, jnp.abs(y[0] - nearest)))
    return Estimate(value + distance_to_support, error + ROUNDING * jnp.finfo(y.dtype).eps * distance_to_support)


def _norm(y: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Returns the Euclidean norm; its gradient at 0 is 0 instead of NaN."""
    square = jnp.sum(y**2, axis=-1)
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
