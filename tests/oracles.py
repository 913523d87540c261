"""Independent answers: scipy and plain float64 numpy, one example and one component at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from mdnjax import Diagonal, Mixture


def random_mixture(seed: int, batch: tuple[int, ...], num_components: int, num_targets: int, dtype=jnp.float64) -> Mixture:
    """A mixture of any shape with weights, locations and scales of ordinary size."""
    generator = np.random.default_rng(seed)
    shape = (*batch, num_components, num_targets)
    logits, loc = 2 * generator.standard_normal(shape[:-1]), 3 * generator.standard_normal(shape)
    scale = np.exp(generator.standard_normal(shape))
    return Mixture(jnp.asarray(logits, dtype), Diagonal(jnp.asarray(loc, dtype), jnp.asarray(scale, dtype)))


def random_targets(seed: int, batch: tuple[int, ...], num_targets: int, dtype=jnp.float64) -> jax.Array:
    """Targets among the components of `random_mixture`."""
    return jnp.asarray(3 * np.random.default_rng([seed, 1]).standard_normal((*batch, num_targets)), dtype)


def parts(mixture: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, locations and scales in float64."""
    logits, (loc, scale) = np.asarray(mixture.logits, np.float64), (np.asarray(a, np.float64) for a in mixture.component)
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True), loc, scale


def log_prob(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """log p(y|x) of broadcast batches, by scipy's normal density."""
    weight, loc, scale = parts(mixture)
    log_densities = stats.norm.logpdf(np.asarray(y, np.float64)[..., None, :], loc, scale).sum(-1)
    return np.asarray(special.logsumexp(log_densities, axis=-1, b=weight))


def cdf(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """P(Y <= y|x) for one target, by scipy's normal distribution function."""
    weight, loc, scale = parts(mixture)
    return (weight * stats.norm.cdf(np.asarray(y, np.float64), loc[..., 0], scale[..., 0])).sum(-1)
