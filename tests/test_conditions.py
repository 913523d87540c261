"""Conditional mixtures far from zero: weights, covariances and their gradients have the digits of differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from tests.test_far_from_zero import GRID, SHIFTS


def make(family, dtype, shift):
    """A mixture of three targets, and values of the second one; locations and values are exact in float32 at every shift."""
    generator = np.random.default_rng(0)
    on_grid = [np.round(3 * generator.standard_normal(shape) / GRID) * GRID for shape in ((5, 3, 3), (5, 1))]
    loc, y = (jnp.asarray(part + shift, dtype) for part in on_grid)
    logits, factor = (generator.standard_normal(shape).astype(np.float32).astype(dtype) for shape in ((5, 3), (5, 3, 3, 2)))
    scale = 2.0 ** generator.integers(-1, 2, (5, 3, 3))
    if family == "low_rank":
        return mdn.Mixture(jnp.asarray(logits), mdn.LowRank(loc, jnp.asarray(factor), jnp.asarray(scale, dtype))), y
    tril = 0.5 * np.tril(np.concatenate([factor, factor[..., :1]], -1), -1) + np.eye(3) / scale[..., None]
    return mdn.Mixture(jnp.asarray(logits), mdn.Full(loc, jnp.asarray(tril, dtype))), y


@jax.jit
def conditional(mixture, y, shift):
    """Weights, covariance factors and locations given the second target, and the gradients of a sum of the first two."""

    def total(mixture, y):
        given: Any = mdn.condition(mixture, (1,), y)
        return jnp.sum(jnp.cos(jnp.arange(3.0)) * mdn.weights(given)) + jnp.sum(given.component.precision_tril)

    given: Any = mdn.condition(mixture, (1,), y)
    return mdn.weights(given), given.component.precision_tril, jax.grad(total, (0, 1))(mixture, y), given.component.loc - shift


@pytest.mark.parametrize("family", ["full", "low_rank"])
def test_conditions_far_from_zero_are_those_near_zero(family):
    exact = [np.asarray(leaf) for leaf in jax.tree.leaves(conditional(*make(family, np.float64, 0.0), 0.0))]
    for shift in SHIFTS:
        found = [
            np.asarray(leaf, float) for leaf in jax.tree.leaves(conditional(*make(family, np.float32, shift), np.float32(shift)))
        ]
        for value, truth in zip(found[:-1], exact[:-1], strict=True):
            np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5, err_msg=str(shift))
        np.testing.assert_allclose(found[-1], exact[-1], rtol=1e-5, atol=5e-6 + float(np.finfo(np.float32).eps) * shift)


@pytest.mark.parametrize("family", ["full", "low_rank"])
def test_the_gradient_of_a_condition_is_that_of_differences(family):
    mixture, y = make(family, np.float64, SHIFTS[1])

    @jax.jit
    def total(mixture, y):
        given: Any = mdn.condition(mixture, (1,), y)
        return jnp.sum(jnp.sin(jnp.arange(6.0).reshape(3, 2)) * given.component.loc) + jnp.sum(mdn.weights(given)[..., 0])

    generator = np.random.default_rng(1)
    step = jax.tree.map(lambda leaf: 1e-6 * generator.standard_normal(leaf.shape), (mixture, y))
    if family == "full":  # its factor is lower triangular
        step[0].component.precision_tril[...] = np.tril(step[0].component.precision_tril)
    ahead, behind = (jax.tree.map(lambda leaf, d, s=sign: leaf + s * d, (mixture, y), step) for sign in (1, -1))
    slopes = jax.tree.leaves(jax.jit(jax.grad(total, (0, 1)))(mixture, y))
    along = sum(np.sum(a * b) for a, b in zip(slopes, jax.tree.leaves(step), strict=True))
    assert float(along) == pytest.approx(float(total(*ahead) - total(*behind)) / 2, rel=1e-5)
