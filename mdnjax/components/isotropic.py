"""Gaussian components with one scale for all targets (Bishop 1994, eq. 23)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from mdnjax.components.diagonal import HALF_LOG_2PI, Diagonal
from mdnjax.components.location_scale import Sizes, blocks, positive_scale, raw_of_scale
from mdnjax.types import AnyArray, Array, Float, PRNGKey


class Isotropic(NamedTuple):
    """Locations `[*batch, K, D]` and standard deviations `[*batch, K]`.

    Only the density is computed here; everything else is computed by the diagonal family with equal scales.
    """

    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Returns the sizes of the blocks of network outputs: locations, raw scales."""
        return sizes.num_components * sizes.num_targets, sizes.num_components

    @classmethod
    def from_raw(cls, raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> Isotropic:
        """loc = raw, scale = scale_floor + exp(min(raw, 40))."""
        loc, raw_scale = blocks(raw, sizes[:2], sizes[:1])
        return cls(loc, positive_scale(raw_scale, scale_floor))

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        scale = jnp.sqrt(jnp.mean(sd**2, axis=1))
        return jnp.concatenate([loc.ravel(), raw_of_scale(scale, scale_floor)])

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, scale_k^2 I)."""
        num_targets = self.loc.shape[1]
        z = (y - self.loc) / self.scale[:, None]
        return -0.5 * jnp.sum(z**2, axis=1) - num_targets * (jnp.log(self.scale) + HALF_LOG_2PI)

    def marginals(self) -> Diagonal:
        """Returns the marginal distribution of each target."""
        return Diagonal(self.loc, jnp.broadcast_to(self.scale[:, None], self.loc.shape))

    def covariances(self) -> Float[Array, "K D D *batch"]:
        return self.marginals().covariances()

    def entropies(self) -> Float[Array, "K *batch"]:
        return self.marginals().entropies()

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return self.marginals().draw(noise_key)

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "K D ..."], Float[Array, "K D ..."]]:
        return self.marginals().conditionals(y)

    def select(self, targets: tuple[int, ...]) -> Isotropic:
        return Isotropic(self.loc[:, list(targets)], self.scale)

    def condition(self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Isotropic:
        return self.select(rest)

    def affine(self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Diagonal:
        """Returns diagonal components, because in other units the scales of the targets differ; batch-first."""
        scale = jnp.broadcast_to(self.scale[..., None], self.loc.shape)
        return Diagonal(self.loc, scale).affine(offset, factor)

    def stretch(self, factor: float | Float[Array, ""]) -> Isotropic:
        return self._replace(scale=self.scale * factor)
