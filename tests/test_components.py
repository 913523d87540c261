"""Component families: what every one of them must obey, by a table of families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax import FAMILIES

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
each_size = pytest.mark.parametrize(("num_components", "num_targets"), [(1, 1), (5, 1), (3, 4)])


def components(family, num_components, num_targets, batch=(6,), scale_floor=0.01):
    size = sum(family.raw_sizes(num_components, num_targets))
    raw = jnp.asarray(np.random.default_rng(0).standard_normal((size, *batch)))
    return family.from_raw(raw, num_components, num_targets, scale_floor)


@each_family
@each_size
def test_kernels_are_the_same_for_one_example_and_a_batch(family, num_components, num_targets):
    batch = components(family, num_components, num_targets)
    y = jax.random.normal(jax.random.key(1), (num_targets, 6))
    for kernel in (lambda c, y: c.log_probs(y), lambda c, y: c.cdfs(y), lambda c, y: c.means(), lambda c, y: c.variances()):
        jitted = jax.jit(kernel)
        alone = [jitted(jax.tree.map(lambda leaf, i=i: leaf[..., i], batch), y[:, i]) for i in range(6)]
        np.testing.assert_allclose(jitted(batch, y), np.stack(alone, axis=-1), rtol=1e-12)


@each_family
@each_size
def test_draws_have_the_components_moments(family, num_components, num_targets):
    one = components(family, num_components, num_targets, batch=())
    draws = np.asarray(jax.vmap(one.draw)(jax.random.split(jax.random.key(2), 40_000)))
    sd = np.sqrt(np.asarray(one.variances()))
    np.testing.assert_allclose(draws.mean(0), one.means(), atol=5 * sd.max() / 200)
    np.testing.assert_allclose(draws.std(0), sd, rtol=0.03)


@each_family
def test_no_raw_scale_goes_below_the_floor(family):
    raw = jnp.full((sum(family.raw_sizes(2, 1)), 1), -1e4)
    assert np.asarray(family.from_raw(raw, 2, 1, 0.25).variances()).min() >= 0.25**2


@each_family
def test_from_raw_keeps_scales_with_their_component(family):
    """A known defect of a peer mixes the scales of components: K=3, D=2 gave [[1,2],[3,1],[2,3]]."""
    wanted = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    raw = jnp.concatenate([10 * wanted.ravel(), jnp.log(wanted).ravel()])
    component = family.from_raw(raw, 3, 2, 0.0)
    np.testing.assert_allclose(component.means(), 10 * wanted)
    np.testing.assert_allclose(np.sqrt(component.variances()), wanted, rtol=1e-12)
