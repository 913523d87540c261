"""Targets so far away that densities underflow or squares overflow, and infinite ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mdnjax as mdn
from tests.test_far_from_zero import FAMILIES

INF = np.inf


def make(family, dtype, num_targets, scales=(1.0, 2.0)):
    """A mixture of two components; those of correlated targets are correlated."""
    loc = np.arange(2.0 * num_targets).reshape(2, num_targets)
    loc, scale = loc.astype(dtype), np.tile(np.array(scales)[:, None], num_targets).astype(dtype)
    if family == "full" and num_targets > 1:
        tril = np.eye(num_targets) - 0.4 * np.tri(num_targets, k=-1)
        return mdn.Mixture(jnp.zeros(2, dtype), mdn.Full(loc, jnp.asarray(tril.astype(dtype) / scale[:, None])))
    return mdn.Mixture(jnp.zeros(2, dtype), FAMILIES[family](loc, scale) if num_targets == 1 else several(family, loc, scale))


def several(family, loc, scale):
    low_rank = mdn.LowRank(loc, scale.dtype.type(0.7) * scale[..., None], scale)
    return low_rank if family == "low_rank" else FAMILIES[family](loc, scale)


@jax.jit
def densities(mixture, y):
    """Returns the log density, the responsibilities, and the log density of a wider mixture at another place."""
    moved = mdn.temper(mdn.affine(mixture, jnp.ones(y.shape[1], y.dtype), jnp.full(y.shape[1], 2.0, y.dtype)), scales=2.0)
    return mdn.log_prob(mixture, y), mdn.responsibilities(mixture, y), mdn.log_prob(moved, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_targets", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_infinite_target_has_no_density_and_the_responsibilities_of_a_far_one(family, num_targets, dtype):
    mixture = make(family, dtype, num_targets)
    far = 1e30 if dtype == np.float32 else 1e200
    rows = [[INF] * 2, [-INF] * 2, [INF, -INF], [0.5, INF], [far, far], [far, -far], [0.5, 0.5], [np.nan, 0.5]]
    y = np.array(rows, dtype)[:, :num_targets]
    log_prob, r, log_prob_of_moved = map(np.asarray, densities(mixture, y))
    infinite, missing = np.isinf(y).any(-1), np.isnan(y).any(-1)
    assert (log_prob[infinite] == -INF).all()
    assert np.isnan(log_prob[missing]).all()
    assert np.isnan(r[missing]).all()
    np.testing.assert_allclose(r[~missing].sum(-1), 1, rtol=1e-6)
    assert (r[[0, 1, 4, 5], 1] > 0.85).all()  # the wider component
    assert (log_prob_of_moved[infinite] == -INF).all()


@pytest.mark.parametrize("num_targets", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_where_densities_are_lost_are_those_of_differences(family, num_targets):
    """Beside points where the density is 0 there is an ordinary one, whose gradient is not 0."""
    mixture: Any = make(family, np.float64, num_targets)
    y = np.array([[INF] * 2, [0.5, -INF], [1e200, 1e200], [0.5, 0.5]])[:, -num_targets:]

    def total(mixture, y):
        return jnp.sum(mdn.prob(mixture, y)) + jnp.sum(jnp.sin(jnp.arange(8.0)) * mdn.responsibilities(mixture, y).ravel())

    value_and_slopes = jax.jit(jax.value_and_grad(total, (0, 1)))
    generator = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: 1e-5 * generator.standard_normal(leaf.shape), (mixture, y))
    ahead, behind = (jax.tree.map(lambda leaf, d, s=sign: leaf + s * d, (mixture, y), step) for sign in (1, -1))
    along = sum(np.sum(a * b) for a, b in zip(as_leaves(value_and_slopes(mixture, y)[1]), as_leaves(step), strict=True))
    difference = float(value_and_slopes(*ahead)[0] - value_and_slopes(*behind)[0]) / 2
    assert along == pytest.approx(difference, rel=1e-3, abs=1e-10)


def as_leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_the_nearest_component_in_its_scales_is_responsible_where_all_densities_underflow():
    """In float64 the same densities do not underflow."""
    generator = np.random.default_rng(0)
    loc, scale = 1e20 * generator.standard_normal((20, 4, 1)), np.exp(generator.standard_normal((20, 4, 1)))
    logits, y = generator.standard_normal((20, 4)), 1e20 * generator.standard_normal((20, 1))
    logits[:, 1] = -INF
    results = []
    for dtype in (np.float32, np.float64):
        mixture = mdn.Mixture(jnp.asarray(logits, dtype), mdn.Diagonal(jnp.asarray(loc, dtype), jnp.asarray(scale, dtype)))
        results.append(np.asarray(mdn.responsibilities(mixture, jnp.asarray(y, dtype))))
    np.testing.assert_array_equal(*results)
    assert (results[0].max(-1) == 1).all()


@pytest.mark.parametrize("family", ["diagonal", "full", "low_rank"])
def test_conditions_on_a_far_target_have_weights(family):
    mixture = make(family, np.float32, 2)
    for y in (1e30, INF):
        conditional = mdn.condition(mixture, (0,), jnp.asarray([y], jnp.float32))
        np.testing.assert_array_equal(mdn.weights(conditional), [0, 1])


def test_outside_of_a_support_no_component_is_responsible():
    mixture = mdn.warp(make("diagonal", np.float64, 1), mdn.Support((0.0,), (INF,)))
    assert np.isnan(mdn.responsibilities(mixture, jnp.array([-1.0]))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_student_t_where_the_square_overflows(dtype):
    z = np.array([1e15, 1e19, 1e25, 1e38]) if dtype == np.float32 else np.array([1e100, 1e160, 1e250, 1e300])
    mixture = mdn.Mixture(jnp.zeros(1, dtype), mdn.StudentT(*(jnp.full((1, 1), part, dtype) for part in (0.0, 1.0, 3.0))))
    y = jnp.asarray(z[:, None], dtype)
    exact = np.log(6 * np.sqrt(3) / np.pi) - 4 * np.log(z)  # of density 6 sqrt(3) / (pi (3 + z^2)^2)
    np.testing.assert_allclose(mdn.log_prob(mixture, y), exact, rtol=1e-6 if dtype == np.float32 else 1e-14)
    slope = jax.grad(lambda y: jnp.sum(mdn.log_prob(mixture, y)))(y)
    np.testing.assert_allclose(slope[:, 0] * z, -4, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_crps_of_an_infinite_target_is_infinite(family):
    mixture = make(family, np.float32, 1)
    y = jnp.asarray([[INF], [-INF], [np.nan]], jnp.float32)
    np.testing.assert_array_equal(mdn.crps(mixture, y), [INF, INF, np.nan])
    np.testing.assert_array_equal(mdn.crps_by_quadrature(mixture, y).value, [INF, INF, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("df", [2.5, 30.0, 300.0, 3000.0])
def test_the_cdf_of_a_student_t_has_all_digits_near_its_location(df, dtype):
    z = np.concatenate([[0], np.logspace(-12, 1.5, 200)]).astype(dtype)
    z = np.concatenate([-z, z])[:, None]
    mixture = mdn.Mixture(jnp.zeros(1, dtype), mdn.StudentT(*(jnp.full((1, 1), part, dtype) for part in (0.0, 1.0, df))))
    exact_t: Any = stats.t(df)
    exact = exact_t.cdf(z[:, 0].astype(float))
    difference = np.abs(np.asarray(mdn.cdf(mixture, jnp.asarray(z)), float) - exact)
    assert difference.max() <= (1e-11 if dtype == np.float64 else 3e-7)
    # Near the location the distance from one half has its digits too: it is f(0) z.
    inner = np.abs(z[:, 0]) < 0.01
    narrow = np.asarray(mdn.interval_prob(mixture, jnp.asarray(z - dtype(0.01)), jnp.asarray(z + dtype(0.01))), float)[inner]
    np.testing.assert_allclose(narrow, 0.02 * exact_t.pdf(z[inner, 0].astype(float)), rtol=1e-3)


@pytest.mark.parametrize("ratio", [1e3, 1e12, 1e18, 1e25])
def test_low_rank_components_whose_factors_are_far_larger_than_their_scales(ratio):
    """In float32, with squares that overflow; the truth is that of one target, or of the independent direction of two."""
    size = np.float32(ratio)
    single = mdn.LowRank(*(jnp.asarray(part, jnp.float32) for part in (np.zeros((1, 1)), [[[size]]], np.ones((1, 1)))))
    mixture, z = mdn.Mixture(jnp.zeros(1, jnp.float32), single), np.array([-2.0, 0.0, 0.5])
    y = jnp.asarray((z * ratio)[:, None], jnp.float32)
    np.testing.assert_allclose(mdn.log_prob(mixture, y), stats.norm.logpdf(z) - np.log(ratio), rtol=1e-5)
    np.testing.assert_allclose(mdn.cdf(mixture, y), stats.norm.cdf(z), atol=1e-6)
    np.testing.assert_allclose(mdn.quantile(mixture, 0.9)[0] / ratio, stats.norm.ppf(0.9), rtol=1e-5)
    both = mdn.LowRank(*(jnp.asarray(part, jnp.float32) for part in (np.zeros((1, 2)), [[[size], [size]]], np.ones((1, 2)))))
    value = mdn.log_prob(mdn.Mixture(jnp.zeros(1, jnp.float32), both), jnp.asarray([size, size]))
    assert float(value) == pytest.approx(-np.log(2 * np.pi) - np.log(2) / 2 - np.log(ratio) - 0.5, rel=1e-5)
