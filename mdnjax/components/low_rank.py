"""Gaussian components whose targets share a few factors: covariance F F^T + diag(scale^2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import triangular
from mdnjax.components.diagonal import HALF_LOG_2PI, Diagonal
from mdnjax.components.full import Full
from mdnjax.components.location_scale import Sizes, blocks, diagonal_matrix, positive_scale, raw_of_scale, split_infinite
from mdnjax.types import AnyArray, Array, Float, PRNGKey

MAX_ROWS_AT_ONCE = 6  # in a program without a loop, whose compiling time grows faster than the square of this number


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
        infinite, y = split_infinite(y)  # sums over correlated targets would be inf - inf
        log_volume, squares = self.log_volume_and_squares((y - self.loc) / self.scale)
        log_probs = -0.5 * squares - log_volume - HALF_LOG_2PI * self.loc.shape[1]
        return log_probs - jnp.where(jnp.any(infinite, axis=0), jnp.inf, 0)

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
        log_volume, _ = self.log_volume_and_squares(jnp.zeros_like(self.scale))
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

    def log_volume_and_squares(self, z: Float[Array, "K D ..."]) -> tuple[Float[Array, "K ..."], Float[Array, "K ..."]]:
        """Returns log det(F F^T + diag(scale^2)) / 2 and min_u |z - F u / scale|^2 + |u|^2.

        The minimum is the sum of the squares that a QR decomposition of [F / scale; I] leaves of [z; 0]. A few targets are
        decomposed at once; more are added block by block in a loop, because without a loop 32 targets take a minute to compile.
        """
        num_targets, rank = self.factor.shape[1:3]
        ratio, zero = self.factor / self.scale[:, :, None], jnp.zeros_like(self.scale[:, 0])
        upper = [[zero + (r == c) for c in range(rank)] + [jnp.zeros_like(z[:, 0])] for r in range(rank)]
        if num_targets <= MAX_ROWS_AT_ONCE:
            rows = [[*(ratio[:, d, r] for r in range(rank)), z[:, d]] for d in range(num_targets)]
            upper, squares = _add_rows(upper, rows)
        else:
            upper, squares = _add_blocks(upper, ratio, z)
        return jnp.sum(jnp.log(self.scale), axis=1) + sum(jnp.log(upper[r][r]) for r in range(rank)), squares


def _add_blocks(upper: list[list[Array]], ratio: Array, z: Array) -> tuple[list[list[Array]], Array]:
    """Does the same as `_add_rows` for the rows [ratio, z], a block of them at a time."""
    shape = jnp.broadcast_shapes(ratio[:, 0, 0].shape, z[:, 0].shape)
    table = jnp.concatenate([jnp.broadcast_to(part, (*part.shape[:3], *shape[1:])) for part in (ratio, z[:, :, None])], axis=2)
    rows = jnp.moveaxis(table, 0, 2)
    missing = -rows.shape[0] % MAX_ROWS_AT_ONCE
    rows = jnp.concatenate([rows, jnp.zeros((missing, *rows.shape[1:]), rows.dtype)])  # rows of zeros change nothing

    def add(carry: Any, block: Array) -> Any:
        upper, total = carry
        upper, squares = _add_rows(upper, [list(row) for row in block])
        return (upper, total + squares), None

    start = jax.tree.map(lambda entry: jnp.broadcast_to(entry, shape), upper), jnp.zeros(shape, rows.dtype)
    return jax.lax.scan(add, start, rows.reshape(-1, MAX_ROWS_AT_ONCE, *rows.shape[1:]))[0]


def _add_rows(upper: list[list[Array]], rows: list[list[Array]]) -> tuple[list[list[Array]], Array]:
    """Returns the upper triangle of a QR decomposition after more rows, and the squares of what is left of their last entries."""
    rows, added = upper + rows, []
    for r in range(len(upper)):
        first, rows = _eliminate(rows)
        added.append([jnp.zeros_like(first[0])] * r + first)
    return added, sum((row[0] * row[0] for row in rows), start=jnp.zeros_like(rows[0][0]))


def _eliminate(rows: list[list[Array]]) -> tuple[list[Array], list[list[Array]]]:
    """Returns the first row of R in a QR decomposition, and the rows that remain, without the first column.

    A Householder reflection after a step of Gaussian elimination with the row whose first entry is the largest. That row may be
    larger than others by the ratio of a factor to a scale, and a reflection alone would leave its rounding errors in them.
    No number is squared that is larger than 1. Source: Cox and Higham (1998), on the order of the rows.
    """
    largest, position = jnp.abs(rows[0][0]), jnp.zeros(rows[0][0].shape, jnp.int32)
    for number, row in enumerate(rows[1:], start=1):
        larger = jnp.abs(row[0]) > largest
        largest, position = jnp.where(larger, jnp.abs(row[0]), largest), jnp.where(larger, number, position)
    chosen = [position == number for number in range(len(rows))]
    first_column, *others = zip(*rows, strict=True)
    pivot, column = _exchange(first_column, chosen)
    shares = [entry / pivot for entry in column]
    length = jnp.sqrt(1 + sum(share * share for share in shares))
    first, columns = [jnp.abs(pivot) * length], []
    for other in others:
        entry_of_pivot, entries = _exchange(other, chosen)
        rest = [entry - share * entry_of_pivot for entry, share in zip(entries, shares, strict=True)]
        along = sum((share * entry for share, entry in zip(shares, rest, strict=True)), start=jnp.zeros_like(length)) / length
        first.append(jnp.sign(pivot) * (entry_of_pivot * length + along))
        columns.append([entry - share * along / (1 + length) for share, entry in zip(shares, rest, strict=True)])
    return first, [list(row) for row in zip(*columns, strict=True)]


def _exchange(column: Sequence[Array], chosen: list[Array]) -> tuple[Array, list[Array]]:
    """Returns the entry of the chosen row, and those of the other rows, with the first row in the place of the chosen one."""
    pivot = column[0]
    for flag, entry in zip(chosen[1:], column[1:], strict=True):
        pivot = jnp.where(flag, entry, pivot)
    return pivot, [jnp.where(flag, column[0], entry) for flag, entry in zip(chosen[1:], column[1:], strict=True)]
