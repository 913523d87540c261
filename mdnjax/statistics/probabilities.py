"""Probabilities of events: below a value, above it, in an interval, in a box."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from mdnjax.batching import map_batch, map_examples
from mdnjax.components import Component, Full, LowRank, StudentT, Warped, triangular
from mdnjax.components.diagonal import HALF_LOG_2PI
from mdnjax.components.location_scale import split_infinite
from mdnjax.mixture import Mixture, check_single
from mdnjax.quadrature import Estimate, integrate
from mdnjax.statistics.arguments import as_targets, check_count
from mdnjax.statistics.line import unwarped
from mdnjax.types import AnyArray, Array, Float

MAX_SDS = 38.0  # a normal density this many standard deviations from its mean is below the smallest normal number of float64
NUM_STEPS_BOX = 64  # of the quadrature for two targets, on either side of the centre of each of four pieces
ROUNDING = {False: 2.0, True: 32.0}  # eps of rounding in a probability, for each target; True: of a Student-t
NUM_SHIFTS = 12  # of a lattice of points in the unit cube
NUM_STANDARD_ERRORS = 6.0  # of the mean over the shifts, which is off by more in one of ten thousand cases (Student's t)


@jax.jit
def cdf(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns P(Y <= y|x) = sum_k w_k F_k(y), for a single target.

    Raises: ValueError if there is more than one target.
    """
    check_single("cdf", mixture)
    y = as_targets("cdf", mixture, y)
    return map_examples(lower_tail, mixture, y)


@jax.jit
def survival(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns P(Y > y|x) = sum_k w_k (1 - F_k(y)), for a single target; accurate also where 1 - cdf cancels to 0.

    Raises: ValueError if there is more than one target.
    """
    check_single("survival", mixture)
    y = as_targets("survival", mixture, y)
    return map_examples(upper_tail, mixture, y)


@jax.jit
def interval_prob(
    mixture: Mixture, low: Float[AnyArray, "*batch_low D"] | float, high: Float[AnyArray, "*batch_high D"] | float
) -> Float[Array, "*broadcast"]:
    """Returns P(low < Y <= high|x), for a single target; bounds may be infinite, and the result is 0 where low > high.

    Raises: ValueError if there is more than one target.
    """
    check_single("interval_prob", mixture)
    low, high = as_targets("interval_prob", mixture, low, "low"), as_targets("interval_prob", mixture, high, "high")
    return map_examples(
        lambda logits, component, low, high: _weighted_sum(logits, _inside(component.marginals(), low, high)[:, 0]),
        mixture,
        low,
        high,
    )


@partial(jax.jit, static_argnames="num_points")
def box_prob(
    mixture: Mixture,
    low: Float[AnyArray, "*batch_low D"] | float,
    high: Float[AnyArray, "*batch_high D"] | float,
    num_points: int = 1024,
) -> Estimate:
    """Returns P(low_d < Y_d <= high_d for all d|x), with its error; bounds may be infinite.

    Where the targets of a component are independent, the error is that of rounding. With covariances, the variables are
    separated along a Cholesky factor: two targets by quadrature, more by 12 shifted lattices of `num_points` points, where the
    error is six standard errors of their mean.
    Raises: ValueError if there are no points. Source: Genz (1992), Numerical computation of multivariate normal probabilities.
    """
    check_count("box_prob", "num_points", num_points, 1)
    low, high = as_targets("box_prob", mixture, low, "low"), as_targets("box_prob", mixture, high, "high")
    kernel = partial(_box, num_points=num_points)
    correlated = isinstance(unwarped(mixture.component), Full | LowRank) and low.shape[-1] > 1
    return map_batch(kernel, mixture, low, high, size=num_points if correlated else 1)


def lower_tail(logits: Float[Array, " K"], component: Component, y: Float[Array, " D"]) -> Float[Array, ""]:
    """Returns the cdf of a single target."""
    on_line, u = _on_line_without_target_axis(component, y)
    infinite, finite = split_infinite(u)
    return _with_limit(_weighted_sum(logits, on_line.cdfs(finite)), infinite, u > 0)


def upper_tail(logits: Float[Array, " K"], component: Component, y: Float[Array, " D"]) -> Float[Array, ""]:
    """Returns 1 - cdf of a single target."""
    on_line, u = _on_line_without_target_axis(component, y)
    infinite, finite = split_infinite(u)
    return _with_limit(_weighted_sum(logits, on_line.survivals(finite)), infinite, u < 0)


def _with_limit(tail: Array, infinite: Array, limit: Array) -> Array:
    """Returns the limit of a tail at infinity, where its gradient by a scale would be 0 times infinity; nan stays nan."""
    return jnp.where(infinite & ~jnp.isnan(tail), limit, tail)


def _on_line_without_target_axis(component: Component, y: Array) -> tuple[Any, Array]:
    """Returns components and y on the real line, without the axis of targets: with a last axis of 1, XLA does not vectorise."""
    marginals = component.marginals()
    return jax.tree.map(lambda leaf: leaf[:, 0], marginals.line()), marginals.to_line(y)[0]


def _weighted_sum(logits: Array, values: Array) -> Array:
    return jnp.sum(jax.nn.softmax(logits, axis=0) * values, axis=0)


def _inside(marginals: Component, low: Array, high: Array) -> Float[Array, "K D ..."]:
    """Returns P_k(low_d < Y_d <= high_d), as a difference in the tail where fewer digits cancel."""
    (below_low, above_low), (below_high, above_high) = _tails(marginals, low), _tails(marginals, high)
    return jnp.maximum(jnp.where(below_low < 0.5, below_high - below_low, above_low - above_high), 0)


def _tails(marginals: Component, y: Array) -> tuple[Array, Array]:
    """Returns the cdfs and survivals of components whose targets are independent."""
    on_line: Any = marginals.line()  # pyright: ignore[reportAttributeAccessIssue]
    u = marginals.to_line(y)  # pyright: ignore[reportAttributeAccessIssue]
    infinite, finite = split_infinite(u)
    return _with_limit(on_line.cdfs(finite), infinite, u > 0), _with_limit(on_line.survivals(finite), infinite, u < 0)


def _box(logits: Array, component: Component, low: Array, high: Array, num_points: int) -> Estimate:
    on_line, rounding = unwarped(component), _rounding(logits, component, low, high)
    if low.shape[0] == 1 or not isinstance(on_line, Full | LowRank):
        value = _weighted_sum(logits, jnp.prod(_inside(component.marginals(), low, high), axis=1))
        return Estimate(value, rounding + jnp.zeros_like(value))
    if isinstance(component, Warped):
        low, high = component.to_line(low), component.to_line(high)
    low, high = (_end_from_location(on_line, bound) for bound in (low, high))
    weight = jax.nn.softmax(logits, axis=0)
    if low.shape[1] == 2:
        value, error = _rectangle(on_line, low, high)
        return Estimate(jnp.sum(weight * value, axis=0), jnp.sum(weight * error, axis=0) + rounding)
    tril = triangular.cholesky(on_line.covariances())
    lattices = _lattices(low.shape[1] - 1, num_points, low.dtype)
    shifted = jax.lax.map(lambda points: jnp.sum(weight * _separated(tril, low, high, points), axis=0), lattices)
    return Estimate(
        jnp.mean(shifted, axis=0), NUM_STANDARD_ERRORS * jnp.std(shifted, axis=0, ddof=1) / NUM_SHIFTS**0.5 + rounding
    )


def _rounding(logits: Array, component: Component, low: Array, high: Array) -> Array:
    """Returns the error by rounding: that of the probabilities, and on a support that of the bounds on the real line."""
    eps = jnp.finfo(low.dtype).eps
    error = jnp.asarray(low.shape[0] * ROUNDING[isinstance(unwarped(component), StudentT)] * eps, low.dtype)
    if isinstance(component, Warped):
        marginals, on_line = component.marginals(), component.marginals().line()
        for bound in (low, high):
            u = jax.lax.stop_gradient(marginals.to_line(bound))
            finite = jnp.isfinite(u)
            u = jnp.where(finite, u, 0)
            densities = jnp.where(finite, jnp.exp(on_line.target_log_probs(u)), 0)
            error += _weighted_sum(logits, jnp.sum(densities * (2 + jnp.abs(u)) * ROUNDING[False] * eps, axis=1))
    return error


def _end_from_location(component: Full | LowRank, bound: Array) -> Float[Array, "K D *batch"]:
    """Returns bound - loc; for an infinite bound a number beyond which no digit of a probability changes.

    With an infinite number, gradients would be nan.
    """
    infinite, finite = split_infinite(bound)
    far = 4 * MAX_SDS * jax.lax.stop_gradient(component.marginals().scale)
    return jnp.where(infinite, jnp.sign(bound) * far + 0 * component.loc, finite - component.loc)  # a nan location stays nan


def _rectangle(component: Full | LowRank, low: Array, high: Array) -> Estimate:
    """Returns the probability of a box of two targets: the integral over the last of the probability of the other one.

    From the precision's factor L, y = L^-T z: z has no digits that the covariance has lost where targets are nearly collinear.
    """
    full = component.full() if isinstance(component, LowRank) else component
    inverse = triangular.inverse(full.precision_tril)
    first, slope, second = inverse[:, 1, 1], inverse[:, 1, 0], inverse[:, 0, 0]
    low, high = low[:, ::-1], high[:, ::-1]
    start, end = (jnp.clip(bound[:, 0] / first, -MAX_SDS, MAX_SDS) for bound in (low, high))
    # The integrand changes fastest where the conditional mean of the second target is at one of its bounds. It is largest near
    # the mean of the first variable given the value of the second target in the box that is nearest to its mean.
    crossings = (jnp.where(slope == 0, 0.0, bound[:, 1] / jnp.where(slope == 0, 1, slope)) for bound in (low, high))
    nearest = jnp.clip(0.0, low[:, 1], high[:, 1])
    peak = jnp.where(jnp.isfinite(nearest), slope * nearest / (slope**2 + second**2), 0)
    inner = jnp.sort(jnp.stack([jnp.clip(point, start, end) for point in (*crossings, peak)]), axis=0)
    # The ends stay the first and the last point where an inner one is equal to them: only they have a gradient.
    points = jnp.concatenate([start[None], jax.lax.stop_gradient(inner), end[None]])

    def integrand(z: Array) -> Array:
        a, b = ((bound[:, 1] - slope * z) / second for bound in (low, high))
        return jnp.exp(-0.5 * z**2 - HALF_LOG_2PI) * _between(a, b)

    whole = integrate(integrand, points, jnp.ones_like(first), left=False, right=False, num_steps=NUM_STEPS_BOX)
    return Estimate(*(jnp.where(end <= start, 0, part) for part in whole))


def _separated(tril: Array, low: Array, high: Array, points: Float[Array, "Q d"]) -> Float[Array, "K ..."]:
    """Returns the probability of the box as a mean over points of the unit cube of D - 1 dimensions."""
    ones = (1,) * (low.ndim - 1)
    min_prob, max_prob = jnp.finfo(low.dtype).tiny, 1 - jnp.finfo(low.dtype).epsneg
    z: list[Array] = []
    product: Array | float = 1.0
    for d in range(tril.shape[1]):
        shift = sum((tril[:, d, j] * z[j] for j in range(d)), start=jnp.zeros_like(tril[:, d, d]))
        a, b = ((end[:, d] - shift) / tril[:, d, d] for end in (low, high))
        product = product * _between(a, b)
        if d < points.shape[1]:
            # Probabilities in the lower tail do not round to 1.
            start, end = ndtr(jnp.where(a > 0, -b, a)), ndtr(jnp.where(a > 0, -a, b))
            share = points[:, d].reshape(-1, *ones)
            z.append(jnp.where(a > 0, -1.0, 1.0) * ndtri(jnp.clip(start + share * (end - start), min_prob, max_prob)))
    return jnp.mean(jnp.asarray(product), axis=0)


def _between(a: Array, b: Array) -> Array:
    """Returns Phi(b) - Phi(a), as a difference in the tail where fewer digits cancel; 0 where b < a."""
    return jnp.maximum(jnp.where(a > 0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a)), 0)


def _lattices(num_dimensions: int, num_points: int, dtype: jnp.dtype) -> Float[Array, "shifts Q d"]:
    """Returns Richtmyer's lattices: n sqrt(prime) + shift modulo 1, folded by |2 x - 1| so that the integrand is periodic."""
    primes = [n for n in range(2, 400) if all(n % p for p in range(2, int(n**0.5) + 1))][:num_dimensions]
    shifts = np.random.default_rng(0).random((NUM_SHIFTS, 1, num_dimensions))
    points = (np.arange(1, num_points + 1)[:, None] * np.sqrt(np.asarray(primes, float)) + shifts) % 1
    return jnp.asarray(np.abs(2 * points - 1), dtype)
