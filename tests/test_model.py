"""Tests of networks and models: batch-first and batch-last give the same values; layers and initial weights are as documented."""

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import FAMILIES
from mdnjax.mixture import mixture_log_prob
from mdnjax.networks import make_mlp


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize(("num_inputs", "num_targets"), [(1, 1), (3, 2)])
def test_apply_is_head_with_the_batch_axes_moved(batch, num_inputs, num_targets):
    model = mdn.make_mdn(num_inputs, num_targets, num_components=4, hidden_sizes=(6, 5), scale_floor=0.1)
    params = jax.jit(model.init)(jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((*batch, num_inputs))
    y = np.random.default_rng(1).standard_normal((*batch, num_targets))
    mixture = jax.jit(model.apply)(params, x)
    assert mixture.logits.shape == (*batch, 4)
    assert mdn.locations(mixture).shape == (*batch, 4, num_targets)
    log_prob = jax.jit(lambda params, x, y: mixture_log_prob(*model.head(params, x), y))
    expected = log_prob(params, np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0))
    np.testing.assert_allclose(mdn.log_prob(mixture, y), expected, rtol=1e-12)


def test_an_mlp_is_matrix_products_and_tanh():
    network = make_mlp(2, (3, 4), hidden_sizes=(5,), activation="tanh")
    params = jax.jit(network.init)(jax.random.key(1))
    x = np.random.default_rng(2).standard_normal((2, 7))
    (w1, b1), (w2, b2) = ((np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])) for name in ("hidden_0", "head"))
    expected = w2.T @ np.tanh(w1.T @ x + b1[:, None]) + b2[:, None]
    np.testing.assert_allclose(jax.jit(network.apply)(params, x), expected, rtol=1e-12)


def test_each_block_of_outputs_is_initialised_as_a_separate_layer():
    params = jax.jit(make_mlp(1, (50, 200), hidden_sizes=(400,), activation="tanh").init)(jax.random.key(2))
    kernel, bias = np.asarray(params["head"]["kernel"]), np.asarray(params["head"]["bias"])
    for block in (kernel[:, :50], kernel[:, 50:]):
        limit = np.sqrt(6 / (400 + block.shape[1]))
        assert 0.98 * limit < np.abs(block).max() <= limit
        assert block.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert not bias.any()


def test_no_hidden_layer_is_a_linear_model():
    model = mdn.make_mdn(2, 1, num_components=1, hidden_sizes=())
    params = jax.jit(model.init)(jax.random.key(3))
    x = np.random.default_rng(3).standard_normal((9, 2))
    np.testing.assert_allclose(jax.jit(model.apply)(params, x).logits, x @ params["head"]["kernel"][:, :1], atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_works_for_a_single_target(family):
    """A full covariance of one target has no entries below its diagonal, so one block of outputs is empty."""
    model = mdn.make_mdn(1, 1, num_components=2, hidden_sizes=(3,), family=family)
    mixture = jax.jit(model.apply)(jax.jit(model.init)(jax.random.key(0)), np.zeros((4, 1)))
    assert np.isfinite(mdn.log_prob(mixture, np.zeros((4, 1)))).all()


def test_parameters_are_float32_without_x64():
    with jax.enable_x64(False):
        model = mdn.make_mdn(1, 1, num_components=2, hidden_sizes=(3,))
        params = jax.jit(model.init)(jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
