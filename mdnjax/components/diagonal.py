"""Gaussian components with a diagonal covariance (Bishop 1994, eq. 23, with one scale per target)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.types import AnyArray, Array, Float, PRNGKey

# exp(40) is far above any scale that is meant, and its square is still finite in float32
LARGEST_RAW_SCALE = 40.0


class Diagonal(NamedTuple):
    """Locations and standard deviations, `[*batch, K, D]`.

    The methods are kernels, written for one example (`[K, D]`): batch axes, where there are any, trail (`[K, D, *batch]`).
    """

    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    @staticmethod
    def raw_sizes(num_components: int, num_targets: int) -> tuple[int, ...]:
        """Sizes of the blocks of network outputs that one example needs: locations, raw scales."""
        return (num_components * num_targets,) * 2

    @classmethod
    def from_raw(
        cls, raw: Float[Array, "P *batch"], num_components: int, num_targets: int, scale_floor: float | Float[Array, ""]
    ) -> Diagonal:
        """scale = scale_floor + exp(min(raw, 40)): finite, with a finite gradient, for raw outputs of any size."""
        loc, raw_scale = raw.reshape(2, num_components, num_targets, *raw.shape[1:])
        return cls(loc, scale_floor + jnp.exp(jnp.minimum(raw_scale, LARGEST_RAW_SCALE)))

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, scale_k^2), summed over the targets."""
        z = (y - self.loc) / self.scale
        return -jnp.sum(0.5 * z**2 + jnp.log(self.scale), axis=1) - 0.5 * math.log(2 * math.pi) * self.loc.shape[1]

    def cdfs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        """Phi((y - loc) / scale), one for each component and target."""
        return jax.scipy.special.ndtr((y - self.loc) / self.scale)

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """One draw from each component."""
        return self.loc + self.scale * jax.random.normal(noise_key, self.loc.shape, self.loc.dtype)

    def means(self) -> Float[Array, "K D *batch"]:
        return self.loc

    def variances(self) -> Float[Array, "K D *batch"]:
        return self.scale**2

    def affine(self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Diagonal:
        """The components of `offset + factor * y`, for a positive factor; batch-first."""
        return Diagonal(jnp.asarray(offset + factor * self.loc), jnp.asarray(factor * self.scale))
