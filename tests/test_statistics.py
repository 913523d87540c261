"""Tests of statistics: laws and known cases; `experiments.proof` compares all functions with independent oracles."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from tests import oracles

P = np.array([1e-6, 0.05, 0.5, 0.95, 1 - 1e-6])
EXTREMES = {
    "far apart": ([0.0, 0.0, -1.0], [-1e4, 0.0, 3e5], [1e-3, 1.0, 10.0]),
    "narrow in wide": ([0.0, 0.0, 0.0], [0.0, 0.1, -50.0], [1e-4, 1e2, 1.0]),
    "a component of weight 0": ([0.0, -np.inf, 1.0], [0.0, 1e30, 2.0], [1.0, 1.0, 0.5]),
    "equal components": ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
    "one dominant component": ([1e3, 0.0, -1e3], [2.0, 0.0, 5.0], [0.3, 1.0, 1.0]),
}


def gaussian(logits, loc, scale, dtype=jnp.float64):
    column = [jnp.asarray(values, dtype)[..., None] for values in (loc, scale)]
    return mdn.Mixture(jnp.asarray(logits, dtype), mdn.Diagonal(column[0], column[1]))


@pytest.fixture(scope="module")
def extremes():
    logits, loc, scale = (list(part) for part in zip(*EXTREMES.values(), strict=True))
    return gaussian(logits, loc, scale, jnp.float32)


def test_quantiles_of_extremes_are_quantiles_in_float32(extremes):
    q = mdn.quantile(extremes, jnp.asarray(P[:, None], jnp.float32))
    assert q.shape == (5, 5, 1)
    assert np.isfinite(q).all()
    below, above = np.asarray(mdn.cdf(extremes, q)), np.asarray(mdn.survival(extremes, q))
    # The last digit of q limits the accuracy: where a component is narrow, it changes the probability noticeably.
    step = np.asarray(mdn.prob(extremes, q)) * np.abs(np.asarray(q))[..., 0] * 4e-7
    p = P.astype(np.float32)[:, None]
    assert (np.abs(np.where(p < 0.5, below - p, above - (1 - p))) <= 3e-6 * np.minimum(p, 1 - p) + step + 1e-12).all()


def test_gradients_of_extremes_are_finite_in_float32(extremes):
    def total(mixture):
        statistics = (
            mdn.quantile(mixture, 0.3)[:, 0],
            mdn.crps(mixture, jnp.ones(1)),
            mdn.cdf(mixture, jnp.zeros(1)),
            mdn.mean(mixture)[:, 0],
        )
        return jnp.sum(jnp.stack(statistics))

    slopes = jax.jit(jax.grad(total))(
        replace(extremes, component=jax.tree.map(lambda leaf: jnp.clip(leaf, -1e6, 1e6), extremes.component))
    )
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))


def test_quantile_of_zero_and_one_and_beyond():
    mixture = gaussian([0.0, 1.0], [0.0, 3.0], [1.0, 1.0])
    np.testing.assert_array_equal(
        mdn.quantile(mixture, jnp.array([0.0, 1.0, -0.1, 1.1, np.nan]))[:, 0], [-np.inf, np.inf] + [np.nan] * 3
    )
    positive = mdn.warp(mixture, mdn.Support((0.0,), (1.0,)))
    np.testing.assert_allclose(mdn.quantile(positive, jnp.array([0.0, 1.0]))[:, 0], [0, 1], atol=1e-15)


def test_long_batches_in_blocks_give_the_same_results():
    mixture = oracles.random_mixture(0, (9_001,), 5, 1)
    part = mixture[-10:]
    y = oracles.random_targets(0, (9_001,), 1)
    for statistic in (
        mdn.median,
        lambda m: mdn.crps(m, y[-len(m.logits) :]),
        lambda m: mdn.quantile(m, jnp.array([[0.1], [0.9]])),
    ):
        whole, alone = np.asarray(statistic(mixture)), np.asarray(statistic(part))
        axis = whole.shape.index(9_001)
        np.testing.assert_allclose(np.take(whole, range(8_991, 9_001), axis), alone, rtol=1e-11)


@pytest.mark.parametrize(("apart", "expected"), [(1.9, 1), (2.0, 1), (2.001, 2), (2.1, 2), (6.0, 2)])
def test_two_equal_gaussians_have_two_modes_beyond_two_scales(apart, expected):
    """With equal weights and scales there is one mode up to a distance of 2 scales, and two beyond (Schilling et al. 2002)."""
    found = mdn.modes(gaussian([0.0, 0.0], [0.0, apart], [1.0, 1.0]))
    assert int(found.num_modes) == expected
    np.testing.assert_allclose(np.nansum(found.mass), 1, rtol=1e-12)


def test_modes_have_no_slope_and_the_highest_is_one_of_them():
    mixture = oracles.random_mixture(1, (50,), 5, 1)
    found = mdn.modes(mixture)
    is_mode = np.asarray(~jnp.isnan(found.log_density))
    assert (is_mode.sum(-1) == np.asarray(found.num_modes)).all()
    y = jnp.where(is_mode[..., None], found.y, 0.0)
    slope = jax.grad(lambda y: jnp.sum(mdn.log_prob(mixture[:, None], y)))(y)
    assert np.abs(np.asarray(slope)[..., 0][is_mode]).max() < 1e-6
    grid = np.linspace(-15, 15, 30_001)[:, None, None]
    best = np.asarray(mdn.log_prob(mixture, grid)).max(0)
    np.testing.assert_allclose(mdn.log_prob(mixture, mdn.highest_mode(mixture)), best, atol=1e-4)


@pytest.mark.parametrize("family", [mdn.Diagonal, mdn.Laplace])
def test_modes_of_several_targets_are_maxima(family):
    centres = jnp.array([[0.0, 0.0], [4.0, 1.0], [4.1, 1.1]])
    mixture = mdn.Mixture(jnp.array([0.0, 1.0, 0.0]), family(centres, jnp.full((3, 2), 0.5)))
    found = mdn.modes(mixture)
    assert int(found.num_modes) == 2
    np.testing.assert_allclose(found.mass[:2], [mdn.weights(mixture)[0], mdn.weights(mixture)[1:].sum()], rtol=1e-12)
    around = found.y[:2, None] + 1e-3 * np.stack([np.cos(np.arange(8)), np.sin(np.arange(8))], -1)
    assert (np.asarray(mdn.log_prob(mixture, around)) < np.asarray(found.log_density[:2, None])).all()


def test_regions_have_their_probability_and_are_the_smallest():
    mixture = oracles.random_mixture(2, (40,), 5, 1)
    region = mdn.hdr(mixture, jnp.array([[0.5], [0.9]]))
    low, high = (jnp.where(jnp.isnan(ends), 0.0, ends)[..., None] for ends in (region.low, region.high))
    inside = mdn.interval_prob(mixture[:, None], low, high)
    np.testing.assert_allclose(inside.sum(-1), np.broadcast_to([[0.5], [0.9]], (2, 40)), atol=1e-12)
    ends = mdn.central_interval(mixture, jnp.array([[0.5], [0.9]]))
    assert (np.asarray(region.size) <= np.asarray(ends[..., 1] - ends[..., 0]) + 1e-9).all()
    at_ends = mdn.log_prob(mixture[:, None], low)
    np.testing.assert_allclose(
        np.where(np.isnan(region.low), region.log_density[..., None], at_ends),
        np.broadcast_to(region.log_density[..., None], at_ends.shape),
        atol=1e-8,
    )
    assert (np.asarray(mdn.hdr_mass(mixture, mdn.highest_mode(mixture))) < 1e-6).all()


def test_samples_with_gradient_have_the_gradient_of_their_mean():
    mixture = oracles.random_mixture(3, (), 3, 2)

    def sampled(mixture):
        y = mdn.sample_with_gradient(jax.random.key(0), mixture, (100_000,))
        return jnp.mean(jnp.sum(y * jnp.array([1.0, 0.5]), -1))

    exact = jax.grad(lambda m: jnp.sum(mdn.mean(m) * jnp.array([1.0, 0.5])))(mixture)
    slopes = jax.jit(jax.grad(sampled))(mixture)
    np.testing.assert_allclose(
        sampled(mixture), jnp.mean(jnp.sum(mdn.sample(jax.random.key(0), mixture, (100_000,)) * jnp.array([1.0, 0.5]), -1))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.08), slopes, exact)


def test_temperatures_change_weights_and_variances():
    mixture = oracles.random_mixture(4, (7,), 4, 2)
    cold, broad = mdn.temper(mixture, weights=1e-3), mdn.temper(mixture, scales=4.0)
    np.testing.assert_array_equal(mdn.weights(cold).argmax(-1), mdn.weights(mixture).argmax(-1))
    assert (np.asarray(mdn.weights(cold)).max(-1) > 0.99).all()
    np.testing.assert_allclose(
        mdn.variance(replace(broad, logits=broad.logits - 1e3 * np.arange(4))),
        4 * mdn.variance(replace(mdn.temper(mixture), logits=mixture.logits - 1e3 * np.arange(4))),
    )
    with pytest.raises(ValueError, match="expected a positive temperature"):
        mdn.temper(mixture, scales=0.0)


def test_branches_follow_modes_and_end_where_modes_end():
    x = np.linspace(0, 0.7, 101)
    loc = np.stack([3 * x, 5 - 2 * x, np.full_like(x, 20.0)], -1)
    logits = np.stack([0 * x, 0 * x, np.where(x > 0.5, 0.0, -60.0)], -1)
    rows = mdn.branches(gaussian(logits, loc, np.full_like(loc, 0.3)), least_mass=1e-3)
    assert rows.shape == (3, 101)
    np.testing.assert_allclose(rows[0], 3 * x, atol=0.3)
    np.testing.assert_allclose(rows[1], 5 - 2 * x, atol=0.3)
    np.testing.assert_array_equal(np.isnan(rows[2]), x <= 0.5)


def test_members_pool_to_one_mixture_and_their_variance_splits():
    members = oracles.random_mixture(5, (4, 6), 3, 2)
    pooled, y = mdn.pool(members), oracles.random_targets(5, (6,), 2)
    np.testing.assert_allclose(mdn.prob(pooled, y), mdn.prob(members, y).mean(0), rtol=1e-12)
    np.testing.assert_allclose(sum(mdn.split_variance(members)), mdn.variance(pooled), rtol=1e-12)
    smaller = mdn.reduce(pooled, 3)
    assert smaller.logits.shape == (6, 3)
    np.testing.assert_allclose(mdn.mean(smaller), mdn.mean(pooled), atol=1e-10)
    np.testing.assert_allclose(mdn.covariance(smaller), mdn.covariance(pooled), rtol=1e-9)


def test_alignment_undoes_a_permutation():
    mixture = oracles.random_mixture(6, (20,), 5, 2)
    order = np.array([3, 0, 4, 1, 2])
    shuffled = jax.tree.map(lambda leaf: leaf[:, order], mixture)
    jax.tree.map(np.testing.assert_array_equal, mdn.align(shuffled, mixture), mixture)


UNIVARIATE = {
    "cdf": lambda m: mdn.cdf(m, jnp.zeros(2)),
    "quantile": lambda m: mdn.quantile(m, 0.5),
    "expected_shortfall": lambda m: mdn.expected_shortfall(m, 0.5),
    "entropy": mdn.entropy,
    "hdr": lambda m: mdn.hdr(m, 0.5),
    "crps": lambda m: mdn.crps(m, jnp.zeros(2)),
}


@pytest.mark.parametrize("name", UNIVARIATE)
def test_statistics_of_one_target_refuse_several(name):
    with pytest.raises(ValueError, match=rf"{name}: got 2 targets, expected 1: use mdn.marginal"):
        UNIVARIATE[name](oracles.random_mixture(0, (3,), 2, 2))


@pytest.mark.parametrize("targets", [[], [2], [0, 0], [-1]])
def test_missing_and_duplicate_targets_are_refused(targets):
    with pytest.raises(ValueError, match="expected one or more different indices from 0 to 1"):
        mdn.marginal(oracles.random_mixture(0, (3,), 2, 2), targets)


def test_an_empty_batch_gives_empty_results():
    empty, y = oracles.random_mixture(0, (0,), 3, 1), jnp.zeros((0, 1))
    results = [
        mdn.log_prob(empty, y),
        mdn.quantile(empty, 0.5),
        mdn.mean(empty),
        mdn.crps(empty, y),
        mdn.sample(jax.random.key(0), empty),
    ]
    results += [*mdn.entropy(empty), *mdn.hdr(empty, 0.9), *mdn.modes(empty)]
    assert all(result.shape[0] == 0 for result in results)


def test_a_region_of_heavy_tails_on_bounded_targets_includes_the_mode_inside():
    """The density of a Student-t behind a logit grows without limit at both bounds, where there is next to no probability."""
    t = mdn.StudentT(jnp.array([[0.3]]), jnp.array([[0.2]]), jnp.array([[6.0]]))
    mixture = mdn.warp(mdn.Mixture(jnp.zeros(1), t), mdn.Support((-1.0,), (2.0,)))
    region, empty = (jax.tree.map(lambda part, i=i: part[i], mdn.hdr(mixture, jnp.array([0.5, 1.5]))) for i in (0, 1))
    assert int(empty.num_pieces) == 0
    assert np.isnan(empty.low).all()
    assert int(region.num_pieces) == 3
    inside = mdn.interval_prob(mixture, region.low[1:2], region.high[1:2])
    assert float(inside) == pytest.approx(0.5, abs=1e-6)
    middle = float(mdn.highest_mode(mixture)[0])
    assert float(region.low[1]) < middle < float(region.high[1])
