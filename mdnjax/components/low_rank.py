"""Gaussian components whose targets share a few factors: covariance F F^T + diag(scale^2)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import triangular
from mdnjax.components.diagonal import HALF_LOG_2PI, Diagonal
from mdnjax.components.full import Full, split_infinite
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
        """log N(y; loc_k, F F^T + diag(scale^2)), by a QR decomposition of [F / scale; I].

        The squared distance is min_u |(y - loc - F u) / scale|^2 + |u|^2: the square of what a decomposition of these columns
        leaves of [(y - loc) / scale; 0]. The usual difference (Woodbury's identity) loses all digits if the factors are much
        larger than the scales, and the squares in I + F^T diag(scale^-2) F overflow.
        """
        finite, infinity = split_infinite(y)
        z = (finite - self.loc) / self.scale
        log_volume, rest = self._eliminated([z[:, d] for d in range(z.shape[1])])
        return -sum(0.5 * row[0] * row[0] for row in rest) - log_volume - (HALF_LOG_2PI * self.loc.shape[1] + infinity)

    def full(self) -> Full:
        """Returns the same components as components of the full family.

        With covariance / scale^2 = B^T B, B = [F^T / scale; I], the precision's factor is computed from a QR decomposition of B:
        the covariance may overflow, and has lost all digits of the scales if the factors are a few thousand times as large.
        """
        num_targets, rank = self.factor.shape[1:3]
        ratio, zero = self.factor / self.scale[:, :, None], jnp.zeros_like(self.scale[:, 0])
        rows = [[ratio[:, d, r] for d in reversed(range(num_targets))] for r in range(rank)]
        rows = [[zero + (e == d) for d in range(num_targets)] for e in range(num_targets)] + rows
        upper: list[Array] = []
        for d in range(num_targets):
            row, rows = _eliminate(rows)
            upper.append(jnp.stack([zero] * d + row, axis=1))
        flipped = triangular.inverse(jnp.stack(upper, axis=2))
        return Full(self.loc, jnp.swapaxes(jnp.flip(flipped, (1, 2)), 1, 2) / self.scale[:, :, None])

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
        parts = jnp.concatenate([self.factor, self.scale[:, :, None]], axis=2)
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(parts), axis=2))  # the squares of the parts may overflow or underflow
        return Diagonal(self.loc, largest * jnp.sqrt(jnp.sum((parts / largest[:, :, None]) ** 2, axis=2)))

    def entropies(self) -> Float[Array, "K *batch"]:
        log_volume, _ = self._eliminated()
        return (0.5 + HALF_LOG_2PI) * self.loc.shape[1] + log_volume

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

    def _eliminated(self, z: list[Array] | None = None) -> tuple[Float[Array, "K *batch"], list[list[Array]]]:
        """Returns log det(F F^T + diag(scale^2)) / 2, and what a QR decomposition of [F / scale; I] leaves of [z; 0]."""
        ratio, rank = self.factor / self.scale[:, :, None], self.factor.shape[2]
        zero = jnp.zeros_like(self.scale[:, 0])
        rows = [[zero + (r == c) for c in range(rank)] for r in range(rank)]
        rows += [[ratio[:, d, r] for r in range(rank)] for d in range(ratio.shape[1])]
        if z is not None:
            rows = [[*row, last] for row, last in zip(rows, [zero] * rank + z, strict=True)]
        log_volume = jnp.sum(jnp.log(self.scale), axis=1)
        for _ in range(rank):
            (length, *_), rows = _eliminate(rows)
            log_volume = log_volume + jnp.log(length)
        return log_volume, rows


def _eliminate(rows: list[list[Array]]) -> tuple[list[Array], list[list[Array]]]:
    """Returns the first row of R in a QR decomposition, and the rows that remain, without the first column.

    A Householder reflection after a step of Gaussian elimination with the row whose first entry is the largest. That row may be
    larger than others by the ratio of a factor to a scale, and a reflection alone would leave its rounding errors in them.
    No number is squared that is larger than 1. Source: Cox and Higham (1998), on the order of the rows.
    """
    pivot, others = rows[0], []
    for row in rows[1:]:
        larger = jnp.abs(row[0]) > jnp.abs(pivot[0])
        others.append([jnp.where(larger, old, new) for old, new in zip(pivot, row, strict=True)])
        pivot = [jnp.where(larger, new, old) for old, new in zip(pivot, row, strict=True)]
    shares = [row[0] / pivot[0] for row in others]
    length = jnp.sqrt(1 + sum(share * share for share in shares))
    first, columns = [jnp.abs(pivot[0]) * length], []
    for column in range(1, len(pivot)):
        rest = [row[column] - share * pivot[column] for row, share in zip(others, shares, strict=True)]
        along = sum((share * entry for share, entry in zip(shares, rest, strict=True)), start=jnp.zeros_like(length)) / length
        first.append(jnp.sign(pivot[0]) * (pivot[column] * length + along))
        columns.append([entry - share * along / (1 + length) for share, entry in zip(shares, rest, strict=True)])
    return first, [list(row) for row in zip(*columns, strict=True)]
