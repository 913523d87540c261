"""Component families: properties that every family must have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax import FAMILIES, Diagonal, Full, LowRank, Support, Warped
from mdnjax.components import Sizes
from mdnjax.mixture import from_batch_last, mixture_log_prob

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
each_size = pytest.mark.parametrize(("num_components", "num_targets"), [(1, 1), (3, 4)])
SUPPORT = Support((0.0, -np.inf, -1.0, -np.inf), (np.inf, np.inf, 2.0, 3.0))


@functools.cache
def components(family, num_components, num_targets):
    """Returns random components for three examples."""
    sizes = Sizes(num_components, num_targets, 2)
    raw = np.random.default_rng(0).standard_normal((sum(family.raw_sizes(sizes)), 3))
    return jax.tree.map(np.asarray, jax.jit(lambda raw: family.from_raw(raw, sizes, 0.01))(raw))


def first_example(batch):
    return jax.tree.map(lambda leaf: leaf[..., 0], batch)


def targets(num_targets):
    return np.random.default_rng(1).standard_normal((num_targets, 3))


@jax.jit
def kernel_results(component, y):
    """Returns the results of all kernels."""
    marginals = component.marginals()
    moments, kernels = marginals.moments(), (component.log_probs, marginals.cdfs, component.conditionals, marginals.deficits)
    return [kernel(y) for kernel in kernels], moments, component.covariances(), component.entropies()


@each_family
@each_size
def test_kernels_are_the_same_for_one_example_and_a_batch(family, num_components, num_targets):
    batch, y = components(family, num_components, num_targets), targets(num_targets)
    alone = [kernel_results(jax.tree.map(lambda leaf, i=i: leaf[..., i], batch), y[:, i]) for i in range(3)]
    stacked = jax.tree.map(lambda *parts: np.stack(parts, axis=-1), *alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), kernel_results(batch, y), stacked)


@each_family
@pytest.mark.parametrize(("num_components", "num_targets", "warped"), [(1, 1, False), (3, 4, False), (2, 4, True)])
def test_draws_have_the_components_moments(family, num_components, num_targets, warped):

    @jax.jit
    def draws_and_moments(component):
        if warped:
            component = Warped(component.stretch(0.05), SUPPORT)  # wider log-Laplace components have no variance
        if warped and family is FAMILIES["student_t"]:  # only the target with two bounds has finite moments
            component = component.select((2,))
        keys = jax.random.split(jax.random.key(2), 40_000)
        return jax.vmap(component.draw)(keys), component.marginals().moments().mean, component.covariances()

    component = first_example(components(family, num_components, num_targets))
    draws, mean, covariance = map(np.asarray, draws_and_moments(component))
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    np.testing.assert_array_less(np.abs(draws.mean(0) - mean), 5 * np.sqrt(variance) / 200)
    if family is not FAMILIES["student_t"]:
        sampled = np.stack([np.atleast_2d(np.cov(draws[:, k].T)) for k in range(num_components)])
        unit = np.sqrt(variance[:, :, None] * variance[:, None])
        np.testing.assert_array_less(np.abs(sampled - covariance) / unit, 0.1)


def test_no_raw_scale_goes_below_the_floor():
    sizes = Sizes(2, 1, 1)

    @jax.jit
    def scales():
        raws = {name: jnp.full((sum(family.raw_sizes(sizes)), 1), -1e4) for name, family in FAMILIES.items()}
        return {name: FAMILIES[name].from_raw(raw, sizes, 0.25).marginals().scale for name, raw in raws.items()}

    for name, scale in scales().items():
        assert np.min(scale) >= 0.25, name


def test_from_raw_assigns_scales_to_the_right_component():
    """Another library mixes up the scales of components: for K=3, D=2 it gives [[1,2],[3,1],[2,3]]."""
    sizes, loc = Sizes(3, 2, 1), np.array([[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]])
    scales = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for family in (FAMILIES["diagonal"], FAMILIES["laplace"], FAMILIES["full"]):
        num_rest = sum(family.raw_sizes(sizes)) - 12
        raw = np.concatenate([loc.ravel(), np.log(scales).ravel(), np.zeros(num_rest)])
        component = jax.jit(family.from_raw, static_argnums=(1, 2))(raw, sizes, 0.0)
        np.testing.assert_allclose(component.loc, loc)
        np.testing.assert_allclose(component.marginals().scale, scales, rtol=1e-12)


def test_full_and_low_rank_without_correlations_are_diagonal():
    diagonal, y = components(Diagonal, 3, 4), targets(4)
    full = Full(diagonal.loc, np.eye(4)[None, :, :, None] / diagonal.scale[:, None])
    low_rank = LowRank(diagonal.loc, jnp.zeros((3, 4, 2, 3)), diagonal.scale)
    expected, *others = (kernel_results(component, y) for component in (diagonal, full, low_rank))
    for other in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-300), other, expected)


def test_low_rank_is_full_with_its_covariance():
    low_rank, y = components(LowRank, 3, 4), targets(4)
    log_probs = jax.jit(lambda component, y: (component.log_probs(y), component.full().log_probs(y)))
    np.testing.assert_allclose(*log_probs(low_rank, y), rtol=1e-10)
    factor, scale = np.float32(1e4) * low_rank.factor.astype(np.float32), low_rank.scale.astype(np.float32)
    large = low_rank._replace(factor=factor, scale=scale, loc=0 * low_rank.loc)
    y = (large.loc + 1e3 * large.factor[:, :, 0])[0]  # along a factor, where Woodbury's difference would have no correct digits
    large_64 = jax.tree.map(lambda leaf: leaf.astype(np.float64), large)
    np.testing.assert_allclose(log_probs(large, y)[0][0], log_probs(large_64, y.astype(np.float64))[1][0], rtol=2e-3)


@pytest.mark.parametrize("num_targets", [1, 4])
def test_warped_densities_integrate_to_one_along_each_target(num_targets):
    component = jax.tree.map(lambda leaf: leaf[..., None], first_example(components(Diagonal, 2, num_targets)))
    u = np.linspace(-30, 30, 100_001)

    @jax.jit
    def densities(component, u):
        warped = Warped(component, SUPPORT.select(range(num_targets)))
        targets = [warped.select((d,)) for d in range(num_targets)]
        places = [target.from_line(u[None]) for target in targets]
        return [(y[0], jnp.exp(target.log_probs(y))) for target, y in zip(targets, places, strict=True)]

    for y, p in densities(component, u):
        np.testing.assert_allclose(np.trapezoid(p, y, axis=-1), 1, atol=2e-4)


def test_the_density_outside_of_a_support_is_zero():
    warped = Warped(first_example(components(Diagonal, 2, 4)), SUPPORT)

    @jax.jit
    def results(outside):
        density = jax.value_and_grad(lambda y: jnp.sum(jnp.exp(warped.log_probs(y))))(outside)
        draws = warped.stretch(1e3).draw(jax.random.key(0))
        return density, warped.cdfs(outside), warped.log_probs(draws[0])

    (value, slope), cdfs, log_probs_of_draws = results(np.array([-1.0, 0.0, 5.0, 3.0]))
    assert value == 0
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(np.asarray(cdfs)[:, [0, 2, 3]], [[0, 1, 1]] * 2)
    assert np.isfinite(log_probs_of_draws).all()  # draws stay inside, even with large scales


@each_family
@pytest.mark.parametrize("num_targets", [1, 2])
def test_extremes_are_finite_in_float32(family, num_targets):
    """Raw outputs of 0 and +-50, a weight of exactly 0, and targets up to a million scale floors away."""
    sizes = Sizes(3, num_targets, 1)
    size, distance = (part.ravel().astype(np.float32) for part in np.meshgrid([0, 50, -50], [0, 1, 1e6]))
    raw = np.asarray(size * np.resize([1, -1, 1], sum(family.raw_sizes(sizes)))[:, None], np.float32)
    logits = np.asarray([size, -size, np.full(9, -np.inf)], np.float32)
    y = np.asarray(np.tile(1e-3 * distance, (num_targets, 1)), np.float32)

    def log_prob(logits, raw, y):
        return mixture_log_prob(logits, family.from_raw(raw, sizes, 1e-3), y)

    gradient = jax.grad(lambda *arguments: jnp.sum(log_prob(*arguments)), (0, 1, 2))
    value, slopes = jax.jit(lambda *arguments: (log_prob(*arguments), gradient(*arguments)))(logits, raw, y)
    assert np.isfinite(value).all()
    assert all(np.isfinite(slope).all() for slope in slopes)


@each_family
def test_beyond_what_float32_holds_log_prob_is_minus_infinity_and_not_nan(family):
    sizes = Sizes(2, 2, 1)

    @jax.jit
    def log_prob(raw, y):
        return mixture_log_prob(jnp.zeros((2, 1), jnp.float32), family.from_raw(raw, sizes, 1e-3), y)

    value = log_prob(np.full((sum(family.raw_sizes(sizes)), 1), -50.0, np.float32), np.full((2, 1), 1e30, np.float32))
    assert not np.isnan(value).any()


@each_family
@pytest.mark.parametrize(("batch", "num_components", "num_targets"), [((3,), 1, 1), ((2,), 256, 1), ((2,), 2, 32), ((0,), 3, 2)])
def test_any_number_of_components_targets_and_examples(family, batch, num_components, num_targets):
    sizes = Sizes(num_components, num_targets, 1)
    raw = np.random.default_rng(0).standard_normal((sum(family.raw_sizes(sizes)), *batch)).astype(np.float32) / num_targets
    logits = np.zeros((num_components, *batch), np.float32)

    def total(raw):
        mixture = from_batch_last(jnp.asarray(logits), family.from_raw(raw, sizes, 0.01))
        return jnp.sum(mdn.log_prob(mixture, jnp.ones((*batch, num_targets), jnp.float32)))

    value, slope = jax.jit(jax.value_and_grad(total))(raw)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert slope.shape == raw.shape
