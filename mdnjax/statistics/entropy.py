"""Entropy: by quadrature for one target, by sampling for any number, and bounds in closed form."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from mdnjax.batching import map_batch
from mdnjax.components import Component
from mdnjax.mixture import Mixture, check_single, log_prob, num_targets
from mdnjax.quadrature import NUM_STEPS, Estimate
from mdnjax.statistics.line import line_of
from mdnjax.statistics.moments import covariance
from mdnjax.statistics.overlaps import log_overlaps
from mdnjax.statistics.samples import sample
from mdnjax.types import Array, Float, PRNGKey


@jax.jit
def entropy(mixture: Mixture) -> Estimate:
    """H = -E[log p(y|x)] in nats, for a single target, by quadrature between the locations.

    Raises: ValueError if there is more than one target: there `entropy_by_samples` answers.
    """
    check_single("entropy", mixture)
    return map_batch(_entropy, mixture, size=2 * NUM_STEPS)


@partial(jax.jit, static_argnames="num_samples")
def entropy_by_samples(key: PRNGKey, mixture: Mixture, num_samples: int = 1000) -> Estimate:
    """H = -E[log p(y|x)] in nats, as a mean over samples with its standard error."""
    surprise = -log_prob(mixture, sample(key, mixture, (num_samples,)))
    return Estimate(jnp.mean(surprise, axis=0), jnp.std(surprise, axis=0, ddof=1) / math.sqrt(num_samples))


@jax.jit
def entropy_bounds(mixture: Mixture) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """A number that the entropy is not below, and one that it is not above, in nats.

    Below: sum_k w_k H(p_k), and -sum_k w_k log sum_l w_l int p_k p_l. Above: the same with the weights' entropy added, and (on
    the whole line) that of a Gaussian of the mixture's covariance. Source: Huber et al. (2008), On entropy approximation for
    Gaussian mixture random variables, theorems 2 and 3.
    """
    below, above = map_batch(_bounds, mixture, size=mixture.logits.shape[-1])
    if hasattr(mixture.component, "support"):
        return below, above
    log_volume = jnp.linalg.slogdet(covariance(mixture))[1]
    gaussian = 0.5 * (num_targets(mixture) * math.log(2 * math.pi * math.e) + log_volume)
    return below, jnp.where(jnp.isinf(gaussian), above, jnp.minimum(above, gaussian))


def _entropy(logits: Array, component: Component) -> Estimate:
    line = line_of(logits, component)

    def integrand(u: Array) -> Array:
        log_p = line.log_prob(u)
        return jnp.where(log_p == -jnp.inf, 0, -jnp.exp(log_p) * jnp.maximum(log_p + line.log_slope(u), -1e30))

    return line.integrate(integrand)


def _bounds(logits: Array, component: Component) -> tuple[Array, Array]:
    log_weight = jax.nn.log_softmax(logits, axis=0)
    weight = jnp.exp(log_weight)
    inner = jnp.sum(weight * component.entropies(), axis=0)
    # a component without weight may overlap the others infinitely
    overlaps = jnp.where(weight[:, None] * weight == 0, -jnp.inf, log_overlaps(component))
    surprise = jax.scipy.special.logsumexp(log_weight + overlaps, axis=1)
    below = jnp.maximum(inner, -jnp.sum(jnp.where(weight == 0, 0, weight * surprise), axis=0))
    return below, inner - jnp.sum(weight * jnp.where(weight == 0, 0, log_weight), axis=0)
