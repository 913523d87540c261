"""Inverts increasing functions at several values each, by inverse interpolation between points where they are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.types import Array, Bool, Float, Int

MAX_ITERATIONS = 200


class Found(NamedTuple):
    """The function at points: value, slope and rounding error of the value, and whether these may be used for other targets."""

    value: Float[Array, "Q ..."]
    slope: Float[Array, "Q ..."]
    noise: Float[Array, "Q ..."]
    is_shared: Bool[Array, "Q ..."]


class End(NamedTuple):
    """One end of the interval in which a solution is; its value is infinite as long as only its sign is known."""

    u: Float[Array, "Q ..."]
    value: Float[Array, "Q ..."]
    slope: Float[Array, "Q ..."]


class Search(NamedTuple):
    """The next points, the ends around them, the distance of the target from the nearer end, and which solutions are found."""

    u: Float[Array, "Q ..."]
    below: End
    above: End
    distance: Float[Array, "Q ..."]
    done: Bool[Array, "Q ..."]
    num_steps: Int[Array, ""]


def invert(
    function: Callable[[Array], Found], target: Array, low: Array, start: Array, high: Array, length: Array
) -> Float[Array, "Q ..."]:
    """Returns u with function(u) = target, up to the rounding error of the function or the last digit of u or of `length`.

    The first axis holds the targets of one function, in order, since each also uses the points of its neighbours. The other axes
    hold many functions. A solution is between the nearest points on either side of it. The next point is that of the cubic
    polynomial u(value) through both with their slopes, or Newton's point if the function is known at one of them alone. It is
    the middle if the last point was not twice as near to the target. A solution does not depend on how long others take. A point
    is a solution only after the function was evaluated there, because its slope may jump near the point.
    """
    epsilon, tiny, infinite = jnp.finfo(low.dtype).eps, jnp.finfo(low.dtype).tiny, jnp.full_like(target, jnp.inf)

    def is_narrow(below: End, above: End) -> Array:
        nearer = jnp.minimum(jnp.abs(below.u), jnp.abs(above.u))
        return ~(above.u - below.u > 2 * epsilon * nearer + (tiny + 0.5 * epsilon * length))

    def step(search: Search) -> Search:
        found = function(search.u)
        below, above = (_tightened(end, search.u, found, target, sign) for end, sign in ((search.below, 1), (search.above, -1)))
        for shift in (1, -1) if len(target) > 1 else ():  # the points of the next and of the last target
            u, *others = (jnp.roll(values, shift, axis=0) for values in (search.u, *found))
            other = Found(*others)
            below, above = (_tightened(end, u, other, target, sign, other.is_shared) for end, sign in ((below, 1), (above, -1)))
        miss = jnp.abs(target - found.value)
        u, distance, is_regular = _between(below, above, target)
        is_regular &= miss <= 0.5 * search.distance
        u = jnp.where(is_regular, u, below.u + 0.5 * (above.u - below.u))
        is_exact = ~(miss > found.noise)
        ended = is_narrow(below, above)
        nearer = jnp.where(jnp.abs(target - below.value) < jnp.abs(target - above.value), below.u, above.u)
        u = jnp.where(is_exact, jnp.where(jnp.isnan(miss), jnp.nan, search.u), jnp.where(ended, nearer, u))
        u, distance = jnp.where(search.done, search.u, u), jnp.where(is_regular, distance, jnp.inf)
        return Search(u, below, above, distance, search.done | is_exact | ended, search.num_steps + 1)

    def unfinished(search: Search) -> Array:
        return (search.num_steps < MAX_ITERATIONS) & ~jnp.all(search.done)

    ends = End(low, -infinite, 0 * infinite), End(high, infinite, 0 * infinite)
    first = Search(start, *ends, infinite, is_narrow(*ends), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, step, first).u


def _tightened(end: End, u: Array, found: Found, target: Array, sign: int, is_good: Array | bool = True) -> End:
    """Replaces an end by a point where that is nearer, on the same side (sign 1: below the target), and good."""
    nearer = is_good & (sign * (found.value - target) < 0) & (sign * (u - end.u) > 0)
    return End(*(jnp.where(nearer, new, old) for new, old in zip((u, *found[:2]), end, strict=True)))


def _between(below: End, above: End, target: Array) -> tuple[Array, Array, Array]:
    """Returns the next point, the distance of the target from the nearer end, and whether the point is between the ends."""
    near_below = target - below.value < above.value - target
    near, far = (
        jax.tree.map(lambda a, b, first=first: jnp.where(near_below == first, a, b), below, above) for first in (True, False)
    )
    distance = target - near.value
    is_known = jnp.isfinite(far.value)
    length = jnp.where(is_known, far.value - near.value, 1)
    secant = (far.u - near.u) / length
    inverse, far_inverse = (jnp.minimum(1 / end.slope, 3 * secant) for end in (near, far))  # so that the polynomial is monotone
    t = distance / length
    polynomial = inverse + t * (3 * secant - 2 * inverse - far_inverse + t * (inverse + far_inverse - 2 * secant))
    u = near.u + distance * jnp.where(is_known, polynomial, 1 / near.slope)
    return u, jnp.abs(distance), (u > below.u) & (u < above.u)
