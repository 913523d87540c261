"""Log probabilities of intervals, such as the cells of a lattice: accurate in float32 far into the tails."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import Array, Float

MAX_NARROW = 1.0  # of an interval's length times max(1, |middle|), up to which the density is integrated by quadrature
NUM_NODES = 6  # of the Gauss-Legendre rule; its error in a narrow interval is below that of float32

FAR = 10.0  # standard deviations, beyond which the asymptotic series of the normal tail has all digits of float32

Function = Callable[[Float[Array, "..."]], Float[Array, "..."]]


def log_between(
    log_density: Function, log_lower_tail: Function, low: Float[Array, "..."], high: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Returns log (F(high) - F(low)) of a density that is symmetric around 0, for low < high; they may be infinite.

    An interval whose middle is above 0 is reflected, so that b <= |a|. A narrow one is integrated by quadrature of the density.
    A wide one is log F(b) + log(1 - F(a) / F(b)), where nothing cancels: both tails are of the lower side, in log space.
    """
    reflected = low + high > 0
    a, b = jnp.where(reflected, -high, low), jnp.where(reflected, -low, high)
    open_below, open_above = jnp.isinf(a), jnp.isinf(b)
    a, b = jnp.where(open_below, -1.0, a), jnp.where(open_above, 0.0, b)  # infinite numbers would have nan as gradients
    narrow = ~open_below & ~open_above & ((b - a) * jnp.maximum(1, jnp.abs(a + b) / 2) < MAX_NARROW)
    tail_a = jnp.where(open_below, -jnp.inf, log_lower_tail(jnp.where(narrow, -1.0, a)))
    tail_b = jnp.where(open_above, 0.0, log_lower_tail(jnp.where(narrow, 0.0, b)))
    wide = tail_b + jnp.log1p(-jnp.exp(jnp.minimum(tail_a - tail_b, -jnp.finfo(a.dtype).eps)))
    return jnp.where(narrow, _by_quadrature(log_density, jnp.where(narrow, a, -0.1), jnp.where(narrow, b, 0.1)), wide)


def _by_quadrature(log_density: Function, a: Array, b: Array) -> Float[Array, "..."]:
    """Returns log int_a^b f by a Gauss-Legendre rule in log space."""
    rule = zip(*np.polynomial.legendre.leggauss(NUM_NODES), strict=True)
    middle, half = (a + b) / 2, (b - a) / 2
    at_middle = log_density(middle)
    ratios = (float(weight) * jnp.exp(log_density(middle + half * float(node)) - at_middle) for node, weight in rule)
    return at_middle + jnp.log(half) + jnp.log(sum(ratios, jnp.zeros_like(middle)))


@jax.custom_jvp
def log_normal_tail(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns log Phi(z). Its slope phi(z) / Phi(z) is exact for any z; that of `jax.scipy.special.log_ndtr` loses all digits."""
    return jax.scipy.special.log_ndtr(z)


@log_normal_tail.defjvp
def _log_normal_tail_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Far out the slope is x + 1 / x - 2 / x^3 + 10 / x^5, with x = -z. Source: Abramowitz and Stegun (1964), 26.2.12."""
    (z,), value = primals, log_normal_tail(*primals)
    far = z < -FAR
    near, x = jnp.where(far, 0.0, z), jnp.where(far, -z, FAR)
    slope = jnp.exp(-0.5 * near**2 - jnp.where(far, 0.0, value)) / math.sqrt(2 * math.pi)
    return value, jnp.where(far, x + 1 / x - 2 / x**3 + 10 / x**5, slope) * tangents[0]
