"""The values that targets can take, and the change of variables that carries them to the whole real line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import Array, Float


@jax.tree_util.register_static
class Support(NamedTuple):
    """Bounds of each target, -inf or inf where there is none; no arrays, but part of a program's shape.

    u = log(y - low), or -log(high - y), or log((y - low) / (high - y)), or y, as the bounds are. `axis` is that of the targets.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def select(self, targets: Sequence[int]) -> Support:
        """The support of some of the targets."""
        return Support(tuple(self.low[d] for d in targets), tuple(self.high[d] for d in targets))

    def two_sided(self) -> bool:
        """Whether a target has both bounds."""
        return any(map(math.isfinite, np.subtract(self.high, self.low)))

    def to_line(self, y: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """u(y); -inf at and below the lower bound, inf at and above the upper one."""
        low, high = self._bounds(y, axis)
        inside = (y > low) & (y < high)
        safe = jnp.where(inside, y, self._middle(low, high))  # so that no gradient is nan outside
        above, below = (jnp.log(jnp.where(jnp.isfinite(bound), jnp.abs(safe - bound), 1)) for bound in (low, high))
        u = jnp.where(jnp.isfinite(low) | jnp.isfinite(high), above - below, safe)
        return jnp.where(inside, u, jnp.where(y <= low, -jnp.inf, jnp.inf))

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """y(u), inside of the bounds to the last digit."""
        low, high = self._bounds(u, axis)
        has_low, has_high = jnp.isfinite(low), jnp.isfinite(high)
        start, end = jnp.where(has_low, low, 0), jnp.where(has_high, high, 0)
        growing, falling = jnp.exp(jnp.where(has_low, u, 0)), jnp.exp(jnp.where(has_high, -u, 0))
        between = jnp.where(u < 0, start + (end - start) * jax.nn.sigmoid(u), end - (end - start) * jax.nn.sigmoid(-u))
        y = jnp.where(has_low, jnp.where(has_high, between, start + growing), jnp.where(has_high, end - falling, u))
        return jnp.clip(y, jnp.nextafter(low, high), jnp.nextafter(high, low))

    def log_slope(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """log |du/dy| at u: -u, u, softplus(u) + softplus(-u) - log(high - low), or 0."""
        low, high = self._bounds(u, axis)
        has_low, has_high = jnp.isfinite(low), jnp.isfinite(high)
        both = has_low & has_high
        two_sided = jnp.abs(u) + 2 * jnp.log1p(jnp.exp(-jnp.abs(u))) - jnp.log(jnp.where(both, high - low, 1))
        return jnp.where(both, two_sided, jnp.where(has_low, -u, jnp.where(has_high, u, 0)))

    def _bounds(self, like: Array, axis: int) -> tuple[Array, Array]:
        shape = (-1, *(1 for _ in like.shape[axis + 1 :]))
        return jnp.asarray(self.low, like.dtype).reshape(shape), jnp.asarray(self.high, like.dtype).reshape(shape)

    @staticmethod
    def _middle(low: Array, high: Array) -> Array:
        """Some value inside."""
        start, end = jnp.where(jnp.isfinite(low), low, high - 1), jnp.where(jnp.isfinite(high), high, low + 1)
        return jnp.where(jnp.isfinite(low) | jnp.isfinite(high), (start + end) / 2, 0)
