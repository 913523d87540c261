"""Entropy: by quadrature for one target, by sampling for any number of targets, and bounds of it."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from mdnjax.batching import check_mixture, map_batch
from mdnjax.components import Component, Warped
from mdnjax.mixture import Mixture, check_single, log_prob, num_targets
from mdnjax.quadrature import ROUNDING, Estimate
from mdnjax.statistics.arguments import check_count
from mdnjax.statistics.line import LineMixture, line_mixture
from mdnjax.statistics.moments import covariance, weighted
from mdnjax.statistics.overlaps import log_overlaps
from mdnjax.statistics.samples import sample
from mdnjax.types import Array, Float, PRNGKey

NUM_STEPS = 112  # of the quadrature: the logarithm of the density has kinks between components, where one takes over
MIN_SCALE = 1e-14  # relative to the largest distance; the nodes come as near as 2e-16 of it


@jax.jit
def entropy(mixture: Mixture) -> Estimate:
    """Returns the entropy H = -E[log p(y|x)] in nats, for a single target, by quadrature between the locations.

    Only differences between locations count, so a scale may be far below the last digit of a location. The entropy is nan if a
    scale is less than 1e-14 of another scale or of the distance between two locations, which no rule of this length resolves.
    Raises: ValueError if there is more than one target; `entropy_by_samples` has no such limit.
    """
    check_single("entropy", mixture)
    return map_batch(_entropy, mixture, size=2 * NUM_STEPS)


@partial(jax.jit, static_argnames="num_samples")
def entropy_by_samples(key: PRNGKey, mixture: Mixture, num_samples: int = 1000) -> Estimate:
    """Returns the entropy H = -E[log p(y|x)] in nats, as a mean over samples with its standard error.

    Raises: ValueError if there are fewer than two samples.
    """
    check_count("entropy_by_samples", "num_samples", num_samples, 2)
    nll = -log_prob(mixture, sample(key, mixture, (num_samples,)))
    return Estimate(jnp.mean(nll, axis=0), jnp.std(nll, axis=0, ddof=1) / math.sqrt(num_samples))


@jax.jit
def entropy_bounds(mixture: Mixture) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Returns a lower and an upper bound of the entropy, in nats.

    Lower: the larger of sum_k w_k H(p_k) and -sum_k w_k log sum_l w_l int p_k p_l. Upper: sum_k w_k H(p_k) - sum_k w_k log w_k
    or, on an unbounded support, the entropy of a Gaussian with the mixture's covariance if that is smaller. Source: Huber et al.
    (2008), On entropy approximation for Gaussian mixture random variables, theorems 2 and 3.
    """
    check_mixture(mixture)
    lower, upper = map_batch(_bounds, mixture, size=mixture.logits.shape[-1])
    if hasattr(mixture.component, "support"):
        return lower, upper
    log_determinant = jnp.linalg.slogdet(covariance(mixture))[1]
    gaussian = 0.5 * (num_targets(mixture) * math.log(2 * math.pi * math.e) + log_determinant)
    return lower, jnp.where(jnp.isinf(gaussian), upper, jnp.minimum(upper, gaussian))


def _entropy(logits: Array, component: Component) -> Estimate:
    line = line_mixture(logits, component)
    used = line.log_weight > -jnp.inf
    limit = jnp.finfo(logits.dtype).max ** 0.25 * jnp.max(jnp.where(used, line.marginals.line().scale[:, 0], 0), axis=0)

    def integrand(near: LineMixture, distance: Array, point: Array) -> Array:
        far = jnp.abs(distance) > limit  # beyond it the square overflows, so that the gradient of log p would be nan
        distance = jnp.where(far, 0, distance)
        log_p = near.log_prob(distance)
        log_density = jnp.maximum(log_p + line.log_slope(point + distance), -1e30)
        return jnp.where(far | (log_p == -jnp.inf), 0, -jnp.exp(log_p) * log_density)

    value, error = line.integrate(integrand, num_steps=NUM_STEPS)
    return Estimate(*_resolved(line, value, error))


def _resolved(line: LineMixture, value: Array, error: Array) -> tuple[Array, Array]:
    """Returns nan for a scale that is too small, and adds to the error what the rounding of log p gives.

    log p is off by some eps of its largest term, log scale, and on a bounded support of the location, which changes it too.
    """
    on_line, eps = line.marginals.line(), jnp.finfo(value.dtype).eps
    loc, scale, used = on_line.loc[:, 0], on_line.scale[:, 0], line.log_weight > math.log(eps)
    start = 0.0 if isinstance(line.marginals, Warped) else loc[:1]
    length = jnp.max(jnp.where(used, jnp.maximum(jnp.abs(loc - start), scale), 0), axis=0)
    unresolved = jnp.any(used & (scale < MIN_SCALE * length), axis=0)
    size = 1 + jnp.max(jnp.where(used, jnp.abs(jnp.log(scale)), 0), axis=0)
    if isinstance(line.marginals, Warped):
        size = size + jnp.max(jnp.where(used, jnp.abs(loc), 0), axis=0)
    return jnp.where(unresolved, jnp.nan, value), error + ROUNDING * eps * size * (1 + jnp.abs(value))


def _bounds(logits: Array, component: Component) -> tuple[Array, Array]:
    log_weight = jax.nn.log_softmax(logits, axis=0)
    weight = jnp.exp(log_weight)
    mean_entropy = jnp.sum(weight * component.entropies(), axis=0)
    # The overlap of a component of weight 0 may be infinite; the logarithm of a density that is 0 would have a nan gradient.
    none = weight == 0
    overlaps = jnp.where(none[:, None], 0, jnp.where(none, -jnp.inf, log_overlaps(component)))
    log_mean_density = jax.scipy.special.logsumexp(log_weight + overlaps, axis=1)  # log E[p(Y)] for Y from each component
    lower = jnp.maximum(mean_entropy, -jnp.sum(weighted(weight, log_mean_density), axis=0))
    return lower, mean_entropy - jnp.sum(weight * jnp.where(none, 0, log_weight), axis=0)
