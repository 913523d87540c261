"""Laplace components: independent targets with exponential tails on both sides."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mdnjax.components.location_scale import LocationAndScale, LocationScale, Sizes, raw_of_scale
from mdnjax.types import Array, Float, PRNGKey


class Laplace(LocationAndScale, LocationScale):
    """Locations and scales, `[*batch, K, D]`; the standard deviation is sqrt(2) scale."""

    __slots__ = ()

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        return jnp.concatenate([loc.ravel(), raw_of_scale(sd / math.sqrt(2), scale_floor).ravel()])

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """log f(z) = -|z| - log 2."""
        return -jnp.abs(z) - math.log(2)

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        tail = 0.5 * jnp.exp(-jnp.abs(z))
        return jnp.where(z < 0, tail, 1 - tail)

    def log_lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """log F(z) = z - log 2 below 0."""
        near = jnp.where(z < 0, -1.0, z)
        return jnp.where(z < 0, z - math.log(2), jnp.log1p(-0.5 * jnp.exp(-near)))

    def log_between_standard(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns |c| - log 2 + log(1 - exp(-|b - a|)) on one side of 0, where c is the end nearer to 0, and else
        log(1 - exp(a) / 2 - exp(-b) / 2)."""
        one_side, tiny = (a >= 0) | (b <= 0), jnp.finfo(self.loc.dtype).tiny
        nearer, length = jnp.minimum(jnp.abs(a), jnp.abs(b)), jnp.where(one_side, b - a, 1.0)
        side = -nearer - math.log(2) + jnp.log(-jnp.expm1(-length))
        both = -0.5 * (jnp.expm1(jnp.where(one_side, -1.0, a)) + jnp.expm1(jnp.where(one_side, -1.0, -b)))
        return jnp.where(one_side, side, jnp.log(jnp.maximum(both, tiny)))

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -0.5 * (1 + jnp.abs(z)) * jnp.exp(-jnp.abs(z))

    def lower_square(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        tail = 0.5 * jnp.exp(-jnp.abs(z)) * (z**2 + 2 * jnp.abs(z) + 2)
        return jnp.where(z < 0, tail, 2 - tail)

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns the exact quantile as both bounds."""
        z = jnp.broadcast_to(-jnp.log(2 * tail), jnp.broadcast_shapes(tail.shape, self.loc.shape))
        return z, z

    def standard_statistics(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        one = jnp.ones_like(self.scale)
        return 2 * one, 24 * one, (1 + math.log(2)) * one

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return jax.random.laplace(noise_key, self.loc.shape, self.loc.dtype)


def mean_of_decay(h: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns (1 - exp(-h)) / h, the mean of exp(-t) for t from 0 to h >= 0, without a loss of digits near 0, where it is 1."""
    small = h < jnp.finfo(h.dtype).eps ** 0.25
    safe = jnp.where(small, 1, h)
    return jnp.where(small, 1 - h * (1 / 2 - h * (1 / 6 - h / 24)), -jnp.expm1(-safe) / safe)
