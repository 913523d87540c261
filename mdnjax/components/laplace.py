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

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -0.5 * (1 + jnp.abs(z)) * jnp.exp(-jnp.abs(z))

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns the exact quantile as both bounds."""
        z = jnp.broadcast_to(-jnp.log(2 * tail), jnp.broadcast_shapes(tail.shape, self.loc.shape))
        return z, z

    def standard_statistics(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        one = jnp.ones_like(self.scale)
        return 2 * one, 24 * one, (1 + math.log(2)) * one

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return jax.random.laplace(noise_key, self.loc.shape, self.loc.dtype)
