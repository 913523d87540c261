"""Roots of many functions at once, each between two points at which its sign is known."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mdnjax.types import Array, Float

MAX_ITERATIONS = 200
MAX_PART = 32  # elements that are computed at once, if there may be more than twice as many


def bracketed_root(
    function: Callable[[Array], Array], low: Array, high: Array, width: Array | float = 0.0
) -> Float[Array, "..."]:
    """Returns a root of a function that is negative at low and positive at high, for all elements at once.

    It is exact to the last digit, or to a `width`, which a root near zero reaches in fewer steps.

    Inverse quadratic interpolation where three points allow it, else bisection. The function is not evaluated at low and high,
    so that the program contains and compiles it only once. Source: Chandrupatla (1997), A new hybrid quadratic/bisection
    algorithm for finding the zero of a nonlinear function without using derivatives.
    """
    epsilon, tiny = jnp.finfo(low.dtype).eps, jnp.finfo(low.dtype).tiny

    def unfinished(state: tuple[Array, ...]) -> Array:
        a, b, _, f_a, f_b, _, _, count = state
        return (count < MAX_ITERATIONS) & jnp.any((jnp.abs(a - b) > _width(a, b, f_a, f_b)) & (f_a != 0) & (f_b != 0))

    def _width(a: Array, b: Array, f_a: Array, f_b: Array) -> Array:
        return 2 * epsilon * jnp.abs(jnp.where(jnp.abs(f_a) < jnp.abs(f_b), a, b)) + (tiny + width)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, c, f_a, f_b, f_c, t, count = state  # a is the newest point, b is on the other side of the root, c was replaced last
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
        min_t = jnp.clip(_ratio(0.5 * _width(a, b, f_a, f_b), jnp.abs(b - a)), 0, 0.5)
        t = jnp.clip(jnp.where(usable & jnp.isfinite(quadratic), quadratic, 0.5), min_t, 1 - min_t)
        return a, b, c, f_a, f_b, f_c, t, count + 1

    f_low, f_high = (jnp.full_like(low, end) for end in (-jnp.inf, jnp.inf))  # at the ends only the signs are known
    start = (low, high, low, f_low, f_high, f_low, jnp.full_like(low, 0.5), jnp.asarray(0))
    a, b, _, f_a, f_b, *_ = jax.lax.while_loop(unfinished, step, start)
    return jnp.where(jnp.abs(f_a) < jnp.abs(f_b), a, b)


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / jnp.where(denominator == 0, 1, denominator)


def in_parts(function: Callable[..., Array], used: Array, *arrays: Array) -> Float[Array, "M *batch"]:
    """Returns function(*arrays), part by part along the first axis, until no part has a used element; used ones come first.

    A mixture of 200 components may have 400 extrema, and has some tens of them.
    """
    length, num_parts = used.shape[0], -(-used.shape[0] // MAX_PART)
    if length <= 2 * MAX_PART:
        return function(*arrays)
    padding = [(0, num_parts * MAX_PART - length), *((0, 0) for _ in used.shape[1:])]
    used, *parts = (jnp.pad(each, padding).reshape(num_parts, MAX_PART, *each.shape[1:]) for each in (used, *arrays))
    is_used = jnp.append(jnp.any(used, axis=range(1, used.ndim)), False)

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        i, results = state
        return i + 1, results.at[i].set(function(*(part[i] for part in parts)))

    _, results = jax.lax.while_loop(lambda state: is_used[state[0]], step, (jnp.asarray(0), parts[0]))
    return results.reshape(-1, *used.shape[2:])[:length]
