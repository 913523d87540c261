"""Quantiles of random mixtures have their probability, computed in float64, to the rounding of the mixture's floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import FAMILIES

LEVELS = np.array([1e-6, 1e-4, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.9999])
NUM, K = 120, 40


def mixtures(family):
    """Mixtures of 1, 3, 5 and 40 components, next to each other or with gaps between them."""
    generator = np.random.default_rng(1)
    shape = (NUM, K, 1)
    logits = 2 * generator.standard_normal(shape[:-1])
    for i, num in enumerate((1, 3, 5)):
        logits[i::4, num:] = -np.inf
    spread = generator.choice([0.0, 1.0, 3.0, 100.0, 3000.0], (NUM, 1, 1))
    fields = [spread * generator.standard_normal(shape), np.exp(generator.standard_normal(shape))]
    fields += [2.2 + 10 * generator.random(shape)] if family == "student_t" else []
    return mdn.Mixture(jnp.asarray(logits), FAMILIES[family](*map(jnp.asarray, fields)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", ["diagonal", "laplace", "student_t"])
def test_quantiles_have_their_probability_to_rounding(family, dtype):
    mixture = jax.tree.map(lambda leaf: leaf.astype(dtype), mixtures(family))
    p, epsilon = LEVELS.astype(dtype), np.finfo(dtype).eps
    y = np.asarray(mdn.quantile(mixture[:, None], p), np.float64)
    exact = jax.tree.map(lambda leaf: leaf.astype(np.float64), mixture)[:, None]
    below, above, density = (np.asarray(function(exact, y)) for function in (mdn.cdf, mdn.survival, mdn.prob))
    error = np.where(p < 0.5, np.abs(below.reshape(NUM, -1) - p), np.abs(above.reshape(NUM, -1) - (1 - p.astype(float))))
    loc = np.where(np.isfinite(mixture.logits), mixture.component.loc[..., 0], 0)
    size = np.abs(y[..., 0]) + np.max(np.abs(loc), axis=1)[:, None]
    allowed = 25 * epsilon * np.minimum(p, 1 - p) + 4 * epsilon * density * size
    np.testing.assert_array_less(error, 1.5 * allowed + np.finfo(dtype).tiny)
