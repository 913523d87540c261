"""Gaussian components whose targets share a few factors: covariance F F^T + diag(scale^2)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import triangular
from mdnjax.components.diagonal import HALF_LOG_2PI, Diagonal
from mdnjax.components.full import Full
from mdnjax.components.location_scale import Sizes, blocks, diagonal_matrix, positive_scale, raw_of_scale
from mdnjax.types import AnyArray, Array, Float, PRNGKey


class LowRank(NamedTuple):
    """Locations `[*batch, K, D]`, factors F `[*batch, K, D, R]` and independent standard deviations `[*batch, K, D]`.

    y = loc + F u + scale z, with u[R] and z[D] standard normal.
    """

    loc: Float[Array, "..."]
    factor: Float[Array, "..."]
    scale: Float[Array, "..."]

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Returns the sizes of the blocks of network outputs: locations, raw scales, factors."""
        num_locations = sizes.num_components * sizes.num_targets
        return num_locations, num_locations, num_locations * sizes.rank

    @classmethod
    def from_raw(cls, raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> LowRank:
        """loc = raw, scale = scale_floor + exp(min(raw, 40)), factor = raw."""
        loc, raw_scale, factor = blocks(raw, sizes[:2], sizes[:2], tuple(sizes))
        return cls(loc, factor, positive_scale(raw_scale, scale_floor))

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        factor = jnp.zeros(loc.size * sizes.rank, loc.dtype)
        return jnp.concatenate([loc.ravel(), raw_of_scale(sd, scale_floor).ravel(), factor])

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, F F^T + diag(scale^2)), by the matrix M = I + F^T diag(scale^-2) F of size R x R.

        The squared distance is min_u |(y - loc - F u) / scale|^2 + |u|^2, a sum of squares. The usual difference (Woodbury's
        identity) loses all digits if the factors are much larger than the scales.
        """
        factor = self.factor / self.scale[:, :, None]
        z = (y - self.loc) / self.scale
        tril = self._inner_tril(factor)
        projected = jnp.sum(factor * z[:, :, None], axis=1)
        u = triangular.solve_transposed(tril, triangular.solve(tril, projected))
        residual = z - jnp.sum(factor * u[:, None], axis=2)
        distance = jnp.sum(residual**2, axis=1) + jnp.sum(u**2, axis=1)
        log_volume = triangular.log_determinant(tril) + jnp.sum(jnp.log(self.scale), axis=1)
        return -0.5 * distance - log_volume - HALF_LOG_2PI * self.loc.shape[1]

    def full(self) -> Full:
        """Returns the same components as components of the full family."""
        return Full.from_covariances(self.loc, self.covariances())

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "K D ..."], Float[Array, "K D ..."]]:
        return self.full().conditionals(y)

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """Draws loc + F u + scale z, with u and z standard normal."""
        factor_key, scale_key = jax.random.split(noise_key)
        u = jax.random.normal(factor_key, (self.loc.shape[0], *self.factor.shape[2:]), self.loc.dtype)
        z = jax.random.normal(scale_key, self.loc.shape, self.loc.dtype)
        return self.loc + jnp.sum(self.factor * u[:, None], axis=2) + self.scale * z

    def covariances(self) -> Float[Array, "K D D *batch"]:
        return jnp.sum(self.factor[:, :, None] * self.factor[:, None], axis=3) + diagonal_matrix(self.scale**2)

    def marginals(self) -> Diagonal:
        """Returns the marginal distribution of each target."""
        return Diagonal(self.loc, jnp.sqrt(jnp.sum(self.factor**2, axis=2) + self.scale**2))

    def entropies(self) -> Float[Array, "K *batch"]:
        log_volume = triangular.log_determinant(self._inner_tril(self.factor / self.scale[:, :, None]))
        return (0.5 + HALF_LOG_2PI) * self.loc.shape[1] + log_volume + jnp.sum(jnp.log(self.scale), axis=1)

    def select(self, targets: tuple[int, ...]) -> LowRank:
        """Returns the joint distribution of some of the targets."""
        return jax.tree.map(lambda leaf: leaf[:, list(targets)], self)

    def condition(self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Full:
        return self.full().condition(rest, given, y)

    def affine(self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> LowRank:
        """Returns the components of `offset + factor * y`, for a positive factor; batch-first."""
        factor = jnp.asarray(factor)
        return LowRank(jnp.asarray(offset + factor * self.loc), factor[:, None] * self.factor, factor * self.scale)

    def stretch(self, factor: float | Float[Array, ""]) -> LowRank:
        """Returns components with the same locations and all standard deviations times a factor."""
        return self._replace(factor=self.factor * factor, scale=self.scale * factor)

    @staticmethod
    def _inner_tril(factor: Float[Array, "K D R *batch"]) -> Float[Array, "K R R *batch"]:
        """Returns the Cholesky factor of I + F^T F."""
        identity = diagonal_matrix(jnp.ones_like(factor[:, 0]))
        return triangular.cholesky(identity + jnp.sum(factor[:, :, :, None] * factor[:, :, None], axis=1))
