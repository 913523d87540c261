"""Gaussian components with a diagonal covariance (Bishop 1994, eq. 23, with one scale per target)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components.location_scale import LocationScale, Sizes, blocks, positive_scale, raw_of_scale
from mdnjax.types import Array, Float, PRNGKey

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class _Fields(NamedTuple):
    loc: Float[Array, "..."]
    scale: Float[Array, "..."]


class Diagonal(_Fields, LocationScale):
    """Locations and standard deviations, `[*batch, K, D]`."""

    __slots__ = ()

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Sizes of the blocks of network outputs that one example needs: locations, raw scales."""
        return (sizes.num_components * sizes.num_targets,) * 2

    @classmethod
    def from_raw(cls, raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> Diagonal:
        """loc = raw, scale = scale_floor + exp(min(raw, 40))."""
        loc, raw_scale = blocks(raw, *[sizes[:2]] * 2)
        return cls(loc, positive_scale(raw_scale, scale_floor))

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """The network outputs whose components have these locations and standard deviations, and independent targets."""
        return jnp.concatenate([loc.ravel(), raw_of_scale(sd, scale_floor).ravel()])

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -0.5 * z**2 - HALF_LOG_2PI

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, scale_k^2), summed over the targets; the hot path, with its constant taken out of the sum."""
        z = (y - self.loc) / self.scale
        return -jnp.sum(0.5 * z**2 + jnp.log(self.scale), axis=1) - HALF_LOG_2PI * self.loc.shape[1]

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return 0.5 * jax.lax.erfc(-math.sqrt(0.5) * z)  # as exact as ndtr, which computes two such functions and chooses

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return -jnp.exp(self.log_density(z))

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """The quantile itself, twice."""
        z = jnp.broadcast_to(-jax.scipy.special.ndtri(tail), jnp.broadcast_shapes(tail.shape, self.loc.shape))
        return z, z

    def spread_numbers(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        one = jnp.ones_like(self.scale)
        return one, 3 * one, (0.5 + HALF_LOG_2PI) * one

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return jax.random.normal(noise_key, self.loc.shape, self.loc.dtype)
