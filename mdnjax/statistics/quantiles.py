"""Quantiles and what follows from them: median, intervals, expected shortfall; for a single target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from mdnjax.batching import map_batch
from mdnjax.components import Component, Warped
from mdnjax.mixture import Mixture, check_single
from mdnjax.quadrature import integrate
from mdnjax.types import AnyArray, Array, Float

MAX_ITERATIONS = 200


@jax.jit
def quantile(mixture: Mixture, p: Float[AnyArray, "*batch_p"] | float) -> Float[Array, "*broadcast 1"]:
    """The y with P(Y <= y|x) = p, for a single target; the batch axes of mixture and p broadcast.

    It lies between the smallest and the largest of the components' own quantiles, and is found there by Chandrupatla's method on
    the scale of normal quantiles, from the tail that p is in. 0 and 1 give the ends of the support; outside of [0, 1]: nan.
    Differentiable in everything by the implicit function rule, dy = (dp - dF) / p(y).
    Raises: ValueError if there is more than one target. Source: Chandrupatla (1997).
    """
    check_single("quantile", mixture)
    return map_batch(_quantile, mixture, jnp.asarray(p, mixture.logits.dtype), events=(0,))


@jax.jit
def median(mixture: Mixture) -> Float[Array, "*batch 1"]:
    """The y with P(Y <= y|x) = 1/2, for a single target."""
    return quantile(mixture, 0.5)


@jax.jit
def central_interval(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Float[Array, "*broadcast 2"]:
    """The quantiles of (1 - level) / 2 and (1 + level) / 2, for a single target: as much probability below as above."""
    low = (1 - jnp.asarray(level, mixture.logits.dtype)) / 2
    return jnp.concatenate([quantile(mixture, low), quantile(mixture, 1 - low)], axis=-1)


@jax.jit
def expected_shortfall(mixture: Mixture, p: Float[AnyArray, "*batch_p"] | float) -> Float[Array, "*broadcast 1"]:
    """E[Y | Y <= quantile(p)], the mean of the lowest share p, for a single target.

    The mean of the highest share p is (E[Y] - (1 - p) expected_shortfall(1 - p)) / p. In closed form on the line, by quadrature
    on a bounded support. Source: Rockafellar and Uryasev (2000).
    """
    check_single("expected_shortfall", mixture)
    size = 512 if isinstance(mixture.component, Warped) else 1
    return map_batch(_shortfall, mixture, jnp.asarray(p, mixture.logits.dtype), events=(0,), size=size)


def _quantile(logits: Array, component: Component, p: Array) -> Float[Array, "1 *batch"]:
    marginals = component.marginals()
    return marginals.from_line(quantile_on_line(logits, marginals.line(), p)[None])


def quantile_on_line(logits: Array, line: Any, p: Array) -> Float[Array, "..."]:
    """The point of the line with probability p below it."""
    weight = jax.nn.softmax(logits, axis=0)
    shape = jnp.broadcast_shapes(weight.shape[1:], p.shape)
    p = jnp.broadcast_to(p, shape)
    lower, tail = p < 0.5, jnp.minimum(p, 1 - p)
    inside = tail > 0
    p_inside, tail = jnp.where(inside, p, 0.5), jnp.where(inside, tail, 0.5)

    sign = jnp.where(lower, 1, -1)
    epsilon, tiny, goal = jnp.finfo(p.dtype).epsneg, jnp.finfo(p.dtype).tiny, ndtri(tail)

    def tail_at(u: Array) -> Array:
        return jnp.sum(weight * line.tails(u[None], lower)[:, 0], axis=0)

    def excess(u: Array) -> Array:
        """Of the probability below u over what is wanted."""
        return sign * (tail_at(u) - tail)

    def height(u: Array) -> Array:
        """The same on the scale of normal quantiles, where it is nearly straight."""
        return sign * (ndtri(jnp.clip(tail_at(u), tiny, 1 - epsilon)) - goal)

    low, high = (bound[:, 0] for bound in jax.lax.stop_gradient(line.brackets(p_inside)))
    possible = weight > 0  # a component without weight does not widen the bracket
    low = jnp.min(jnp.where(possible, low, jnp.inf), axis=0)
    high = jnp.max(jnp.where(possible, high, -jnp.inf), axis=0)
    start = jnp.broadcast_to(low, shape), jnp.broadcast_to(high, shape)

    def solve(_: Callable[[Array], Array], __: Array) -> Array:
        return bracketed_root(height, *start)

    def tangent_solve(linear: Callable[[Array], Array], right: Array) -> Array:
        density = linear(jnp.ones_like(right))
        return right / jnp.where(density > 0, density, jnp.inf)  # between far components there may be none at all

    root = jax.lax.custom_root(excess, start[0], solve, tangent_solve)
    ends = jnp.where(p == 0, -jnp.inf, jnp.where(p == 1, jnp.inf, jnp.nan))
    return jnp.where(inside, root, ends)


def bracketed_root(function: Callable[[Array], Array], low: Array, high: Array) -> Float[Array, "..."]:
    """A root of a function that is negative at low and positive at high, to the last digit, all elements at once.

    Inverse quadratic interpolation where three points allow it, else bisection. The ends themselves are not evaluated: a function
    is compiled once, wherever it stands in the program. Source: Chandrupatla (1997), A new hybrid quadratic/bisection algorithm
    for finding the zero of a nonlinear function without using derivatives.
    """
    epsilon, tiny = jnp.finfo(low.dtype).eps, jnp.finfo(low.dtype).tiny

    def unfinished(state: tuple[Array, ...]) -> Array:
        a, b, _, f_a, f_b, _, _, count = state
        return (count < MAX_ITERATIONS) & jnp.any((jnp.abs(a - b) > _width(a, b, f_a, f_b)) & (f_a != 0) & (f_b != 0))

    def _width(a: Array, b: Array, f_a: Array, f_b: Array) -> Array:
        return 2 * epsilon * jnp.abs(jnp.where(jnp.abs(f_a) < jnp.abs(f_b), a, b)) + tiny

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, c, f_a, f_b, f_c, t, count = state  # a is the newest point, b on the other side of the root, c the one before
        new = a + t * (b - a)
        f_new = function(new)
        same = jnp.sign(f_new) == jnp.sign(f_a)
        c, f_c = jnp.where(same, a, b), jnp.where(same, f_a, f_b)
        b, f_b = jnp.where(same, b, a), jnp.where(same, f_b, f_a)
        a, f_a = new, f_new
        xi, phi = _ratio(a - b, c - b), _ratio(f_a - f_b, f_c - f_b)
        usable = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        quadratic = _ratio(f_a, f_b - f_a) * _ratio(f_c, f_b - f_c) + _ratio(c - a, b - a) * _ratio(f_a, f_c - f_a) * _ratio(
            f_b, f_c - f_b
        )
        least = jnp.clip(_ratio(0.5 * _width(a, b, f_a, f_b), jnp.abs(b - a)), 0, 0.5)
        t = jnp.clip(jnp.where(usable & jnp.isfinite(quadratic), quadratic, 0.5), least, 1 - least)
        return a, b, c, f_a, f_b, f_c, t, count + 1

    f_low, f_high = (jnp.full_like(low, end) for end in (-jnp.inf, jnp.inf))  # at the ends only the signs are known
    start = (low, high, low, f_low, f_high, f_low, jnp.full_like(low, 0.5), jnp.asarray(0))
    a, b, _, f_a, f_b, *_ = jax.lax.while_loop(unfinished, step, start)
    return jnp.where(jnp.abs(f_a) < jnp.abs(f_b), a, b)


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / jnp.where(denominator == 0, 1, denominator)


def _shortfall(logits: Array, component: Component, p: Array) -> Float[Array, "1 *batch"]:
    marginals = component.marginals()
    line, weight = marginals.line(), jax.nn.softmax(logits, axis=0)
    proper = (p > 0) & (p < 1)
    share = jnp.where(proper, p, 0.5)
    u = quantile_on_line(logits, line, share)
    if isinstance(marginals, Warped):
        below = _lower_mean_warped(weight, marginals, u)
    else:
        below = jnp.sum(weight * line.lower_means(u[None])[:, 0], axis=0)
    whole = jnp.sum(jnp.where(weight == 0, 0, weight * marginals.moments().mean[:, 0]), axis=0)
    end = marginals.from_line(jnp.full_like(u, -jnp.inf)[None])[0]
    inner = jnp.where(whole == -jnp.inf, whole, below / share)  # of a lower tail without a mean
    return jnp.where(proper, inner, jnp.where(p == 1, whole, jnp.where(p == 0, end, jnp.nan)))[None]


def _lower_mean_warped(weight: Array, marginals: Warped, u: Array) -> Array:
    """E[Y; Y <= y(u)]."""
    line = marginals.line()

    def integrand(v: Array) -> Array:
        density = jnp.sum(weight * jnp.exp(line.target_log_probs(v[:, None, None])[:, :, 0]), axis=1)
        return density * marginals.from_line(v[:, None], axis=1)[:, 0]

    cut = jnp.minimum(jnp.concatenate([jnp.broadcast_to(line.loc[:, 0], weight.shape[:1] + u.shape), 0 * u[None], u[None]]), u)
    return integrate(integrand, jnp.sort(cut, axis=0), jnp.max(line.scale[:, 0], axis=0), right=False).value
