"""Moments far from zero: the digits of a moment do not depend on how large the locations are compared with the scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from tests.test_far_from_zero import FAMILIES, SHIFTS, parts

BOUNDED = {"positive": (0.0, np.inf), "box": (0.0, 4.0)}


def mixture_at(case, dtype, shift):
    """The mixture of `parts` and its bounds, shifted."""
    logits, loc, scale, _ = parts(dtype)
    if case not in BOUNDED:
        far = jnp.asarray((loc + dtype(shift))[..., None])
        return mdn.Mixture(jnp.asarray(logits), FAMILIES[case](far, jnp.asarray(scale[..., None])))
    narrow = mdn.Diagonal(*(jnp.asarray(part[..., None] / 8) for part in (loc, scale)))
    return mdn.warp(mdn.Mixture(jnp.asarray(logits), narrow), mdn.Support(*((end + shift,) for end in BOUNDED[case])))


@jax.jit
def central(mixture):
    return [statistic(mixture) for statistic in (mdn.variance, mdn.covariance, mdn.skewness, mdn.kurtosis)]


@jax.jit
def others(mixture):
    """The gradients of variance and mean, the parts of the variance, and the weights and scales of a smaller mixture."""
    slopes = [jax.grad(lambda m, f=f: jnp.sum(f(m)))(mixture) for f in (mdn.variance, mdn.mean)]
    small = mdn.reduce(mixture, 2)
    leaves = [leaf for slope in slopes for leaf in (slope.logits, slope.component.loc)]
    return [*leaves, *mdn.split_variance(mixture), mdn.weights(small), small.component.scale]


@pytest.mark.parametrize("case", [*FAMILIES, *BOUNDED])
def test_moments_far_from_zero_are_those_near_zero(case):
    """The same mixture at several distances from zero in float32, compared with float64 near zero."""

    def values(dtype, shift):
        mixture = mixture_at(case, dtype, shift)
        return [
            np.asarray(value, float)
            for value in ([mdn.variance(mixture)] if case in BOUNDED else central(mixture) + others(mixture))
        ]

    exact = values(np.float64, 0.0)
    for shift in SHIFTS:
        for value, truth in zip(values(np.float32, shift), exact, strict=True):
            np.testing.assert_allclose(value, truth, rtol=3e-5, atol=3e-6, err_msg=str(shift))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_far_from_zero_has_all_its_digits(dtype):
    weight = np.exp(np.asarray(parts(dtype)[0], np.longdouble))
    loc = (parts(dtype)[1] + dtype(2**17)).astype(np.longdouble)
    exact = (weight * loc).sum(-1) / weight.sum(-1)
    mean = np.asarray(mdn.mean(mixture_at("diagonal", dtype, 2.0**17)))[..., 0]
    assert (np.abs(mean - exact) <= 4 * np.finfo(dtype).eps * np.abs(exact)).all()


def test_an_ensemble_far_from_zero_splits_its_variance():
    """The means of the members differ by less than the last digit of a mean in float32."""
    loc = jnp.full((3, 2, 1), 1e6, jnp.float32)
    logits = jnp.asarray([[0.0, 0.0], [0.1, 0.0], [-0.1, 0.0]], jnp.float32)
    members = mdn.Mixture(logits, mdn.Diagonal(loc.at[:, 1].add(0.25), jnp.ones_like(loc)))
    share = np.exp(np.asarray(logits, float)) @ [0, 1] / np.exp(np.asarray(logits, float)).sum(-1)
    aleatoric, epistemic = mdn.split_variance(members)
    np.testing.assert_allclose(epistemic, [np.var(share / 4)], rtol=1e-5)
    np.testing.assert_allclose(aleatoric, [1 + np.mean(share * (1 - share)) / 16], rtol=1e-6)


def test_moments_of_components_that_the_dtype_does_not_resolve_are_right_or_nan():
    """The last digit of a location is .06 in float32; the components are equal, so that the moments are those of one Gaussian."""
    for scale in (1.0, 0.1, 0.01, 0.001, 1e-4):
        logits = jnp.asarray(np.random.default_rng(0).standard_normal((100, 5)), jnp.float32)
        component = mdn.Diagonal(*(jnp.full((100, 5, 1), part, jnp.float32) for part in (1e6, scale)))
        _, _, skewness, kurtosis = central(mdn.Mixture(logits, component))
        wrong = (np.abs(skewness) > 1e-3) | (np.abs(kurtosis - 3) > 3e-3)
        assert not wrong.any(), scale
        if scale >= 0.001:
            np.testing.assert_allclose(central(mdn.Mixture(logits, component))[0], scale**2, rtol=0.01)


@pytest.mark.parametrize("case", ["box"])  # the other one takes as long to compile
def test_shortfalls_and_lengths_of_regions_far_from_zero_have_the_digits_of_distances_from_the_bound(case):
    @jax.jit
    def statistics(mixture):
        return mdn.expected_shortfall(mixture, 0.3)[..., 0], mdn.hdr(mixture, 0.5).size

    near, far = (statistics(mixture_at(case, np.float32, shift)) for shift in SHIFTS[::2])
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(far[0] - np.float32(SHIFTS[2]), near[0], atol=eps * SHIFTS[2])
    np.testing.assert_allclose(far[1], near[1], rtol=1e-5)


def test_the_kurtosis_of_heavy_tails_is_infinite_where_the_third_moment_does_not_exist():
    df = jnp.array([[2.5, 3.5, 5.0], [5.0, 8.0, 5.0]])[..., None]  # mixtures by columns
    mixture = mdn.Mixture(jnp.zeros((3, 2)), mdn.StudentT(*(jnp.moveaxis(leaf, 1, 0) for leaf in (df - df + 1, df - df + 1, df))))
    np.testing.assert_allclose(np.asarray(mdn.kurtosis(mixture)).ravel(), [np.inf, np.inf, 9.0])
