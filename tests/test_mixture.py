"""Mixtures: comparison with scipy, and properties that every mixture has."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import mdnjax as mdn
from experiments.proof.checks import density, laws
from experiments.proof.checks.samples import kolmogorov
from experiments.proof.oracles import examples
from mdnjax.components import Diagonal, Warped
from mdnjax.mixture import from_batch_last
from tests import oracles

SHAPES = [((), 1, 1), ((7,), 5, 1), ((3, 4), 2, 3), ((2,), 256, 1), ((5,), 3, 32), ((0,), 3, 2)]
TOLERANCE = {jnp.float32: 2e-5, jnp.float64: 1e-12}
each_shape = pytest.mark.parametrize(("batch", "num_components", "num_targets"), SHAPES)
each_dtype = pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])


@each_shape
@each_dtype
def test_log_prob_agrees_with_scipy(batch, num_components, num_targets, dtype):
    mixture = oracles.random_mixture(0, batch, num_components, num_targets, dtype)
    y = oracles.random_targets(0, batch, num_targets, dtype)
    assert mdn.log_prob(mixture, y).dtype == dtype
    assert oracles.largest_error_of(density.LOG_PROB, mixture, y) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("batch", "batch_y"), [((4,), (3, 4)), ((3, 1), (4,)), ((), (5,)), ((5,), ()), ((2, 3), (2, 1))])
def test_batch_axes_broadcast(batch, batch_y):
    mixture, y = oracles.random_mixture(1, batch, 3, 2), oracles.random_targets(1, batch_y, 2)
    full = np.broadcast_shapes(batch, batch_y)
    spread = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (*full, *leaf.shape[len(batch) :])).reshape(-1, *leaf.shape[len(batch) :]), mixture
    )
    one_by_one = jax.vmap(mdn.log_prob)(spread, jnp.broadcast_to(y, (*full, 2)).reshape(-1, 2)).reshape(full)
    np.testing.assert_allclose(mdn.log_prob(mixture, y), one_by_one, rtol=1e-12)
    assert mdn.responsibilities(mixture, y).shape == (*full, 3)


@pytest.mark.parametrize("seed", range(3))
def test_density_integrates_to_one_and_cdf_is_its_integral(seed):
    mixture = oracles.random_mixture(seed, (), 4, 1)
    y = np.linspace(-60, 60, 400_001)[:, None]
    density = np.exp(np.asarray(mdn.log_prob(mixture, y)))
    integral = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(y[:, 0]))])
    assert integral[-1] == pytest.approx(1, abs=1e-8)
    np.testing.assert_allclose(mdn.cdf(mixture, y), integral, atol=1e-7)


@each_dtype
def test_cdf_agrees_with_scipy(dtype):
    mixture, y = oracles.random_mixture(3, (50,), 4, 1, dtype), oracles.random_targets(3, (50,), 1, dtype)
    assert oracles.largest_error_of(density.CDF, mixture, y) <= TOLERANCE[dtype]


@each_shape
def test_mean_and_variance_are_moments_of_the_density(batch, num_components, num_targets):
    mixture = oracles.random_mixture(4, batch, num_components, num_targets)
    weight, loc, scale = oracles.parts(mixture)
    mean = (weight[..., None] * loc).sum(-2)
    second = (weight[..., None] * (scale**2 + loc**2)).sum(-2)
    np.testing.assert_allclose(mdn.mean(mixture), mean, atol=1e-12)
    np.testing.assert_allclose(mdn.variance(mixture), second - mean**2, rtol=1e-10)


@given(shift=st.floats(-1e4, 1e4), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_logit_shifts_and_component_order_change_nothing(shift, seed):
    mixture, y = oracles.random_mixture(seed, (4,), 5, 2), oracles.random_targets(seed, (4,), 2)
    order = np.random.default_rng(seed).permutation(5)
    for change in laws.changes_by_order_and_shift(mixture, y, order, shift):
        np.testing.assert_allclose(change, 0, atol=1e-9)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_logits_of_any_size(size):
    mixture = mdn.Mixture(jnp.array([size, -size, 0.0], jnp.float32), mdn.Diagonal(jnp.zeros((3, 1)), jnp.ones((3, 1))))
    assert float(mdn.log_prob(mixture, jnp.zeros(1))) == pytest.approx(stats.norm.logpdf(0), rel=1e-6)
    low = mdn.Mixture(mixture.logits - jnp.float32(size), mixture.component)
    assert float(mdn.log_prob(low, jnp.zeros(1))) == pytest.approx(stats.norm.logpdf(0), rel=1e-6)


def test_a_component_of_weight_zero_does_not_count():
    component = mdn.Diagonal(jnp.array([[0.0], [5.0]]), jnp.ones((2, 1)))
    mixture = mdn.Mixture(jnp.array([0.0, -jnp.inf]), component)
    value, slope = jax.value_and_grad(lambda y: mdn.log_prob(mixture, y))(jnp.array([0.3]))
    assert float(value) == pytest.approx(stats.norm.logpdf(0.3), rel=1e-12)
    assert float(slope[0]) == pytest.approx(-0.3, rel=1e-12)


def test_responsibilities_are_bayes_rule():
    mixture, y = oracles.random_mixture(5, (20,), 4, 2), oracles.random_targets(5, (20,), 2)
    assert oracles.largest_error_of(density.RESPONSIBILITIES, mixture, y) <= 1e-12


def test_affine_is_a_change_of_variables():
    mixture, y = oracles.random_mixture(6, (8,), 3, 2), oracles.random_targets(6, (8,), 2)
    offset, factor = jnp.array([1.0, -2.0]), jnp.array([0.5, 30.0])
    np.testing.assert_allclose(laws.log_prob_through_affine(mixture, y, offset, factor), mdn.log_prob(mixture, y), rtol=1e-10)


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
@each_shape
def test_samples_have_the_requested_shape(shape, batch, num_components, num_targets):
    mixture = oracles.random_mixture(7, batch, num_components, num_targets, jnp.float32)
    samples = mdn.sample(jax.random.key(0), mixture, shape)
    assert samples.shape == (*shape, *batch, num_targets)
    assert samples.dtype == jnp.float32
    assert np.isfinite(samples).all()


def test_samples_follow_the_mixture():
    """Kolmogorov-Smirnov test against the exact cdf, for each element of a batch; all draws differ."""
    mixture = oracles.random_mixture(8, (4,), 5, 1)
    samples = np.asarray(mdn.sample(jax.random.key(1), mixture, (20_000,)))
    assert (kolmogorov(examples(mixture), samples) < 2.22).all()  # p > 1e-4
    assert len(np.unique(samples)) == samples.size


@pytest.mark.parametrize("size", [1.0, 1e3, 1e30])
def test_components_are_drawn_with_their_weights(size):
    """Narrow components that are far apart show which component was drawn; logits of any size."""
    logits = jnp.log(jnp.array([0.5, 0.3, 0.19, 0.01])) + size
    mixture = mdn.Mixture(logits, mdn.Diagonal(jnp.arange(4.0)[:, None], jnp.full((4, 1), 1e-6)))
    drawn = np.round(np.asarray(mdn.sample(jax.random.key(3), mixture, (100_000,)))[:, 0]).astype(int)
    counts = np.bincount(drawn, minlength=4)
    assert stats.chisquare(counts, 100_000 * np.asarray(mdn.weights(mixture))).pvalue > 1e-4


def test_a_component_without_weight_is_never_drawn():
    mixture = mdn.Mixture(jnp.array([0.0, -jnp.inf]), mdn.Diagonal(jnp.array([[0.0], [1e6]]), jnp.ones((2, 1))))
    assert np.abs(mdn.sample(jax.random.key(0), mixture, (10_000,))).max() < 10


def test_vmapped_sampling_equals_sampling_row_by_row():
    mixture, keys = oracles.random_mixture(9, (6,), 3, 2), jax.random.split(jax.random.key(4), 6)
    together = jax.vmap(mdn.sample)(keys, mixture)
    alone = [mdn.sample(keys[i], mixture[i]) for i in range(6)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_weights_sum_to_one_and_agree():
    mixture = oracles.random_mixture(10, (9,), 6, 1)
    np.testing.assert_allclose(mdn.weights(mixture).sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(jnp.exp(mdn.log_weights(mixture)), mdn.weights(mixture), rtol=1e-12)


def test_batch_last_and_back():
    mixture = oracles.random_mixture(11, (2, 3), 4, 5)
    last = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, (0, 1), (-2, -1)), mixture)
    jax.tree.map(np.testing.assert_array_equal, from_batch_last(last.logits, last.component), mixture)


@pytest.mark.parametrize("y", [np.zeros(3), np.zeros((4, 1))])
def test_a_wrong_number_of_targets_is_an_error(y):
    with pytest.raises(ValueError, match="2 targets"):
        mdn.log_prob(oracles.random_mixture(0, (4,), 3, 2), y)


def test_cdf_of_two_targets_is_refused():
    with pytest.raises(ValueError, match="got 2 targets, expected 1"):
        mdn.cdf(oracles.random_mixture(0, (4,), 3, 2), np.zeros((4, 2)))


INDICES = [0, -1, slice(1, 3), slice(None, None, -1), (1, 0), (slice(None), 1), (..., 1), (0, ...), np.array([2, 0]), (None, 1)]
INDICES += [np.array([True, False, True]), (slice(None), None), ..., None, (slice(None), np.array([[0, 1], [1, 0]]))]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_mixture_is_indexed_as_an_array_of_its_batch(index):
    generator = np.random.default_rng(0)
    loc, scale = generator.normal(size=(3, 2, 4, 1)), generator.uniform(1, 2, (3, 2, 4, 1))
    parts: Any = (generator.normal(size=(3, 2, 4)), mdn.Diagonal(*map(jnp.asarray, (loc, scale))))
    mixture = mdn.warp(mdn.Mixture(*parts), mdn.Support((0.0,), (np.inf,)))
    expected = np.arange(6).reshape(3, 2)[index]
    found = mixture[index]
    assert (found.shape, found.ndim) == (expected.shape, expected.ndim)
    np.testing.assert_array_equal(found.logits, mixture.logits.reshape(6, 4)[expected])
    assert isinstance(found.component, Warped)
    np.testing.assert_array_equal(found.component.component.loc, loc.reshape(6, 4, 1)[expected])


def test_rows_and_repr_of_a_mixture():
    mixture = mdn.Mixture(jnp.zeros((3, 4)), mdn.Diagonal(jnp.zeros((3, 4, 2)), jnp.ones((3, 4, 2))))
    assert len(mixture) == 3
    assert [row.shape for row in mixture] == [(), (), ()]
    assert repr(mixture) == "Mixture(batch (3,), 4 Diagonal components, 2 targets)"
    assert "Mixture(" in repr(jax.tree.map(lambda _: None, mixture))
    for wrong in (3, -4, (0, 0), (0, slice(None)), (..., 0, 0)):
        with pytest.raises(IndexError, match="expected"):
            mixture[wrong]
    with pytest.raises(TypeError, match="a single mixture has no length"):
        len(mixture[0])


def test_functions_of_a_mixture_are_methods_too():
    mixture = mdn.Mixture(jnp.zeros((3, 2)), mdn.Diagonal(jnp.ones((3, 2, 1)), jnp.ones((3, 2, 1))))
    key = jax.random.key(0)
    np.testing.assert_array_equal(mixture.quantile(0.9), mdn.quantile(mixture, 0.9))
    np.testing.assert_array_equal(mixture.log_prob(jnp.zeros((3, 1))), mdn.log_prob(mixture, jnp.zeros((3, 1))))
    np.testing.assert_array_equal(mixture.sample(key, (2,)), mdn.sample(key, mixture, (2,)))
    missing = [
        name
        for name in mdn.statistics.__all__
        if callable(getattr(mdn, name, None)) and not isinstance(getattr(mdn, name), type) and not hasattr(mdn.Mixture, name)
    ]
    assert not missing


def test_a_mixture_passes_through_transformations():
    mixture = mdn.Mixture(jnp.zeros((3, 2)), mdn.Diagonal(jnp.arange(6.0).reshape(3, 2, 1), jnp.ones((3, 2, 1))))
    np.testing.assert_allclose(jax.vmap(lambda row: row.mean())(mixture), mixture.mean())
    slope = jax.grad(lambda m: m.mean().sum())(mixture)
    assert isinstance(slope.component, Diagonal)
    assert slope.component.loc.shape == (3, 2, 1)
    assert jax.lax.scan(lambda carry, row: (carry + row.mean(), None), jnp.zeros(1), mixture)[0] == mixture.mean().sum()
    assert jax.jit(lambda m: m[1:])(mixture).shape == (2,)
