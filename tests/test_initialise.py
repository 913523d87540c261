"""Initial parameters: the fit of the marginal, the start of every family at it, and hidden units where the inputs are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import mdnjax as mdn
from mdnjax.components import FAMILIES, Sizes
from mdnjax.networks import FIRST, LINE
from mdnjax.training import initialise
from mdnjax.training.initialise import Marginal

KEY = jax.random.key(0)
fit_marginal = jax.jit(initialise.fit_marginal, static_argnums=2)
em_step, start_at_marginal = jax.jit(initialise.em_step), jax.jit(initialise.start_at_marginal, static_argnums=(2, 3))
spread_over_inputs, fit_linear_path = jax.jit(initialise.spread_over_inputs), jax.jit(initialise.fit_linear_path)
start_at_data = jax.jit(initialise.start_at_data, static_argnames=("family", "sizes"))


def draws(num_targets, num=400):
    generator = np.random.default_rng(num_targets)
    centres = generator.uniform(-3, 3, (3, num_targets))
    return jnp.asarray((centres[generator.integers(3, size=num)] + 0.2 * generator.standard_normal((num, num_targets))).T)


@jax.jit
def mean_log_prob(y, marginal):
    mixture = mdn.Mixture(jnp.log(marginal.weights), mdn.Diagonal(marginal.loc, marginal.scale))
    return jnp.mean(mdn.log_prob(jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (y.shape[1], *leaf.shape)), mixture), y.T))


@pytest.mark.parametrize("min_scale", [1e-3, 0.5])
def test_em_never_lowers_the_likelihood(min_scale):
    y = draws(2)
    marginal = Marginal(jnp.full(4, 0.25), jnp.asarray(np.random.default_rng(0).normal(size=(4, 2))), jnp.ones((4, 2)))
    before = -np.inf
    for _ in range(30):
        now = mean_log_prob(y, marginal)
        assert now >= before - 1e-10
        before, marginal = now, em_step(y, marginal, min_scale)
    assert (marginal.scale >= min_scale).all()
    np.testing.assert_allclose(marginal.weights.sum(), 1)


def test_three_clusters_are_found():
    y = draws(2)
    marginal = fit_marginal(KEY, y, 3)
    np.testing.assert_allclose(np.sort(marginal.weights), np.full(3, 1 / 3), atol=0.1)
    np.testing.assert_allclose(marginal.scale, 0.2, atol=0.05)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros((1, 50)),
        np.repeat([[0.0, 1.0]], 20, axis=0).reshape(1, -1),
        np.array([[1.0, 2.0]]),
        np.append(np.zeros(49), 1e6)[None],
    ],
    ids=["equal", "two values", "two points", "outlier"],
)
def test_the_marginal_of_few_distinct_targets_is_finite(y):
    marginal = fit_marginal(KEY, jnp.asarray(y), 5)
    assert all(np.isfinite(leaf).all() for leaf in marginal)
    assert (marginal.scale > 0).all()
    np.testing.assert_allclose(marginal.weights.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_starts_at_the_marginal(family):
    """If the head's kernel is 0, the mean and the variance for every input are those of the marginal."""
    sizes = Sizes(3, 2, 1)
    marginal = Marginal(jnp.array([0.2, 0.3, 0.5]), jnp.asarray(np.arange(6.0).reshape(3, 2)), jnp.full((3, 2), 0.4))
    model = mdn.make_mdn(2, 2, num_components=3, hidden_sizes=(4,), family=family, scale_floor=0.1)
    params = start_at_marginal(jax.jit(model.init)(KEY), marginal, family, sizes, 0.1, 0.0)
    mixture = jax.jit(model.apply)(params, jnp.asarray(np.random.default_rng(0).normal(size=(5, 2))))
    weights, loc, scale = map(np.asarray, marginal)
    mean = weights @ loc
    np.testing.assert_allclose(mdn.mean(mixture), np.broadcast_to(mean, (5, 2)), rtol=1e-2)
    variance = weights @ (scale**2 + loc**2) - mean**2
    np.testing.assert_allclose(mdn.variance(mixture), np.broadcast_to(variance, (5, 2)), rtol=1e-2)


def test_hidden_units_are_centred_where_the_inputs_are():
    x = jnp.asarray(np.random.default_rng(0).uniform(5, 6, (1, 200)))
    params = jax.jit(mdn.make_mdn(1, 1, num_components=2, hidden_sizes=(50,)).init)(KEY)
    layer = spread_over_inputs(params, KEY, x, 3.0)[FIRST]
    unit_centres = -np.asarray(layer["bias"]) / np.asarray(layer["kernel"])[0]
    assert ((unit_centres >= 5) & (unit_centres <= 6)).all()
    np.testing.assert_allclose(np.abs(layer["kernel"]), 3.0)
    assert np.std(unit_centres) > 0.2


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("num_targets", [1, 2])
def test_the_linear_path_is_fitted_by_least_squares(ridge, num_targets):
    generator = np.random.default_rng(0)
    x, y = generator.normal(2, 1, (3, 50)), generator.normal(-1, 1, (num_targets, 50))
    expected = Ridge(alpha=50 * ridge).fit(x.T, y.T).coef_.reshape(num_targets, 3).T
    np.testing.assert_allclose(fit_linear_path(jnp.asarray(x), jnp.asarray(y), ridge), expected, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_start_with_a_linear_path_has_its_mean_and_the_spread_of_the_residuals(family):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(2, 300))
    y = np.stack([x[0] + 2 * x[1], -x[0]]) + 0.1 * generator.standard_normal((2, 300))
    model = mdn.make_mdn(2, 2, num_components=3, hidden_sizes=(4,), family=family, line=True)
    numbers = {"scale_floor": 0.0, "slope": 1.0, "head_scale": 0.0, "line": 1.0, "ridge": 0.0}
    params = start_at_data(jax.jit(model.init)(KEY), KEY, (x, y), family=family, sizes=Sizes(3, 2, 1), **numbers)
    mixture = jax.jit(model.apply)(params, jnp.asarray(x.T))
    np.testing.assert_allclose(mdn.mean(mixture), np.stack([x[0] + 2 * x[1], -x[0]]).T, atol=0.1)
    np.testing.assert_allclose(np.sqrt(mdn.variance(mixture)), 0.1, atol=0.02)
    numbers["line"] = 0.0
    without = start_at_data(jax.jit(model.init)(KEY), KEY, (x, y), family=family, sizes=Sizes(3, 2, 1), **numbers)
    assert not without[LINE].any()
