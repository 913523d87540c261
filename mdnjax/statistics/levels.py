"""Quantiles of mixtures on the real line, batch-last: levels of the same mixture share what is computed for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from mdnjax.components.diagonal import HALF_LOG_2PI
from mdnjax.statistics.inversion import Found, invert
from mdnjax.statistics.moments import weighted
from mdnjax.types import Array, Float

ROUNDING = 6  # errors of a sum over components, in units of its last digit: a search for less would never end
MAX_LEVELS = 32  # that share a mixture; they are computed one after the other


def quantile_on_line(logits: Array, on_line: Any, lower: Array, tail: Array) -> Float[Array, "..."]:
    """Returns the point of the real line with probability `tail` below it, where `lower` holds, else above it.

    `on_line` are the components there; tails are at most 1/2. Axes that the mixtures do not have are those of levels, which
    share what is computed for a mixture.
    """
    lower, tail = jnp.broadcast_arrays(lower, tail)
    batch = jnp.broadcast_shapes(logits.shape[1:], tail.shape)
    shared = _shared_axes(logits.shape[1:], batch)
    weight, lower, tail = (
        jax.nn.softmax(_by_level(logits, shared, 1), axis=0),
        *(_by_level(jnp.broadcast_to(values, batch), shared, 0) for values in (lower, tail)),
    )
    on_line = jax.tree.map(lambda leaf: _by_level(leaf, shared, 2), on_line)
    u = _level_quantiles(weight, on_line, lower, tail)
    levels = [batch[axis] for axis in shared]
    return jnp.moveaxis(u.reshape(*levels, *u.shape[1:]), range(len(shared)), shared)


def _shared_axes(mixtures: tuple[int, ...], batch: tuple[int, ...]) -> list[int]:
    """Returns the batch axes of levels that share a mixture; none, if they have too many levels."""
    shared = [axis for axis, (own, full) in enumerate(zip(mixtures, batch, strict=True)) if own < full]
    return shared if math.prod(batch[axis] for axis in shared) <= MAX_LEVELS else []


def _by_level(values: Array, shared: list[int], start: int) -> Array:
    """Moves the batch axes of levels, which begin at `start`, before the others, as one axis."""
    moved = jnp.moveaxis(values, [start + axis for axis in shared], range(start, start + len(shared)))
    end = start + len(shared)
    return moved.reshape(*moved.shape[:start], math.prod(moved.shape[start:end]), *moved.shape[end:])


def _bracket(weight: Array, on_line: Any, lower: Array, tail: Array) -> tuple[Array, Array, Array, Array]:
    """Returns ends that bracket quantiles, a start between them, and the narrowest scale.

    The ends are sums over components but not over levels, since these would take as long as the search. The start is the quantile
    of a single component with about the same mean and variance.
    """
    loc, scale = on_line.loc[:, 0], on_line.scale[:, 0]
    is_used = (weight > 0) | jnp.isnan(loc + scale)  # a component of weight 0 does not widen the bracket, unless it is nan
    first, last = jnp.min(jnp.where(is_used, loc, jnp.inf), axis=0), jnp.max(jnp.where(is_used, loc, -jnp.inf), axis=0)
    narrowest, widest = jnp.min(jnp.where(is_used, scale, jnp.inf), axis=0), jnp.max(jnp.where(is_used, scale, 0), axis=0)
    heaviest = type(on_line)(*(jnp.min(leaf, axis=0, keepdims=True) for leaf in on_line))  # the fewest degrees of freedom
    near, far = (bound[0, 0] for bound in heaviest.tail_bounds(tail))
    low, high = jnp.where(lower, first - widest * far, first), jnp.where(lower, last, last + widest * far)
    mean = jnp.sum(weighted(weight, loc), axis=0)
    spread = jnp.sqrt(jnp.sum(weighted(weight, scale**2 + (loc - mean) ** 2), axis=0))
    start = mean + jnp.where(lower, -0.5, 0.5) * spread * (near + far)
    start = jnp.where(jnp.isfinite(start), jnp.clip(start, low, high), 0.5 * (low + high))
    return low, start, high, jnp.broadcast_to(narrowest, tail.shape)


def sum_of_components(terms: Float[Array, "K *batch"]) -> Float[Array, "*batch"]:
    """Returns the sum over the first axis as a product with ones, for which a CPU computes the terms in vectors.

    A plain sum would be one loop with the terms, which XLA's compiler for CPUs does not vectorise: it takes four times as long.
    """
    num, *batch = terms.shape
    sums = jnp.tensordot(jnp.ones(num, terms.dtype), terms.reshape(num, math.prod(batch)), 1, precision="highest")
    return sums.reshape(batch)


def _level_quantiles(weight: Array, on_line: Any, lower: Array, tail: Array) -> Float[Array, "Q *batch"]:
    """The search is on the scale of normal quantiles, where the cdf is nearly linear in u."""
    sign, epsilon, tiny = jnp.where(lower, 1, -1).astype(tail.dtype), jnp.finfo(tail.dtype).eps, jnp.finfo(tail.dtype).tiny

    def tail_at(u: Array) -> Array:
        return jnp.sum(weight * on_line.tails(u[None], lower)[:, 0], axis=0)

    def excess(u: Array) -> Array:
        """Returns the cdf of u minus p."""
        return sign * (tail_at(u) - tail)

    def sums_at(level: tuple[Array, Array]) -> tuple[Array, Array]:
        """Returns tail and density of one level."""
        u, lower = (part[None] for part in level)
        tails, log_probs = on_line.tails(u[None], lower)[:, 0], on_line.target_log_probs(u[None])[:, 0]
        return sum_of_components(weight * tails)[0], sum_of_components(weight * jnp.exp(log_probs))[0]

    def score_at(u: Array) -> Found:
        share, density = jax.lax.map(sums_at, (u, lower))
        score = ndtri(jnp.clip(share, tiny, 1 - epsilon / 2))
        normal = jnp.exp(-0.5 * score**2 - HALF_LOG_2PI)
        return Found(sign * score, density / normal, ROUNDING * epsilon * share / normal, share <= 0.5)

    low, start, high, narrowest = jax.lax.stop_gradient(_bracket(weight, on_line, lower, tail))

    def solve(_: Callable[[Array], Array], __: Array) -> Array:
        return invert(score_at, sign * ndtri(tail), low, start, high, narrowest)

    def tangent_solve(linear: Callable[[Array], Array], right: Array) -> Array:
        density = linear(jnp.ones_like(right))
        return right / jnp.where(density > 0, density, jnp.inf)  # the density may underflow to 0 between components

    return jax.lax.custom_root(excess, start, solve, tangent_solve)
