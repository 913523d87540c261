"""Gaussian components with a diagonal covariance (Bishop 1994, eq. 23, with one scale per target)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mdnjax.components.intervals import log_normal_tail
from mdnjax.components.location_scale import LocationAndScale, LocationScale, Sizes, raw_of_scale
from mdnjax.types import Array, Float, PRNGKey

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Diagonal(LocationAndScale, LocationScale):
    """Locations and standard deviations, `[*batch, K, D]`."""

    __slots__ = ()

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        return jnp.concatenate([loc.ravel(), raw_of_scale(sd, scale_floor).ravel()])

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -0.5 * z**2 - HALF_LOG_2PI

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, scale_k^2), summed over the targets; the constant is outside of the sum, for speed."""
        z = (y - self.loc) / self.scale
        return -jnp.sum(0.5 * z**2 + jnp.log(self.scale), axis=1) - HALF_LOG_2PI * self.loc.shape[1]

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return 0.5 * jax.lax.erfc(-math.sqrt(0.5) * z)  # as accurate as ndtr, which evaluates two such functions and selects one

    def log_lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return log_normal_tail(z)

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -jnp.exp(self.log_density(z))

    def lower_square(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.lower_tail(z) + z * self.lower_mean(z)

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns the exact quantile as both bounds."""
        z = jnp.broadcast_to(-jax.scipy.special.ndtri(tail), jnp.broadcast_shapes(tail.shape, self.loc.shape))
        return z, z

    def standard_statistics(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        one = jnp.ones_like(self.scale)
        return one, 3 * one, (0.5 + HALF_LOG_2PI) * one

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return jax.random.normal(noise_key, self.loc.shape, self.loc.dtype)
