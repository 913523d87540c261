"""Tests of mixture density networks with a user's trunk, in plain jax, flax NNX and equinox, batch-first."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mdnjax as mdn

X, Y = np.linspace(-1, 1, 64).reshape(-1, 1), np.sin(3 * np.linspace(-1, 1, 64)).reshape(-1, 1)


def plain_jax():
    def init(key):
        first, second = jax.random.split(key)
        return [jax.random.normal(first, (1, 16)), 0.3 * jax.random.normal(second, (16, 8))]

    return init, lambda params, x: jnp.tanh(jnp.tanh(x @ params[0]) @ params[1])


def flax_nnx():
    class Trunk(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(1, 16, rngs=rngs), nnx.Linear(16, 8, rngs=rngs)

        def __call__(self, x):
            return nnx.tanh(self.second(nnx.tanh(self.first(x))))

    graph = nnx.graphdef(Trunk(nnx.Rngs(0)))
    return lambda key: nnx.state(Trunk(nnx.Rngs(key))), lambda params, x: nnx.merge(graph, params)(x)


def equinox():
    def make(key):
        return eqx.nn.MLP(1, 8, 16, 1, jnp.tanh, jnp.tanh, key=key)  # takes a single example

    static = eqx.partition(make(jax.random.key(0)), eqx.is_array)[1]

    def apply(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return lambda key: eqx.filter(make(key), eqx.is_array), apply


@pytest.fixture(params=[plain_jax, flax_nnx, equinox], ids=lambda maker: maker.__name__)
def trunk(request):
    return request.param()


@pytest.mark.parametrize("family", ["diagonal", "full"])
def test_the_head_is_linear_in_the_features_of_the_trunk(trunk, family):
    model = mdn.make_mdn_on(*trunk, num_features=8, num_targets=1, num_components=3, family=family, scale_floor=0.01)
    params, apply = jax.jit(model.init)(jax.random.key(1)), jax.jit(model.apply)
    mixture = apply(params, X)
    assert mixture.logits.shape == (64, 3)
    features = np.asarray(jax.jit(trunk[1])(params["trunk"], X))
    raw = features @ np.asarray(params["head"]["kernel"]) + np.asarray(params["head"]["bias"])
    np.testing.assert_allclose(mixture.logits, raw[:, :3], atol=1e-6)
    np.testing.assert_allclose(mdn.locations(mixture)[..., 0], raw[:, 3:6], atol=1e-6)
    two_axes = apply(params, X.reshape(8, 8, 1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.reshape(a, b.shape), b, atol=1e-6), two_axes, mixture)
    no_axis = apply(params, X[5])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, np.asarray(b)[5], atol=1e-6), no_axis, mixture)


def test_training_changes_all_layers_of_the_trunk(trunk):
    model = mdn.make_mdn_on(*trunk, num_features=8, num_targets=1, num_components=2, scale_floor=0.02)

    def loss(params, noise_key, batch):
        return jnp.mean(mdn.nll(model.apply(params, batch[0]), batch[1]))

    optimizer = optax.adam(0.01)
    state = mdn.init_state(optimizer, jax.jit(model.init)(jax.random.key(0)))
    fitted = mdn.train_loop(
        mdn.make_train_step(loss, optimizer), state, (jax.random.key(1), (X, Y)), num_steps=300, report_every=300
    )
    assert fitted.history.loss[-1] < -1.0
    before, after = (jax.tree.leaves(params["trunk"]) for params in (state.params, fitted.state.params))
    assert all(np.abs(np.asarray(old) - np.asarray(new)).max() > 1e-3 for old, new in zip(before, after, strict=True))


def test_a_wrong_number_of_features_is_an_error():
    init, apply = plain_jax()
    model = mdn.make_mdn_on(init, apply, num_features=5, num_targets=1, num_components=2)
    with pytest.raises(ValueError, match=r"got features of shape \(64, 8\) from the trunk, expected \[64, 5\]"):
        jax.eval_shape(model.apply, jax.eval_shape(model.init, jax.random.key(0)), X)
