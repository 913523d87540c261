"""Random mixtures and targets, and their comparison with the oracles of `experiments.proof`."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.proof.cases import Case
from experiments.proof.checks import Check, largest_error
from experiments.proof.oracles import Example, examples
from mdnjax import Diagonal, Mixture


def random_mixture(seed: int, batch: tuple[int, ...], num_components: int, num_targets: int, dtype=jnp.float64) -> Mixture:
    """Returns a Gaussian mixture of any shape with weights, locations and scales of ordinary size."""
    generator = np.random.default_rng(seed)
    shape = (*batch, num_components, num_targets)
    logits, loc = 2 * generator.standard_normal(shape[:-1]), 3 * generator.standard_normal(shape)
    scale = np.exp(generator.standard_normal(shape))
    return Mixture(jnp.asarray(logits, dtype), Diagonal(jnp.asarray(loc, dtype), jnp.asarray(scale, dtype)))


def random_targets(seed: int, batch: tuple[int, ...], num_targets: int, dtype=jnp.float64) -> jax.Array:
    """Returns targets among the components of `random_mixture`."""
    return jnp.asarray(3 * np.random.default_rng([seed, 1]).standard_normal((*batch, num_targets)), dtype)


def case_of(mixture: Mixture, y) -> Case:
    """Returns a mixture with one target for each of its examples as a case of `experiments.proof`."""
    return Case(mixture, np.asarray(y), examples(mixture))


def largest_error_of(check: Check, mixture: Mixture, y) -> float:
    """Returns the largest error of a check of `experiments.proof`, in the mixture's dtype."""
    case = case_of(mixture, y)
    return largest_error(check, case, str(mixture.logits.dtype), check.truth(case))


def log_prob(mixture: Mixture, y) -> np.ndarray:
    """Returns log p(y|x) by scipy's densities."""
    return case_of(mixture, y).each(Example.log_prob, np.asarray(y))


def parts(mixture: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns weights, locations and scales in float64."""
    logits, loc, scale = (np.asarray(leaf, np.float64) for leaf in (mixture.logits, *mixture.component))
    return special.softmax(logits, axis=-1), loc, scale


def in_simulation_error(covered, low, high):
    """Whether the share of draws is between two bounds, up to four standard errors."""
    share, num = np.mean(covered), len(covered)
    error = 4 * np.sqrt(0.25 * max(4 * share * (1 - share), 4 / num) / num)
    return low - error <= share <= high + error
