"""What follows for every family of independent targets with a location and a scale each, from its density around zero."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mdnjax.types import AnyArray, Array, Bool, Float, PRNGKey

# exp(40) is far above any scale that is meant, and its square is still finite in float32
MAX_RAW_SCALE = 40.0
# Where to look at a density's slope, in scales from a location.
NEAR_MODES = tuple(step / 2 for step in range(-6, 7))

Self = TypeVar("Self", bound="LocationScale")


class Sizes(NamedTuple):
    """What the number of network outputs depends on; `rank` counts the columns of a low-rank factor."""

    num_components: int
    num_targets: int
    rank: int = 1


class Moments(NamedTuple):
    """Mean and central moments of each component and target."""

    mean: Float[Array, "K D *batch"]
    second: Float[Array, "K D *batch"]
    third: Float[Array, "K D *batch"]
    fourth: Float[Array, "K D *batch"]


def blocks(raw: Float[Array, "P *batch"], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Contiguous blocks of the first axis in these shapes, before the batch axes.

    By lax.split, whose gradient puts the blocks' gradients one behind the other. That of slices would be a sum of padded arrays,
    each entry of which a CPU chooses anew: at 64 components a third of a training step.
    """
    parts = jax.lax.split(raw, [math.prod(shape) for shape in shapes], axis=0)
    return [part.reshape(*shape, *raw.shape[1:]) for part, shape in zip(parts, shapes, strict=True)]


def positive_scale(raw_scale: Float[Array, "..."], scale_floor: float | Float[Array, ""]) -> Float[Array, "..."]:
    """scale_floor + exp(min(raw, 40)): finite, with a finite gradient, for raw outputs of any size."""
    return scale_floor + jnp.exp(jnp.minimum(raw_scale, MAX_RAW_SCALE))


def raw_of_scale(scale: Float[Array, "..."], scale_floor: float | Float[Array, ""]) -> Float[Array, "..."]:
    """The raw output of a scale, or, for one at the floor or below it, that of a scale a little above."""
    return jnp.log(jnp.maximum(scale - scale_floor, 0.1 * scale))


class LocationScale:
    """Kernels of y = loc + scale * z, z symmetric around 0 and independent from target to target.

    They are written for one example (`loc[K, D]`); batch axes, where there are any, trail. A family gives the six functions of
    z that raise here.
    """

    __slots__ = ()
    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """log f(z)."""
        raise NotImplementedError

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """F(z), exact far into the lower tail."""
        raise NotImplementedError

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """The integral of t f(t) up to z."""
        raise NotImplementedError

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Two positive numbers, the z with F(-z) = tail <= 1/2 between them."""
        raise NotImplementedError

    def spread_numbers(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        """Second and fourth moment and entropy of z."""
        raise NotImplementedError

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """One z for each component and target."""
        raise NotImplementedError

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log p_k(y), summed over the targets."""
        return jnp.sum(self.target_log_probs(y), axis=1)

    def target_log_probs(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """log p_kd(y_d)."""
        return self.log_density((y - self.loc) / self.scale) - jnp.log(self.scale)

    def cdfs(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """P_k(Y_d <= y_d)."""
        return self.lower_tail((y - self.loc) / self.scale)

    def survivals(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """P_k(Y_d > y_d)."""
        return self.lower_tail((self.loc - y) / self.scale)

    def tails(self, y: Float[Array, "..."], lower: Bool[Array, "..."]) -> Float[Array, "..."]:
        """The cdf where `lower`, else the survival."""
        return self.lower_tail(jnp.where(lower, 1, -1) * (y - self.loc) / self.scale)

    def lower_means(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """E_k[Y_d; Y_d <= y_d]."""
        z = (y - self.loc) / self.scale
        return self.loc * self.lower_tail(z) + self.scale * self.lower_mean(z)

    def brackets(self, p: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Two values, the component's quantile of p between them."""
        near, far = self.tail_bounds(jnp.minimum(p, 1 - p))
        low, high = jnp.where(p < 0.5, -far, near), jnp.where(p < 0.5, -near, far)
        return self.loc + self.scale * low, self.loc + self.scale * high

    def moments(self) -> Moments:
        """Mean and central moments."""
        second, fourth, _ = self.spread_numbers()
        return Moments(self.loc, self.scale**2 * second, jnp.zeros_like(self.loc), self.scale**4 * fourth)

    def entropies(self) -> Float[Array, "K *batch"]:
        """Entropy of each component, in nats."""
        return jnp.sum(self.spread_numbers()[2] + jnp.log(self.scale), axis=1)

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """One draw from each component."""
        return self.loc + self.scale * self.draw_standard(noise_key)

    def marginals(self: Self) -> Self:
        """The distribution of each target by itself."""
        return self

    def covariances(self) -> Float[Array, "K D D *batch"]:
        """Covariance of each component."""
        return diagonal_matrix(self.moments().second)

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """cdf and log density of each target given the targets after it."""
        return self.cdfs(y), self.target_log_probs(y)

    def select(self: Self, targets: tuple[int, ...]) -> Self:
        """The distribution of some of the targets."""
        return jax.tree.map(lambda leaf: leaf[:, list(targets)], self)

    def condition(self: Self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Self:
        """The distribution of the rest where the given targets are y; here they tell nothing of it."""
        return self.select(rest)

    def affine(self: Self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Self:
        """The components of `offset + factor * y`, for a positive factor; batch-first."""
        loc, scale = jnp.asarray(offset + factor * self.loc), jnp.asarray(factor * self.scale)
        return self._replace(loc=loc, scale=scale)  # pyright: ignore[reportAttributeAccessIssue]

    def stretch(self: Self, factor: float | Float[Array, ""]) -> Self:
        """The same locations, the scales times a factor."""
        return self._replace(scale=self.scale * factor)  # pyright: ignore[reportAttributeAccessIssue]

    def line(self: Self) -> Self:
        """The same distribution on the whole real line, `from_line` of which is y; here y is there already."""
        return self

    def to_line(self, y: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Values as points of the line; `axis` is that of the targets."""
        return y

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Points of the line as values."""
        return u

    def log_slope(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """log |du/dy| of each target, at points of the line."""
        return jnp.zeros_like(u)

    def line_points(self) -> Float[Array, "n D *batch"]:
        """Points of the line, in no order: all modes between them, and enough near each location to see what the density does."""
        near = jnp.asarray(NEAR_MODES, self.loc.dtype).reshape(-1, *(1 for _ in self.loc.shape))
        return (self.loc + near * self.scale).reshape(len(NEAR_MODES) * self.loc.shape[0], *self.loc.shape[1:])

    def most_modes(self) -> int:
        """No mixture of these K components has more modes of one target."""
        return self.loc.shape[0]


def diagonal_matrix(entries: Float[Array, "K D *batch"]) -> Float[Array, "K D D *batch"]:
    """Matrices with these entries on their diagonals."""
    identity = jnp.eye(entries.shape[1], dtype=entries.dtype).reshape(*(entries.shape[1],) * 2, *(1 for _ in entries.shape[2:]))
    return entries[:, :, None] * identity
