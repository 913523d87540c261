"""Scores of predictive mixtures against what was observed, per example and batch-first; the caller takes the mean."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jax.scipy.stats import norm

from mdnjax.mixture import Mixture, cdf, log_prob, weights
from mdnjax.types import AnyArray, Array, Float


def nll(mixture: Mixture, y: Float[AnyArray, "*batch D"]) -> Float[Array, "*batch"]:
    """Negative log-likelihood -log p(y|x), in nats and the units of y; lower is better."""
    return -log_prob(mixture, y)


def pit(mixture: Mixture, y: Float[AnyArray, "*batch D"]) -> Float[Array, "*batch"]:
    """Probability integral transform P(Y <= y|x): uniform on [0, 1] where the mixture is the truth. Source: Dawid (1984)."""
    return cdf(mixture, y)


@jax.jit
def coverage(pit_values: Float[AnyArray, "*batch"], level: float | Float[Array, ""]) -> Float[Array, ""]:
    """Share of observations inside the central interval of that level, which is |PIT - 1/2| <= level / 2."""
    return jnp.mean(jnp.abs(pit_values - 0.5) <= level / 2)


@jax.jit
def crps(mixture: Mixture, y: Float[AnyArray, "*batch D"]) -> Float[Array, "*batch"]:
    """Continuous ranked probability score of a univariate Gaussian mixture, in units of y; lower is better.

    CRPS = sum_k w_k A(y - m_k, s_k^2) - 1/2 sum_kl w_k w_l A(m_k - m_l, s_k^2 + s_l^2),
    A(m, v) = m (2 Phi(m / sqrt v) - 1) + 2 sqrt v phi(m / sqrt v).
    Raises: ValueError if there is more than one target. Source: Grimit et al. (2006), eq. 5.
    """
    loc, var = mixture.component.means(), mixture.component.variances()
    if y.shape[-1] != 1 or loc.shape[-1] != 1:
        raise ValueError(f"crps: got {loc.shape[-1]} targets in the mixture and {y.shape[-1]} in y, expected 1")
    loc, var, weight = loc[..., 0], var[..., 0], weights(mixture)
    to_y = jnp.sum(weight * _mean_distance(y - loc, var), axis=-1)
    apart = _mean_distance(loc[..., :, None] - loc[..., None, :], var[..., :, None] + var[..., None, :])
    return to_y - 0.5 * jnp.einsum("...k,...l,...kl->...", weight, weight, apart)


def _mean_distance(m: Float[AnyArray, "*shape"], v: Float[Array, "*shape"]) -> Float[AnyArray, "*shape"]:
    """E|N(m, v)|, which is A(m, v)."""
    sd = jnp.sqrt(v)
    z = m / sd
    return m * (2 * ndtr(z) - 1) + 2 * sd * norm.pdf(z)
