"""The values that targets can take, and the change of variables from these values to the whole real line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array, Float


@jax.tree_util.register_static
class Support(NamedTuple):
    """The bounds of each target, -inf or inf where there is none; compiled programs depend on them, as they are not arrays.

    u = log(y - low), -log(high - y), log((y - low) / (high - y)) or y, depending on which bounds are finite. `axis` is the axis
    of the targets.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def select(self, targets: Sequence[int]) -> Support:
        """Returns the support of some of the targets."""
        return Support(tuple(self.low[d] for d in targets), tuple(self.high[d] for d in targets))

    def two_sided(self) -> bool:
        """Returns whether a target has two finite bounds."""
        return any(map(math.isfinite, np.subtract(self.high, self.low)))

    def relative(self) -> tuple[list[float], Support]:
        """Returns the lower bound of each target, or the upper one, or 0, and the support of y minus that number."""
        bounds = [low if math.isfinite(low) else high if math.isfinite(high) else 0.0 for low, high in zip(*self, strict=True)]
        low, high = (tuple(end - bound for end, bound in zip(ends, bounds, strict=True)) for ends in self)
        return bounds, Support(low, high)

    def to_line(self, y: Float[AnyArray, "..."], axis: int = 0) -> Any:
        """Returns u(y): -inf at and below the lower bound, inf at and above the upper bound, nan for nan; numpy gives numpy."""
        xp: Any = np if isinstance(y, np.ndarray) else jnp
        low, high = self._bounds(xp, y, axis)
        inside = (y > low) & (y < high)
        safe = xp.where(inside, y, self._middle(xp, low, high))  # so that no gradient is nan outside
        above, below = (xp.log(xp.where(xp.isfinite(bound), xp.abs(safe - bound), 1)) for bound in (low, high))
        u = xp.where(xp.isfinite(low) | xp.isfinite(high), above - below, safe)
        return xp.where(inside, u, xp.where(y <= low, -xp.inf, xp.where(y >= high, xp.inf, xp.nan)))

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns y(u), always strictly between the bounds."""
        low, high = self._bounds(jnp, u, axis)
        has_low, has_high = jnp.isfinite(low), jnp.isfinite(high)
        start, end = jnp.where(has_low, low, 0), jnp.where(has_high, high, 0)
        # Where it is not used, an exponential must not overflow: its gradient would be 0 times infinity.
        growing, falling = jnp.exp(jnp.where(has_low & ~has_high, u, 0)), jnp.exp(jnp.where(has_high & ~has_low, -u, 0))
        between = jnp.where(u < 0, start + (end - start) * jax.nn.sigmoid(u), end - (end - start) * jax.nn.sigmoid(-u))
        y = jnp.where(has_low, jnp.where(has_high, between, start + growing), jnp.where(has_high, end - falling, u))
        return jnp.clip(y, jnp.nextafter(low, high), jnp.nextafter(high, low))

    def log_slope(self, u: Float[AnyArray, "..."], axis: int = 0) -> Any:
        """Returns log |du/dy| at u: -u, u, softplus(u) + softplus(-u) - log(high - low), or 0."""
        xp: Any = np if isinstance(u, np.ndarray) else jnp
        low, high = self._bounds(xp, u, axis)
        has_low, has_high = xp.isfinite(low), xp.isfinite(high)
        both = has_low & has_high
        width = xp.where(both, high, 1) - xp.where(both, low, 0)
        two_sided = xp.abs(u) + 2 * xp.log1p(xp.exp(-xp.abs(u))) - xp.log(width)
        return xp.where(both, two_sided, xp.where(has_low, -u, xp.where(has_high, u, 0)))

    def _bounds(self, xp: Any, like: AnyArray, axis: int) -> tuple[AnyArray, AnyArray]:
        shape = (-1, *(1 for _ in like.shape[axis + 1 :]))
        return xp.asarray(self.low, like.dtype).reshape(shape), xp.asarray(self.high, like.dtype).reshape(shape)

    @staticmethod
    def _middle(xp: Any, low: AnyArray, high: AnyArray) -> AnyArray:
        """Returns some value between the bounds."""
        has_low, has_high = xp.isfinite(low), xp.isfinite(high)
        end = xp.where(has_high, high, xp.where(has_low, low, 0) + 1)
        start = xp.where(has_low, low, end - 1)
        return xp.where(has_low | has_high, (start + end) / 2, 0)
