"""Highest-density regions: the smallest sets that have a given probability."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.batching import map_batch
from mdnjax.components import Component
from mdnjax.mixture import Mixture, check_single, log_prob
from mdnjax.quadrature import Estimate
from mdnjax.statistics.arguments import as_targets, check_batch, check_count, check_levels
from mdnjax.statistics.line import LineMixture
from mdnjax.statistics.peaks import Peaks, centred_line, centred_mixture, find_peaks, marked_first, search_limits
from mdnjax.statistics.roots import bracketed_root
from mdnjax.statistics.samples import sample
from mdnjax.types import AnyArray, Array, Float, Int, PRNGKey


class Region(NamedTuple):
    """A union of intervals (low, high), {y: log p(y|x) >= log_density}.

    The first `num_pieces` along the axis M are the intervals, sorted by position; the others are nan. size is the total length.
    """

    low: Float[Array, "*batch M"]
    high: Float[Array, "*batch M"]
    log_density: Float[Array, "*batch"]
    num_pieces: Int[Array, "*batch"]
    size: Float[Array, "*batch"]


def hdr(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Region:
    """Returns the highest-density region of probability `level`, for a single target; each end is a root of p(y) = c.

    c is the root of P(p(Y) >= c) = level. Between a mode and a neighbouring minimum p is monotone, so there is at most one end.
    A level of an array outside of (0, 1) gives a region without intervals, and so does a mixture with a nan or one that the dtype
    cannot resolve (loc + scale == loc, or locations too far apart for their scales: see `centre`); the numbers are nan then.
    Raises: ValueError if there is more than one target (`hdr_level` has no such limit), the level is a number outside of [0, 1],
    or its axes do not broadcast with the batch. Source: Hyndman (1996).
    """
    check_single("hdr", mixture)
    check_levels("hdr", "level", level)
    check_batch("hdr", "level", mixture, jnp.shape(level))
    return _regions(mixture, level)


@jax.jit
def hdr_mass(mixture: Mixture, y: Float[AnyArray, "*batch_y D"] | float) -> Float[Array, "*broadcast"]:
    """Returns P(p(Y) > p(y)|x), the level of the smallest highest-density region that y lies in, for a single target.

    It is uniform on [0, 1] if the mixture is the true distribution. It is 1 for a y outside of the support, and nan for a y of
    nan, a mixture with a nan and one that the dtype cannot resolve (see `hdr`).
    Raises: ValueError if there is more than one target (`hdr_mass_by_samples` has no such limit), or the axes of y do not
    broadcast with the batch.
    """
    check_single("hdr_mass", mixture)
    return map_batch(_mass_above, mixture, as_targets("hdr_mass", mixture, y), size=32)


def hdr_level(key: PRNGKey, mixture: Mixture, level: Float[AnyArray, ""] | float, num_samples: int = 10_000) -> Estimate:
    """Returns log c of the region {log p(y|x) >= log c} of probability `level`, for any number of targets, from samples.

    log c is the (1 - level)-quantile of log p(Y). With e = sqrt(level (1 - level) / num_samples), its standard error is half of
    the difference between the quantiles at 1 - level + e and at 1 - level - e. It is nan for a traced level outside of [0, 1],
    and for a mixture that the dtype cannot resolve (see `hdr`).
    Raises: ValueError if the level is not one number of [0, 1], or there are fewer than two samples.
    Source: Hyndman (1996), section 3.2.
    """
    check_levels("hdr_level", "level", level)
    if shape := jnp.shape(level):
        raise ValueError(f"hdr_level: got a level of shape {shape}, expected one number")
    check_count("hdr_level", "num_samples", num_samples, 2)
    return _level(key, mixture, level, num_samples)


@partial(jax.jit, static_argnames="num_samples")
def hdr_mass_by_samples(
    key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"] | float, num_samples: int = 1000
) -> Estimate:
    """Returns P(p(Y) > p(y)|x) for any number of targets, from samples with its standard error.

    The batch axes of y broadcast to those of the mixture. nan for a y of nan, and for a mixture that the dtype cannot resolve
    (see `hdr`).
    Raises: ValueError if y has other batch axes than the mixture, or there are fewer than two samples.
    """
    check_count("hdr_mass_by_samples", "num_samples", num_samples, 2)
    y = as_targets("hdr_mass_by_samples", mixture, y, own_batch=False)
    mixture, origin = centred_mixture(mixture)
    at_samples, at_y = log_prob(mixture, sample(key, mixture, (num_samples,))), log_prob(mixture, y - origin)
    is_nan = jnp.isnan(at_y) | jnp.any(jnp.isnan(y), axis=-1) | jnp.any(jnp.isnan(mixture.logits), axis=-1)
    share = jnp.where(is_nan, jnp.nan, jnp.mean(at_samples > at_y, axis=0, dtype=mixture.logits.dtype))
    return Estimate(share, jnp.sqrt(share * (1 - share)) / math.sqrt(num_samples))


@jax.jit
def _regions(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Region:
    return map_batch(_region, mixture, jnp.asarray(level, mixture.logits.dtype), events=(0,), size=32)


@partial(jax.jit, static_argnames="num_samples")
def _level(key: PRNGKey, mixture: Mixture, level: Float[AnyArray, ""] | float, num_samples: int) -> Estimate:
    mixture = centred_mixture(mixture)[0]
    log_probs = log_prob(mixture, sample(key, mixture, (num_samples,)))
    share = 1 - jnp.asarray(level, log_probs.dtype)
    share = jnp.where((share >= 0) & (share <= 1), share, jnp.nan)
    error = jnp.sqrt(share * (1 - share) / num_samples)
    low, middle, high = (jnp.quantile(log_probs, jnp.clip(share + step * error, 0, 1), axis=0) for step in (-1, 0, 1))
    return Estimate(middle, (high - low) / 2)


def _mass_above(logits: Array, component: Component, y: Array) -> Float[Array, "*batch"]:
    line = centred_line(logits, component)
    u = line.marginals.to_line(y)
    log_c = line.log_density(jnp.where(jnp.isinf(u), 0, u))[0]
    log_c = jnp.where(jnp.isinf(u[0]) & ~jnp.isnan(log_c), -jnp.inf, log_c)  # outside of the support
    peaks = find_peaks(line)
    low, high = _ends(line, peaks, log_c)
    return jnp.where(jnp.any(peaks.found, axis=0) & ~jnp.isnan(y[0]), jnp.sum(_masses(line, low, high), axis=0), jnp.nan)


def _region(logits: Array, component: Component, level: Array) -> Region:
    line = centred_line(logits, component)
    shape = jnp.broadcast_shapes(logits.shape[1:], level.shape)
    line = jax.tree.map(lambda leaf: _with_batch(leaf, shape), line)
    peaks = find_peaks(line)

    proper = (level > 0) & (level < 1) & jnp.any(peaks.found, axis=0)
    level = jnp.where(proper, level, 0.5)

    def excess(minus_log_c: Array) -> Array:
        return jnp.sum(_masses(line, *_ends(line, peaks, -minus_log_c)), axis=0) - level

    log_maxima = jnp.where(peaks.found, line.log_density(peaks.mode), -jnp.inf)
    minima = jnp.concatenate([*search_limits(line), peaks.low, peaks.high])
    minus_log_minima = -line.log_density(jnp.where(jnp.isfinite(minima), minima, minima[:1]))
    minus_log_c = bracketed_root(excess, -jnp.max(log_maxima, axis=0), jnp.max(minus_log_minima, axis=0))
    low, high = _ends(line, peaks, -minus_log_c)
    region = _joined(line, low, high, peaks.found & (log_maxima > -minus_log_c), -minus_log_c)
    empty = Region(*(jnp.full_like(part, 0 if part.dtype.kind == "i" else jnp.nan) for part in region))
    return jax.tree.map(lambda part, empty_part: jnp.where(proper, part, empty_part), region, empty)


def _ends(line: LineMixture, peaks: Peaks, log_c: Array) -> tuple[Float[Array, "M *batch"], Float[Array, "M *batch"]]:
    """Returns the ends of {log p >= log_c} around each mode, or the neighbouring minimum where the density there is above c."""
    mode = jnp.where(peaks.found, peaks.mode, 0)
    reaches = peaks.found & (line.log_density(mode) > log_c)
    pairs = zip((peaks.low, peaks.high), search_limits(line), strict=True)
    limits = jnp.concatenate([jnp.where(jnp.isfinite(minimum), minimum, limit) for minimum, limit in pairs])
    bounds = jnp.where(jnp.concatenate([reaches] * 2), limits, jnp.concatenate([mode] * 2))
    crosses = line.log_density(bounds) < log_c
    inner = jnp.where(crosses, jnp.concatenate([mode] * 2), bounds)
    # The density increases from the bound to the mode.
    ends = bracketed_root(lambda u: jnp.where(crosses, line.log_density(u) - log_c, 0), bounds, inner)
    return ends[: len(mode)], ends[len(mode) :]


def _masses(line: LineMixture, low: Array, high: Array) -> Float[Array, "M *batch"]:
    """Returns the probability of each piece, as a difference in the tail where fewer digits cancel."""
    middle = jnp.take_along_axis(line.marginals.line().loc[:, 0], jnp.argmax(line.log_weight, axis=0)[None], axis=0)
    below = low < middle  # on either side of the heaviest component's location there is some probability
    tails = line.tails(jnp.concatenate([low, high]), jnp.concatenate([below, below]))  # one call: it takes long to compile
    return jnp.maximum(jnp.where(below, 1, -1) * (tails[len(low) :] - tails[: len(low)]), 0)


def _joined(line: LineMixture, low: Array, high: Array, used: Array, log_c: Array) -> Region:
    """Returns the region of the pieces in use; pieces that touch become one interval."""
    touches_next = used[1:] & used[:-1] & (low[1:] <= high[:-1])  # the pieces are sorted by position
    false = jnp.zeros_like(used[:1])
    begins, stops = used & ~jnp.concatenate([false, touches_next]), used & ~jnp.concatenate([touches_next, false])
    low, high = marked_first(low, begins), marked_first(high, stops)
    size = jnp.nansum(line.marginals.lengths(low, high), axis=0)
    return Region(line.value(low), line.value(high), log_c, jnp.sum(begins, axis=0), size)


def _with_batch(leaf: Array, batch: tuple[int, ...]) -> Array:
    num_event = leaf.ndim - len(batch)
    return jnp.broadcast_to(leaf, (*leaf.shape[:num_event], *batch))
