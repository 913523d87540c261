"""Functions of all families with independent targets, each with a location and a scale, from the standard density f(z)."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mdnjax.components.intervals import log_between
from mdnjax.types import AnyArray, Array, Bool, Float, PRNGKey

# exp(40) is far larger than any useful scale, and its square is still finite in float32
MAX_RAW_SCALE = 40.0
# Where the slope of a density is computed near a location, in scales from it.
POINTS_NEAR_MODES = tuple(step / 2 for step in range(-6, 7))

Self = TypeVar("Self", bound="LocationScale")


class Sizes(NamedTuple):
    """The numbers that determine how many outputs a network has; `rank` is the number of columns of a low-rank factor."""

    num_components: int
    num_targets: int
    rank: int = 1


class Moments(NamedTuple):
    """The mean and the central moments of each component and target."""

    mean: Float[Array, "K D *batch"]
    second: Float[Array, "K D *batch"]
    third: Float[Array, "K D *batch"]
    fourth: Float[Array, "K D *batch"]


def blocks(raw: Float[Array, "P *batch"], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Returns contiguous blocks of the first axis, with these shapes before the batch axes.

    The gradient of lax.split concatenates the gradients of the blocks. The gradient of slices would be a sum of padded arrays,
    which at 64 components takes a third of a training step on a CPU.
    """
    parts = jax.lax.split(raw, [math.prod(shape) for shape in shapes], axis=0)
    return [part.reshape(*shape, *raw.shape[1:]) for part, shape in zip(parts, shapes, strict=True)]


def split_infinite(y: Float[Array, "*batch"]) -> tuple[Bool[Array, "*batch"], Float[Array, "*batch"]]:
    """Returns where a number is infinite, and the numbers with 0 there: products of 0 and infinity would be nan."""
    infinite = jnp.isinf(y)
    return infinite, jnp.where(infinite, 0, y)


def positive_scale(raw_scale: Float[Array, "..."], scale_floor: float | Float[Array, ""]) -> Float[Array, "..."]:
    """Returns scale_floor + exp(min(raw, 40)): finite, with a finite gradient, for raw outputs of any size."""
    return scale_floor + jnp.exp(jnp.minimum(raw_scale, MAX_RAW_SCALE))


def raw_of_scale(scale: Float[Array, "..."], scale_floor: float | Float[Array, ""]) -> Float[Array, "..."]:
    """Returns the raw output of a scale; for a scale near the floor or below it, the raw output of floor + 0.1 scale."""
    return jnp.log(jnp.maximum(scale - scale_floor, 0.1 * scale))


class LocationAndScale(NamedTuple):
    """The fields of a family without further parameters."""

    loc: Float[Array, "..."]
    scale: Float[Array, "..."]


class LocationScale:
    """Functions of y = loc + scale * z, with z symmetric around 0 and independent between targets.

    They are written for one example (`loc[K, D]`); batch axes, if there are any, are last. A family defines the seven functions
    of z that raise NotImplementedError here.
    """

    __slots__ = ()
    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Returns the sizes of the blocks of network outputs: locations, raw scales."""
        return (sizes.num_components * sizes.num_targets,) * 2

    @classmethod
    def from_raw(cls: type[Self], raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> Self:
        """loc = raw, scale = scale_floor + exp(min(raw, 40))."""
        loc, raw_scale = blocks(raw, *[sizes[:2]] * 2)
        return cls(loc, positive_scale(raw_scale, scale_floor))  # pyright: ignore[reportCallIssue]

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns log f(z)."""
        raise NotImplementedError

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns F(z), which must be accurate far into the lower tail."""
        raise NotImplementedError

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the integral of t f(t) up to z."""
        raise NotImplementedError

    def lower_square(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the integral of t^2 f(t) up to z."""
        raise NotImplementedError

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns two positive numbers that bracket the z with F(-z) = tail <= 1/2."""
        raise NotImplementedError

    def standard_statistics(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        """Returns the second moment, the fourth moment and the entropy of z."""
        raise NotImplementedError

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """Draws one z for each component and target."""
        raise NotImplementedError

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """Returns log p_k(y), summed over the targets."""
        return jnp.sum(self.target_log_probs(y), axis=1)

    def target_log_probs(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns log p_kd(y_d)."""
        return self.log_density((y - self.loc) / self.scale) - jnp.log(self.scale)

    def cdfs(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns P_k(Y_d <= y_d)."""
        return self.lower_tail((y - self.loc) / self.scale)

    def survivals(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns P_k(Y_d > y_d)."""
        return self.lower_tail((self.loc - y) / self.scale)

    def tails(self, y: Float[Array, "..."], lower: Bool[Array, "..."]) -> Float[Array, "..."]:
        """Returns the cdf where `lower` is true, and the survival function elsewhere."""
        return self.lower_tail(jnp.where(lower, 1, -1) * (y - self.loc) / self.scale)

    def log_lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns log F(z), also where F(z) underflows."""
        raise NotImplementedError

    def log_between(self, low: Float[Array, "D *#batch"], high: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        """Returns log P_k(low_d < Y_d <= high_d) for low < high, which may be infinite."""
        ends = []
        for y in (low, high):
            infinite, finite = split_infinite(y)
            ends.append(jnp.where(infinite, y, (finite - self.loc) / self.scale))
        return self.log_between_standard(*ends)

    def log_between_standard(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns log (F(b) - F(a))."""
        return log_between(self.log_density, self.log_lower_tail, a, b)

    def deficits(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns E_k[max(y_d - Y_d, 0)]."""
        z = (y - self.loc) / self.scale
        return self.scale * (z * self.lower_tail(z) - self.lower_mean(z))

    def squared_deficits(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns E_k[max(y_d - Y_d, 0)^2]."""
        z = (y - self.loc) / self.scale
        return self.scale**2 * (z**2 * self.lower_tail(z) - 2 * z * self.lower_mean(z) + self.lower_square(z))

    def brackets(self, p: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns two values that bracket the p-quantile of each component."""
        near, far = self.tail_bounds(jnp.minimum(p, 1 - p))
        low, high = jnp.where(p < 0.5, -far, near), jnp.where(p < 0.5, -near, far)
        return self.loc + self.scale * low, self.loc + self.scale * high

    def moments(self) -> Moments:
        """Returns mean and central moments."""
        second, fourth, _ = self.standard_statistics()
        return Moments(self.loc, self.scale**2 * second, jnp.zeros_like(self.loc), self.scale**4 * fourth)

    def entropies(self) -> Float[Array, "K *batch"]:
        """Returns the entropy of each component, in nats."""
        return jnp.sum(self.standard_statistics()[2] + jnp.log(self.scale), axis=1)

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """Draws one value from each component."""
        return self.loc + self.scale * self.draw_standard(noise_key)

    def marginals(self: Self) -> Self:
        """Returns the marginal distribution of each target."""
        return self

    def covariances(self) -> Float[Array, "K D D *batch"]:
        """Returns the covariance of each component."""
        return diagonal_matrix(self.moments().second)

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns the cdf and log density of each target given the targets after it."""
        return self.cdfs(y), self.target_log_probs(y)

    def select(self: Self, targets: tuple[int, ...]) -> Self:
        """Returns the joint distribution of some of the targets."""
        return jax.tree.map(lambda leaf: leaf[:, list(targets)], self)

    def condition(self: Self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Self:
        """Returns the distribution of the other targets (`rest`), which here does not depend on the given targets."""
        return self.select(rest)

    def affine(self: Self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Self:
        """Returns the components of `offset + factor * y`, for a positive factor; batch-first."""
        loc, scale = jnp.asarray(offset + factor * self.loc), jnp.asarray(factor * self.scale)
        return self._replace(loc=loc, scale=scale)  # pyright: ignore[reportAttributeAccessIssue]

    def stretch(self: Self, factor: float | Float[Array, ""]) -> Self:
        """Returns components with the same locations and the scales times a factor."""
        return self._replace(scale=self.scale * factor)  # pyright: ignore[reportAttributeAccessIssue]

    def line(self: Self) -> Self:
        """Returns the distribution of u on the real line, with y = from_line(u); here u = y."""
        return self

    def to_line(self, y: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns u for values y; `axis` is the axis of the targets."""
        return y

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns y for points u of the real line."""
        return u

    def log_slope(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns log |du/dy| of each target at points u of the real line."""
        return jnp.zeros_like(u)

    def line_points(self) -> Float[Array, "n D *batch"]:
        """Returns unsorted points of the real line whose range contains all modes, with several points near each location."""
        near = jnp.asarray(POINTS_NEAR_MODES, self.loc.dtype).reshape(-1, *(1 for _ in self.loc.shape))
        return (self.loc + near * self.scale).reshape(len(POINTS_NEAR_MODES) * self.loc.shape[0], *self.loc.shape[1:])

    def most_modes(self) -> int:
        """Returns an upper bound of the number of modes of one target in a mixture of these K components."""
        return self.loc.shape[0]


def diagonal_matrix(entries: Float[Array, "K D *batch"]) -> Float[Array, "K D D *batch"]:
    """Returns matrices with these entries on their diagonals and zeros elsewhere."""
    identity = jnp.eye(entries.shape[1], dtype=entries.dtype).reshape(*(entries.shape[1],) * 2, *(1 for _ in entries.shape[2:]))
    return entries[:, :, None] * identity
