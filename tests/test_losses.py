"""Losses: closed form, autodiff and finite differences agree, and nothing overflows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.stats import entropy

from mdnjax import Diagonal
from mdnjax.components import Sizes
from mdnjax.training.losses import entropy_of_weights, mse, natural_em, nll, nll_closed_form
from tests import oracles

SHAPES = [(1, 1, 4), (5, 1, 6), (3, 4, 2), (256, 1, 2)]
each_shape = pytest.mark.parametrize(("num_components", "num_targets", "num_examples"), SHAPES)


def example(num_components, num_targets, num_examples, dtype=jnp.float64):
    """Returns random logits, component and targets, batch-last."""
    mixture = oracles.random_mixture(num_components, (num_examples,), num_components, num_targets, dtype)
    y = 2 * jax.random.normal(jax.random.key(1), (num_targets, num_examples), dtype)
    return *jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), (mixture.logits, mixture.component)), y


@each_shape
def test_nll_equals_scipy(num_components, num_targets, num_examples):
    logits, component, y = example(num_components, num_targets, num_examples)
    mixture = oracles.random_mixture(num_components, (num_examples,), num_components, num_targets)
    np.testing.assert_allclose(jax.jit(nll)(logits, component, y), -oracles.log_prob(mixture, np.asarray(y).T), rtol=1e-10)


@each_shape
def test_closed_form_equals_autodiff(num_components, num_targets, num_examples):
    """Bishop (1994), eqs 33-39, the gradients with respect to all arguments."""
    arguments = example(num_components, num_targets, num_examples)
    weights = jnp.linspace(0.5, 2, num_examples)  # unequal, so that a wrong cotangent is detected
    closed, auto = (
        jax.jit(jax.grad(lambda *a, loss=loss: jnp.sum(weights * loss(*a)), argnums=(0, 1, 2)))(*arguments)
        for loss in (nll_closed_form, nll)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), closed, auto)
    np.testing.assert_array_equal(jax.jit(nll_closed_form)(*arguments), jax.jit(nll)(*arguments))


@pytest.mark.parametrize(("loss", "modes"), [(nll, ("fwd", "rev")), (nll_closed_form, ("rev",))])
def test_gradients_equal_finite_differences(loss, modes):
    logits, component, y = example(4, 2, 3)
    check_grads(jax.jit(lambda *a: loss(a[0], Diagonal(a[1], a[2]), a[3])), (logits, *component, y), 1, modes, rtol=1e-6)


@partial(jax.jit, static_argnums=0)
@partial(jax.value_and_grad, argnums=1)
def loss_of_raw(loss, raw, y):
    return loss(raw[:3], Diagonal.from_raw(raw[3:], Sizes(3, 1), 1e-3), y)


@pytest.mark.parametrize("size", [-1e30, -50.0, 0.0, 50.0, 80.0, 1e3, 1e30])
@pytest.mark.parametrize("distance", [0.0, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("loss", [nll, nll_closed_form])
def test_the_loss_of_raw_outputs_of_any_size_is_finite_in_float32(size, distance, loss):
    """With a scale floor, for raw scales and logits of any size and for distant targets."""
    raw = np.array([size, 0, -size, 0, 0, 0, size, size, size], np.float32)
    value, gradient = loss_of_raw(loss, raw, np.full((1,), distance, np.float32))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_mse_sums_over_targets():
    np.testing.assert_allclose(mse(jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.zeros((2, 2))), [1.0, 13.0])


@each_shape
def test_natural_em_is_the_nll_and_its_gradient_divided_by_the_information(num_components, num_targets, num_examples):
    """Autodiff of nll gives the same gradient for logits, times scale^2 for locations, and one half for the log of scales."""
    logits, component, y = example(num_components, num_targets, num_examples)

    def value_and_gradient(loss):
        def total(logits, loc, log_scale):
            return jnp.sum(loss(logits, Diagonal(loc, jnp.exp(log_scale)), y))

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(logits, component.loc, jnp.log(component.scale))

    (value, natural), (nll_value, plain) = value_and_gradient(natural_em), value_and_gradient(nll)
    np.testing.assert_allclose(value, nll_value, rtol=1e-12)
    np.testing.assert_allclose(natural[0], plain[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(natural[1], plain[1] * component.scale**2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(natural[2], plain[2] / 2, rtol=1e-9, atol=1e-12)


def test_natural_em_never_lowers_the_likelihood_in_small_steps():
    """Gradient descent on logits, loc and log scale, without a network: each small step makes the targets more likely."""
    logits, component, y = example(3, 1, 40)
    state = (logits[:, :1], component.loc[..., :1], jnp.log(component.scale[..., :1]))

    def total(state, loss):
        logits, loc, log_scale = (jnp.broadcast_to(leaf, (*leaf.shape[:-1], 40)) for leaf in state)
        return jnp.mean(loss(logits, Diagonal(loc, jnp.exp(log_scale)), y))

    step = jax.jit(jax.value_and_grad(lambda state: total(state, natural_em)))
    values = []
    for _ in range(50):
        value, grads = step(state)
        values.append(float(value))
        state = jax.tree.map(lambda leaf, grad: leaf - 0.2 * grad, state, grads)
    assert (np.diff(values) <= 1e-9).all()
    assert values[-1] < values[0] - 0.05


def test_entropy_of_weights_equals_scipy():
    logits = jnp.array([[0.0, 3.0], [0.0, -1.0], [0.0, -jnp.inf]])
    np.testing.assert_allclose(entropy_of_weights(logits)[0], np.log(3))
    np.testing.assert_allclose(entropy_of_weights(logits[:2])[1], entropy(np.exp([3.0, -1.0])), rtol=1e-6)
