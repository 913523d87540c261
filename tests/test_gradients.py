"""Gradients of statistics far from zero, at ties and at edges, against differences in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from tests.test_far_from_zero import FAMILIES, SHIFTS, parts

P = np.array([0.001, 0.05, 0.5, 0.95])
SMALL = 1e-5


@jax.jit
def slopes_and_quantiles(mixture, p):
    """The quantiles, on which median and central interval depend too, and the gradient of a weighted sum of them."""

    def weighted(mixture):
        quantiles = mdn.quantile(mixture, p[:, None]).ravel()
        return jnp.sum(jnp.sin(jnp.arange(24.0)) * quantiles), quantiles

    return jax.grad(weighted, has_aux=True)(mixture)


@jax.jit
def overlaps(mixture, y):
    return mdn.cde_loss(mixture, y), mdn.entropy_bounds(mixture)[0]


def mixture_at(family, dtype, shift):
    logits, loc, scale, y = parts(dtype)
    far, scale = jnp.asarray((loc + dtype(shift))[..., None]), jnp.asarray(scale[..., None])
    return mdn.Mixture(jnp.asarray(logits), FAMILIES[family](far, scale)), jnp.asarray(y + dtype(shift))


def as_float(tree):
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("family", ["diagonal", "laplace", "student_t"])
def test_quantiles_and_their_gradients_far_from_zero_are_those_near_zero(family):
    """In float32, a quantile is rounded to the last digit of its size, and its gradient has all digits."""
    near, y = mixture_at(family, np.float64, 0.0)
    slopes, exact = map(as_float, slopes_and_quantiles(near, P))
    products = as_float(overlaps(near, y)) if family != "diagonal" else []
    for shift in SHIFTS:
        far, y = mixture_at(family, np.float32, shift)
        p = P.astype(np.float32)
        eps = float(np.finfo(np.float32).eps)
        slopes_far, quantiles = map(as_float, slopes_and_quantiles(far, p))
        np.testing.assert_allclose(quantiles[0] - shift, exact[0], rtol=1e-5, atol=2e-6 + eps * shift)
        for value, truth in zip(slopes_far, slopes, strict=True):
            np.testing.assert_allclose(value, truth, rtol=3e-5, atol=1e-5, err_msg=str(shift))
        for value, truth in zip(as_float(overlaps(far, y)) if products else [], products, strict=True):
            np.testing.assert_allclose(value, truth, rtol=1e-5, atol=3e-6, err_msg=str(shift))


@pytest.mark.parametrize("family", ["diagonal", "laplace", "student_t"])
def test_the_gradient_of_a_quantile_is_that_of_differences(family):
    mixture, _ = mixture_at(family, np.float64, SHIFTS[1])
    generator = np.random.default_rng(1)
    step = jax.tree.map(lambda leaf: SMALL * generator.standard_normal(leaf.shape), mixture)
    ahead, behind = (jax.tree.map(lambda leaf, d, s=sign: leaf + s * d, mixture, step) for sign in (1, -1))
    weight = np.sin(np.arange(24))
    (_, high), (_, low), (slopes, _) = (slopes_and_quantiles(at, P) for at in (ahead, behind, mixture))
    difference = float(np.sum(weight * np.asarray(high - low))) / 2
    along = sum(np.sum(a * b) for a, b in zip(as_float(slopes), as_float(step), strict=True))
    assert along == pytest.approx(difference, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize("statistic", [lambda m, y: mdn.crps_by_quadrature(m, y).value, mdn.crps])
@pytest.mark.parametrize("family", ["diagonal", "laplace"])
def test_the_gradient_of_the_crps_at_a_location_is_that_of_differences(family, statistic):
    """There two points that cut the line are equal, and the piece between them has no length; here there are two such ties."""
    mixture: Any = mdn.Mixture(
        jnp.array([0.3, -0.5, 0.1]), FAMILIES[family](jnp.array([[0.5], [2.0], [0.5]]), jnp.full((3, 1), 0.7))
    )

    def crps(loc, y):
        return statistic(mdn.Mixture(mixture.logits, mixture.component._replace(loc=loc)), y)

    value_and_slopes = jax.jit(jax.value_and_grad(crps, (0, 1)))
    for place in (0.5, 2.0):
        loc, y = np.asarray(mixture.component.loc), np.array([place])
        step_loc, step_y = SMALL * np.array([[0.3], [-0.4], [0.9]]), SMALL * np.array([0.8])
        along = sum(np.sum(a * b) for a, b in zip(value_and_slopes(loc, y)[1], (step_loc, step_y), strict=True))
        ahead, behind = (value_and_slopes(loc + sign * step_loc, y + sign * step_y)[0] for sign in (1, -1))
        difference = float(ahead - behind) / 2
        assert along == pytest.approx(difference, abs=3e-4 * SMALL), place  # the second derivative of Laplace is not smooth


@pytest.mark.parametrize("component", [mdn.Diagonal, mdn.Laplace])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_of_the_entropy_are_finite_for_vanishing_weights(component, dtype):
    """A weight whose square underflows, and a weight of 0, change neither the bounds nor their gradients."""
    loc, scale = (jnp.asarray(part, dtype)[:, None] for part in ([0.0, 1.0, 2.0], [1.0, 1.0, 0.5]))

    def bounds(logits):
        low, high = mdn.entropy_bounds(mdn.Mixture(logits, component(loc, scale)))
        return low + high, (low, high)

    both = jax.jit(jax.value_and_grad(bounds, has_aux=True))
    for logits, alone in (([0, -87, -104], [0, -np.inf, -np.inf]), ([0, -1, -700], [0, -1, -np.inf])):
        (_, values), slope = both(jnp.asarray(logits, dtype))
        (_, expected), slope_of_zero = both(jnp.asarray(alone, dtype))
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        np.testing.assert_allclose(slope, slope_of_zero, atol=1e-6)


ENDS = {
    "diagonal": (lambda loc, scale: mdn.Diagonal(loc, scale), None),
    "student_t": (lambda loc, scale: mdn.StudentT(loc, scale, 3 + scale), None),
    "box": (lambda loc, scale: mdn.Diagonal(loc, scale), mdn.Support((0.0,), (2.0,))),
    "full": (lambda loc, scale: mdn.Full(jnp.tile(loc, 2), jnp.array([[1.0, 0.0], [0.5, 2.0]]) / scale[..., None]), None),
    "low_rank": (lambda loc, scale: mdn.LowRank(jnp.tile(loc, 2), jnp.tile(scale, 2)[..., None], jnp.tile(scale, 2)), None),
}


@pytest.mark.parametrize("case", ENDS)
def test_probabilities_with_infinite_bounds_have_gradients(case):
    """Against differences: a bound at infinity, or at the end of the support, moves no probability."""
    make, support = ENDS[case]
    start = np.array([0.2, 0.7]), np.array([[0.0], [1.0]]), np.array([[1.0], [0.5]])

    def total(logits, loc, scale):
        mixture = mdn.Mixture(logits, make(loc, scale))
        mixture = mixture if support is None else mdn.warp(mixture, support)
        low, high, inner = (-np.inf, np.inf, 0.7) if support is None else (0.0, 2.0, 0.7)
        bounds = jnp.array([[low, inner], [inner, high], [low, high]])[..., None] * jnp.ones(mdn.num_targets(mixture))
        boxes = mdn.box_prob(mixture, bounds[:, 0], bounds[:, 1]).value
        if mdn.num_targets(mixture) > 1:
            return boxes @ jnp.array([1.0, 2.0, 3.0])
        ends = jnp.array([[low], [high]])
        tails = jnp.concatenate([mdn.cdf(mixture, ends), mdn.survival(mixture, ends)])
        return boxes @ jnp.array([1.0, 2.0, 3.0]) + tails @ jnp.ones(4)

    value_and_slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    slopes = value_and_slopes(*start)[1]
    for number, slope in enumerate(slopes):
        for k in range(2):
            moved = [list(start), list(start)]
            for sign, arguments in zip((1, -1), moved, strict=True):
                arguments[number] = arguments[number].copy()
                arguments[number][k] += sign * SMALL
            difference = (value_and_slopes(*moved[0])[0] - value_and_slopes(*moved[1])[0]) / (2 * SMALL)
            np.testing.assert_allclose(np.ravel(slope)[k], difference, atol=1e-8)


def test_moments_between_two_bounds_have_gradients():
    loc, scale = np.array([[0.3], [-1.0]]), np.array([[0.7], [0.2]])

    def total(loc, scale):
        mixture = mdn.warp(mdn.Mixture(jnp.array([0.2, 0.7]), mdn.Diagonal(loc, scale)), mdn.Support((0.0,), (2.0,)))
        return jnp.sum(mdn.mean(mixture) + mdn.kurtosis(mixture))  # the kurtosis contains the second and third moments

    value_and_slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    slopes = value_and_slopes(loc, scale)[1]

    def value(loc, scale):
        return value_and_slopes(loc, scale)[0]

    for slope, step in zip(slopes, ((SMALL, 0.0), (0.0, SMALL)), strict=True):
        one = np.array([[1.0], [0.0]])
        difference = (
            value(loc + step[0] * one, scale + step[1] * one) - value(loc - step[0] * one, scale - step[1] * one)
        ) / 2e-5
        np.testing.assert_allclose(slope[0, 0], difference, rtol=1e-6)


def test_components_without_overlap_have_gradients():
    loc, scale = jnp.array([[-2e3], [0.0], [2e3]], jnp.float32), jnp.ones((3, 1), jnp.float32)

    def loss(loc, scale):
        return mdn.cde_loss(mdn.Mixture(jnp.zeros(3, jnp.float32), mdn.Laplace(loc, scale)), jnp.zeros(1, jnp.float32))

    slope_of_loc, slope_of_scale = jax.jit(jax.grad(loss, argnums=(0, 1)))(loc, scale)
    assert np.isfinite(slope_of_loc).all()
    # int p^2 = sum w^2 / (4 scale), and -2 p(0) = -w / scale for the component at 0
    np.testing.assert_allclose(slope_of_scale.ravel(), [-1 / 36, 1 / 3 - 1 / 36, -1 / 36], rtol=1e-4)


def test_shortfalls_between_two_bounds_have_gradients():
    """For several mixtures in one program, whose fused arithmetic rounds otherwise than single operations."""
    loc = jnp.array([[-0.55, 1.2, -0.08], [0.26, 0.66, 0.86]])[..., None]
    scale = jnp.array([[0.29, 0.23, 0.19], [0.09, 0.2, 0.19]])[..., None]

    def shortfalls(loc):
        mixture = mdn.warp(mdn.Mixture(jnp.zeros((2, 3)), mdn.Diagonal(loc, scale)), mdn.Support((-1.0,), (2.0,)))
        return mdn.expected_shortfall(mixture, 0.1)

    both = jax.jit(jax.value_and_grad(lambda loc: (jnp.sum(shortfalls(loc)), shortfalls(loc)), has_aux=True))
    slope = both(loc)[1]

    def value(loc):
        return both(loc)[0][1]

    for k in range(3):
        moved = [loc.at[:, k].add(sign * SMALL) for sign in (1, -1)]
        difference = (value(moved[0]) - value(moved[1])) / (2 * SMALL)
        np.testing.assert_allclose(slope[:, k, 0], np.ravel(difference), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradients_of_a_student_t_are_finite_as_far_as_numbers_go(dtype):
    mixture = mdn.Mixture(jnp.zeros(1, dtype), mdn.StudentT(*(jnp.full((1, 1), part, dtype) for part in (0.0, 1.0, 2.5))))
    y = jnp.asarray([[-1], [1], [-1e-3], [1e-9]], dtype) * np.finfo(dtype).max / 4
    gradient = jax.jit(jax.grad(lambda mixture: jnp.sum(mdn.cdf(mixture, y)) + jnp.sum(mdn.survival(mixture, y))))(mixture)
    assert all(np.isfinite(leaf).all() for leaf in as_float(gradient))
