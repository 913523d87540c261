"""Probabilities of boxes of correlated targets: bounds of any width, and correlations up to nearly 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import mdnjax as mdn

INF = np.inf
NODES, RULE = np.polynomial.legendre.leggauss(40)
BOXES = [((-INF, -INF), (INF, INF)), ((-INF, -1), (INF, 2)), ((-1, -INF), (2, INF)), ((0, 0), (INF, INF)), ((-50, -60), (70, 80))]
BOXES += [((3, 4), (INF, INF)), ((-INF, -INF), (1, -2)), ((-3, 10), (INF, INF)), ((10, -INF), (INF, INF)), ((-INF, 5), (INF, 8))]
BOXES += [((-0.125, -0.125), (0.125, 0.125)), ((1, 2), (-1, 3))]
CORRELATIONS = [0.0, 0.1, -0.5, 0.9, 0.99, 0.9999]


def truth(tril, low, high):
    """The probability of a box by many panels, with y_2 = u_22 z_2 and y_1 = u_11 z_1 + u_12 z_2."""
    u_11, u_22 = 1 / tril[0, 0], 1 / tril[1, 1]
    u_12 = -tril[1, 0] * u_11 * u_22
    cuts = [np.linspace(-38, 38, 153)]
    for bound in (low[0], high[0]):
        if np.isfinite(bound):
            centres = [u_12 * bound / (u_12**2 + u_11**2), *([bound / u_12] if u_12 else [])]
            cuts += [centre + sign * u_11 * 2.0 ** np.arange(-8, 10) for centre in centres for sign in (-1, 1)]
    ends = np.unique(np.clip(np.concatenate(cuts), low[1] / u_22, high[1] / u_22))
    z, weight = (ends[:-1, None] + np.diff(ends)[:, None] * (NODES + 1) / 2), np.diff(ends)[:, None] * RULE / 2
    a, b = ((bound - u_12 * z) / u_11 for bound in (low[0], high[0]))
    between = np.where(a > 0, special.ndtr(-a) - special.ndtr(-b), special.ndtr(b) - special.ndtr(a))
    return np.sum(weight * stats.norm.pdf(z) * np.maximum(between, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes_of_two_targets_are_exact_and_state_their_error(dtype):
    rows = [(rho, low, high) for rho in CORRELATIONS for low, high in BOXES]
    rho, low, high = (np.asarray(part, dtype) for part in zip(*rows, strict=True))
    covariance = np.stack([np.ones_like(rho, float), rho, rho, np.ones_like(rho)], -1).reshape(-1, 2, 2)
    tril = np.linalg.cholesky(np.linalg.inv(covariance)).astype(dtype)
    exact = np.array([truth(*row) for row in zip(tril.astype(float), low, high, strict=True)])
    mixture = mdn.Mixture(
        jnp.zeros((len(rows), 1), dtype), mdn.Full(jnp.zeros((len(rows), 1, 2), dtype), jnp.asarray(tril[:, None]))
    )
    value, error = (np.asarray(part, float) for part in mdn.box_prob(mixture, low, high))
    difference = np.abs(value - exact)
    assert difference.max() < {np.float32: 1e-6, np.float64: 1e-8}[dtype]
    assert (difference <= error + 1e-16).all()
    assert (difference[exact > 0] <= 1e-4 * exact[exact > 0]).all()


def make(family, num_targets, dtype):
    """A mixture of two components whose targets are correlated."""
    generator = np.random.default_rng(0)
    loc, factor = generator.standard_normal((2, num_targets)), generator.standard_normal((2, num_targets, 1))
    low_rank = mdn.LowRank(*(jnp.asarray(part, dtype) for part in (loc, factor, np.full_like(loc, 0.5))))
    full = low_rank.full() if family == "full" else low_rank
    return mdn.Mixture(jnp.zeros(2, dtype), full)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_targets", [2, 3])
@pytest.mark.parametrize("family", ["full", "low_rank"])
def test_a_box_without_some_bounds_has_the_probability_of_the_others(family, num_targets, dtype):
    mixture = make(family, num_targets, dtype)
    low, high = np.full((2, num_targets), -INF, dtype), np.full((2, num_targets), INF, dtype)
    low[1, 0], high[1, 0] = -0.5, 1.0  # the first box is the whole space, the second one a slab
    value, error = mdn.box_prob(mixture, low, high)
    slab = mdn.interval_prob(mdn.marginal(mixture, (0,)), low[1, :1], high[1, :1])
    np.testing.assert_allclose(value, [1, slab], atol={np.float32: 2e-6, np.float64: 1e-10}[dtype] + float(error.max()))


def test_the_gradient_of_a_box_is_that_of_differences():
    mixture: Any = make("full", 2, np.float64)
    high = jnp.array([0.5, jnp.inf])

    def box(shift):
        component = mixture.component._replace(loc=mixture.component.loc + shift)
        return mdn.box_prob(mdn.Mixture(mixture.logits, component), jnp.array([-jnp.inf, -0.7]), high).value

    slope, step = jax.jit(jax.grad(box))(jnp.zeros(2)), np.array([1e-5, 2e-5])
    assert float(slope @ step) == pytest.approx(float(box(step) - box(-step)) / 2, rel=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bound_that_is_nan_gives_nan(dtype):
    nan = np.nan
    low, high = [(nan, 0), (0, nan), (0, 0), (0, 0), (0, 0)], [(1, 1), (1, 1), (nan, 1), (1, nan), (1, 1)]
    tril = jnp.asarray([[[1, 0], [0.5, 2]]], dtype)
    full = mdn.Mixture(jnp.zeros(1, dtype), mdn.Full(jnp.zeros((1, 2), dtype), tril))
    values = np.asarray(mdn.box_prob(full, jnp.asarray(low, dtype), jnp.asarray(high, dtype)).value)
    np.testing.assert_array_equal(np.isnan(values), [True] * 4 + [False])
    warped = mdn.warp(mdn.marginal(full, (0,)), mdn.Support((-1.0,), (2.0,)))
    y = jnp.asarray([[nan]], dtype)
    assert np.isnan([mdn.cdf(warped, y), mdn.survival(warped, y), mdn.interval_prob(warped, y, y)]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_of_independent_targets_is_that_of_rounding(dtype):
    loc, scale = (np.random.default_rng(0).uniform(0.1, 2, (200, 1, 2)).astype(dtype) for _ in range(2))
    low, high = (np.random.default_rng(seed).uniform(-1, 4, (200, 2)).astype(dtype) for seed in (1, 2))
    found = mdn.box_prob(mdn.Mixture(jnp.zeros((200, 1), dtype), mdn.Diagonal(jnp.asarray(loc), jnp.asarray(scale))), low, high)
    ends = [special.ndtr((end.astype(float) - loc[:, 0]) / scale[:, 0].astype(float)) for end in (low, high)]
    exact = np.prod(np.maximum(ends[1] - ends[0], 0), axis=1)
    assert (np.abs(np.asarray(found.value) - exact) <= np.asarray(found.error)).all()
    assert np.max(found.error) < 10 * np.finfo(dtype).eps


@pytest.mark.parametrize("family", ["full", "low_rank"])
def test_the_gradient_is_that_of_differences_where_a_bound_is_at_a_location(family):
    """There an end of the integral is equal to one of the points that cut it."""
    tril = jnp.array([[[1.0, 0.0], [0.6, 1.2]]])

    def make(loc):
        factor = {"full": lambda: mdn.Full(loc, tril), "low_rank": lambda: mdn.LowRank(loc, tril[..., :1], tril[:, 1])}
        return mdn.Mixture(jnp.zeros(1), factor[family]())

    low, high = jnp.array([[-1.0, -3.0], [0.0, 0.0]]), jnp.array([[2.0, 0.0], [1.0, 2.0]])
    prob = jax.jit(lambda loc: jnp.sum(mdn.box_prob(make(loc), low, high).value * jnp.array([1.0, 2.0])))
    loc, step = jnp.zeros((1, 2)), 1e-5 * jnp.array([[0.3, -1.0]])
    along = float(jnp.sum(jax.grad(prob)(loc) * step))
    assert along == pytest.approx(float(prob(loc + step) - prob(loc - step)) / 2, rel=1e-6)


def test_the_error_on_a_support_includes_the_rounding_of_the_bounds():
    """A narrow component far from 0 on the real line: one unit in the last place of a bound changes the probability."""
    loc, scale = np.full((1, 1), 12.0), np.full((1, 1), 1e-4)
    y = np.exp(12 + 1e-4 * np.linspace(-2, 2, 41))[:, None].astype(np.float32)
    exact = stats.norm.cdf((np.log(y.astype(float)) - 12) / np.float64(np.float32(1e-4)))[:, 0]
    parts = [jnp.asarray(part, jnp.float32) for part in (np.zeros(1), loc, scale)]
    mixture = mdn.warp(mdn.Mixture(parts[0], mdn.Diagonal(*parts[1:])), mdn.Support((0.0,), (np.inf,)))
    value, error = (np.asarray(part, float) for part in mdn.box_prob(mixture, jnp.zeros(1, jnp.float32), jnp.asarray(y)))
    assert np.abs(value - exact).max() > 1e-5
    assert (np.abs(value - exact) <= error).all()
    assert (error < 0.05).all()
