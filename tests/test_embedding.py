"""Embeddings of inputs equal their formulas, are not changed by training, and can be left out by a factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax import embedding
from mdnjax.embedding import EMBEDDING, Embedding, num_embedded

embed, fit_embedding = jax.jit(embedding.embed), jax.jit(embedding.fit_embedding)
init_embedding = jax.jit(embedding.init_embedding, static_argnums=(1, 2))
X = np.random.default_rng(0).standard_normal((2, 50))
BINS = Embedding("piecewise_linear", 4)


def params_at(x, factor=1.0, embedding=BINS):
    return fit_embedding(init_embedding(jax.random.key(0), embedding, len(x)), x, factor)


def test_bins_are_clipped_positions_between_quantiles():
    embedded = np.asarray(embed(params_at(X), X))
    np.testing.assert_allclose(embedded[:2], X)
    for i, values in enumerate(X):
        edges = np.quantile(values, np.linspace(0, 1, 5))
        for j in range(4):
            expected = np.interp(values, edges[j : j + 2], [0, 1])
            np.testing.assert_allclose(embedded[2 + 4 * i + j], expected, atol=1e-12)


def test_bins_of_repeated_values_are_empty_and_have_finite_gradients():
    x = np.array([[0.0] * 30 + [1.0] * 5])
    embedded, gradient = embed(params_at(x), x), jax.jit(jax.grad(lambda x: jnp.sum(embed(params_at(x), x))))(x)
    assert np.isfinite(embedded).all()
    assert np.isfinite(gradient).all()
    assert (np.asarray(embedded)[1:].sum(axis=0) > 0).tolist() == [False] * 30 + [True] * 5


def test_frequencies_become_sines_and_cosines():
    params = init_embedding(jax.random.key(1), Embedding("periodic", 3), 2)
    frequencies, embedded = np.asarray(params[EMBEDDING]["frequencies"]).reshape(2, 3), np.asarray(embed(params, X))
    for i, values in enumerate(X):
        angles = 2 * np.pi * frequencies[i][:, None] * values
        np.testing.assert_allclose(embedded[2 + 6 * i : 8 + 6 * i], np.concatenate([np.sin(angles), np.cos(angles)]), atol=1e-9)


@pytest.mark.parametrize("kind", ["none", "piecewise_linear", "periodic"])
def test_a_model_has_the_inputs_and_their_embeddings(kind):
    size = num_embedded(Embedding(kind, 3), 2)
    assert size == {"none": 2, "piecewise_linear": 8, "periodic": 14}[kind]
    model = mdn.make_mdn(2, 1, num_components=2, hidden_sizes=(5,), embedding=kind, embedding_size=3, experts=("boosted_trees",))
    params = jax.jit(model.init)(jax.random.key(0))
    assert params["hidden_0"]["kernel"].shape[0] == num_embedded(Embedding(kind, 3), 3)
    assert jax.eval_shape(model.apply, params, X.T[:, [0, 1, 1]]).shape == (50,)


def test_training_changes_neither_edges_nor_factors_and_a_factor_of_0_leaves_inputs_out():
    model = mdn.make_mdn(2, 1, num_components=2, hidden_sizes=(5,), embedding="piecewise_linear", experts=("extra_trees",))
    params, x = jax.jit(model.init)(jax.random.key(0)), np.concatenate([X, X[:1]]).T

    def loss(params, x):
        return -jnp.sum(mdn.log_prob(model.apply(params, x), x[:, :1]))

    gradient = jax.jit(jax.grad(loss))(params, x)
    unchanged = (gradient[EMBEDDING], gradient["experts"])
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(unchanged))
    without, changed = {**params, "experts": {"factor": np.zeros(())}}, np.concatenate([X, np.full_like(X[:1], 9)]).T
    mean = jax.jit(lambda x: mdn.mean(model.apply(without, x)))
    np.testing.assert_array_equal(mean(x), mean(changed))


def test_an_unknown_kind_is_one_error_with_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'periodic'"):
        mdn.make_mdn(2, 1, num_components=2, hidden_sizes=(5,), embedding="periodical")
