"""Student-t components: independent targets with heavy tails, whose degrees of freedom are learnt."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components.location_scale import LocationScale, Moments, Sizes, blocks, positive_scale, raw_of_scale
from mdnjax.quadrature import integrate
from mdnjax.types import Array, Float, PRNGKey

MIN_DF = 2.1  # the variance is finite for df > 2
INITIAL_LOG_DF = 2.0  # the df of a network start near 2.1 + e^2
MAX_LOG_DF = 8.0  # with df near 3000 the density is practically Gaussian
MIN_TAIL = 1e-30
MAX_RATIO = 1e30  # of z^2 / df: here 1 + z^2 / df rounds to z^2 / df, and the square still fits into float32
# The cdf is summed from the location for w = z^2 / (df + z^2) up to min(0.3, 3 / (df / 2 + 1/2)), and by a continued fraction
# beyond. There these numbers of terms and levels give all digits, for any df: at most 43 and 35 are needed in float64, 24 and 9
# in float32.
MAX_W, MAX_MEAN_W = 0.3, 3.0
NUM_TERMS = {"float64": 44, "float32": 25}
NUM_LEVELS = {"float64": 36, "float32": 10}
NUM_UNROLLED = 4  # in one step of a loop: one loop body with all of them takes three times as long to compile


class _Fields(NamedTuple):
    loc: Float[Array, "..."]
    scale: Float[Array, "..."]
    df: Float[Array, "..."]


class StudentT(_Fields, LocationScale):
    """Locations, scales and degrees of freedom, `[*batch, K, D]`; the variance is scale^2 df / (df - 2)."""

    __slots__ = ()

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Returns the sizes of the blocks of network outputs: locations, raw scales, raw degrees of freedom."""
        return (sizes.num_components * sizes.num_targets,) * 3

    @classmethod
    def from_raw(cls, raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> StudentT:
        """loc = raw, scale = scale_floor + exp(min(raw, 40)), df = 2.1 + exp(min(2 + raw, 8))."""
        loc, raw_scale, raw_df = blocks(raw, *[sizes[:2]] * 3)
        df = MIN_DF + jnp.exp(jnp.minimum(INITIAL_LOG_DF + raw_df, MAX_LOG_DF))
        return cls(loc, positive_scale(raw_scale, scale_floor), df)

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        df = MIN_DF + math.exp(INITIAL_LOG_DF)
        raw = raw_of_scale(sd * math.sqrt((df - 2) / df), scale_floor)
        return jnp.concatenate([loc.ravel(), raw.ravel(), jnp.zeros(loc.size, loc.dtype)])

    def log_density(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """log f(z) = log Gamma((df + 1) / 2) - log Gamma(df / 2) - log(df pi) / 2 - (df + 1) / 2 log(1 + z^2 / df)."""
        return _log_density(self.df, z)

    def lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return _cdf(self.df, z)

    def log_lower_tail(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns log F(z); where F nearly underflows it is log(f(z) (df + z^2) / (df |z|)), the first term for large |z|."""
        far = _cdf(self.df, z) < MIN_TAIL
        near_z, far_z = jnp.where(far, 0.0, z), jnp.where(far, -z, 1.0)
        log_far = _log_density(self.df, far_z) + _log_one_plus(self.df, far_z) - jnp.log(far_z)
        return jnp.where(far, log_far, jnp.log(_cdf(self.df, near_z)))

    def lower_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns -(df + z^2) f(z) / (df - 1), with df + z^2 inside of the exponential, where its square does not overflow."""
        log_mean = _log_density(self.df, z) + _log_one_plus(self.df, z)
        return jnp.where(self.df > 1, -self.df / (self.df - 1) * jnp.exp(log_mean), jnp.nan)

    def lower_square(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns ((df - 1) z M(z) + df F(z)) / (df - 2) with M of `lower_mean`, by parts; infinite for df <= 2."""
        value = ((self.df - 1) * z * self.lower_mean(z) + self.df * self.lower_tail(z)) / (self.df - 2)
        return jnp.where(self.df > 2, value, jnp.inf)

    def tail_bounds(self, tail: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns the Gaussian quantile, and z with x = df / (df + z^2) = min(1/2, (sqrt(2) tail a B(a, 1/2))^(1/a)), a = df / 2.

        The tail is I_x(a, 1/2) / 2, with (1 - t)^(-1/2) <= (1 - x)^(-1/2) <= sqrt(2) in its integral.
        """
        a = self.df / 2
        log_x = (jnp.log(math.sqrt(2 * math.pi) * tail * a) - _log_gamma_ratio(a)) / a
        far = jnp.sqrt(self.df * jnp.expm1(jnp.maximum(-log_x, math.log(2))))
        return jnp.broadcast_to(-jax.scipy.special.ndtri(tail), far.shape), far

    def standard_statistics(self) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        df, a = self.df, self.df / 2
        second = jnp.where(df > 2, df / (df - 2), jnp.inf)
        fourth = jnp.where(df > 4, 3 * df**2 / ((df - 2) * (df - 4)), jnp.inf)
        ratio, digammas = jax.jvp(_log_gamma_ratio, (a,), (jnp.ones_like(a),))
        return second, fourth, (a + 0.5) * digammas + 0.5 * jnp.log(math.pi * df) - ratio

    def moments(self) -> Moments:
        """Returns mean and central moments: nan where a moment does not exist, inf where it is infinite."""
        moments, nan = super().moments(), jnp.nan
        mean, third = jnp.where(self.df > 1, self.loc, nan), jnp.where(self.df > 3, moments.third, nan)
        return moments._replace(mean=mean, second=jnp.where(self.df > 1, moments.second, nan), third=third)

    def draw_standard(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        return jax.random.t(noise_key, self.df, self.loc.shape, self.loc.dtype)

    def most_modes(self) -> int:
        """Returns two modes per component: no bound is known for heavy tails, and no mixture with more modes has been found."""
        return 2 * self.loc.shape[0]


def _log_gamma_ratio(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """log Gamma(a + 1/2) - log Gamma(a), without the cancellation of large a.

    Eight steps of the recurrence to a + 8, then the asymptotic series there. Source: DLMF 5.11.13 with a = 1/2 and b = 0.
    """
    steps = math.prod(((a + i) / (a + i + 0.5) for i in range(8)), start=jnp.ones_like(a))
    b = a + 8
    r = 1 / b**2
    series = (-1 / 8 + r * (1 / 192 + r * (-1 / 640 + r * (17 / 14336 + r * (-31 / 18432 + r * 691 / 180224))))) / b
    return jnp.log(steps) + 0.5 * jnp.log(b) + series


def _log_one_plus(df: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns log(1 + z^2 / df), by one logarithm and also where z^2 overflows: there it is 2 log |z| - log df."""
    ratio = z * (z / df)
    far = ratio > MAX_RATIO
    log = jnp.log1p(jnp.where(far, jnp.abs(z), ratio))
    return jnp.where(far, 2 * log - jnp.log(df), log)


def _log_density(df: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
    return _log_gamma_ratio(df / 2) - 0.5 * jnp.log(math.pi * df) - (df + 1) / 2 * _log_one_plus(df, z)


@jax.custom_jvp
def _cdf(df: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
    """F(z) = 1/2 + sign(z) I_w(1/2, a) / 2 near the location, and I_x(a, 1/2) / 2 in the lower tail; a = df / 2, x = 1 - w.

    Both are p = x^a w^(1/2) Gamma(a + 1/2) / (Gamma(a) sqrt(pi)) times a slowly varying function. x^a and the ratio of gamma
    functions are computed from log(1 + z^2 / df) and `_log_gamma_ratio`: x is near 1 for large df, and there neither 1 - x nor
    log x has digits, nor has a difference of log-gamma functions.
    """
    df, z = jnp.broadcast_arrays(df, z)
    a, w = df / 2, 1 / (1 + df / z / z)
    p = jnp.exp(_log_gamma_ratio(a) - a * _log_one_plus(df, z)) * jnp.sqrt(w / math.pi)
    near = w < jnp.minimum(MAX_W, MAX_MEAN_W / (a + 0.5))
    centre, tail = jnp.sign(z) * p * _series(a, w), 0.5 * p * _continued_fraction(a, w)
    return jnp.where(near, 0.5 + centre, jnp.where(z < 0, tail, 1 - tail))


def _series(a: Float[Array, "..."], w: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns 2F1(a + 1/2, 1; 3/2; w), a sum of positive terms. Source: DLMF 8.17.8 with its a = 1/2 and b = a."""
    mean, num_terms = (a + 0.5) * w, NUM_TERMS[str(w.dtype)]

    def step(i: Array, total: Array) -> Array:
        n = (num_terms - 1 - i).astype(w.dtype)
        return 1 + total * (mean + n * w) * (1 / (1.5 + n))

    return jax.lax.fori_loop(0, num_terms, step, jnp.ones_like(w), unroll=NUM_UNROLLED)


def _continued_fraction(a: Float[Array, "..."], w: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns I_x(a, 1/2) B(a, 1/2) / (x^a w^(1/2)), x = 1 - w. Source: Didonato and Morris (1992), eq. 9, with b = 1/2."""
    x, excess, num_levels = 1 - w, (a + 0.5) * w + 0.5, NUM_LEVELS[str(w.dtype)]

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        value, upper = state  # 1 / (a + 2 n + 1)
        n = (num_levels - i).astype(w.dtype)
        lower = 1 / (a + (2 * n - 1))
        share = n * (0.5 - n) * x * lower
        level = n + share + (a + n) * upper * (excess + n * (1 + w))
        return (a + (n - 1)) * lower * (a + (n - 0.5)) * x * share / (level + value), lower

    start = jnp.zeros_like(w), 1 / (a + (2 * num_levels + 1))
    value, upper = jax.lax.fori_loop(0, num_levels, step, start, unroll=NUM_UNROLLED)
    return 1 / (a * upper * excess + value)


@_cdf.defjvp
def _cdf_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Integrates the derivative of the density in df by quadrature: the sums of the cdf have no simple derivative in df."""
    df, z = jnp.broadcast_arrays(*primals)

    def slope(u: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        log_f, log_f_slope = jax.jvp(lambda df: _log_density(df, u), (jnp.broadcast_to(df, u.shape),), (jnp.ones_like(u),))
        return jnp.exp(log_f) * log_f_slope

    distance = jnp.minimum(jnp.abs(z), jnp.finfo(z.dtype).max ** 0.7)  # farther out, the nodes of the quadrature overflow
    below = integrate(slope, -distance[None], 1 + distance, right=False).value
    in_df = jnp.where(z < 0, below, -below)
    return _cdf(df, z), in_df * tangents[0] + jnp.exp(_log_density(df, z)) * tangents[1]
