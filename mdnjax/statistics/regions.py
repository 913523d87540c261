"""Highest-density regions: the smallest sets that have a given probability."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.batching import map_batch
from mdnjax.components import Component
from mdnjax.mixture import Mixture, check_single, check_targets, log_prob
from mdnjax.quadrature import Estimate
from mdnjax.statistics.line import LineMixture, line_mixture
from mdnjax.statistics.peaks import Peaks, find_peaks, marked_first, search_limits
from mdnjax.statistics.quantiles import bracketed_root
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


@jax.jit
def hdr(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Region:
    """Returns the highest-density region of probability `level`, for a single target; each end is a root of p(y) = c.

    c is the root of P(p(Y) >= c) = level. Between a mode and a neighbouring minimum p is monotone, so there is at most one end.
    A level outside of (0, 1) gives a region without intervals.
    Raises: ValueError if there is more than one target; `hdr_level` has no such limit. Source: Hyndman (1996).
    """
    check_single("hdr", mixture)
    return map_batch(_region, mixture, jnp.asarray(level, mixture.logits.dtype), events=(0,), size=32)


@jax.jit
def hdr_mass(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns P(p(Y) > p(y)|x), the level of the smallest highest-density region that y lies in, for a single target.

    It is uniform on [0, 1] if the mixture is the true distribution.
    Raises: ValueError if there is more than one target; `hdr_mass_by_samples` has no such limit.
    """
    check_single("hdr_mass", mixture)
    check_targets(mixture, y)
    return map_batch(_mass_above, mixture, y, size=32)


@partial(jax.jit, static_argnames="num_samples")
def hdr_level(key: PRNGKey, mixture: Mixture, level: Float[AnyArray, ""] | float, num_samples: int = 10_000) -> Estimate:
    """Returns log c of the region {log p(y|x) >= log c} of probability `level`, for any number of targets, from samples.

    log c is the (1 - level)-quantile of log p(Y). With e = sqrt(level (1 - level) / num_samples), its standard error is half of
    the difference between the quantiles at 1 - level + e and at 1 - level - e.
    Source: Hyndman (1996), section 3.2.
    """
    log_probs = log_prob(mixture, sample(key, mixture, (num_samples,)))
    share = 1 - jnp.asarray(level, log_probs.dtype)
    error = jnp.sqrt(share * (1 - share) / num_samples)
    low, middle, high = (jnp.quantile(log_probs, jnp.clip(share + step * error, 0, 1), axis=0) for step in (-1, 0, 1))
    return Estimate(middle, (high - low) / 2)


@partial(jax.jit, static_argnames="num_samples")
def hdr_mass_by_samples(key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"], num_samples: int = 1000) -> Estimate:
    """Returns P(p(Y) > p(y)|x) for any number of targets, from samples with its standard error; y has the mixture's batch."""
    at_samples, at_y = log_prob(mixture, sample(key, mixture, (num_samples,))), log_prob(mixture, y)
    share = jnp.where(jnp.isnan(at_y), jnp.nan, jnp.mean(at_samples > at_y, axis=0, dtype=mixture.logits.dtype))
    return Estimate(share, jnp.sqrt(share * (1 - share)) / math.sqrt(num_samples))


def _mass_above(logits: Array, component: Component, y: Array) -> Float[Array, "*batch"]:
    line = line_mixture(logits, component)
    log_c = line.log_density(component.marginals().to_line(y))[0]  # pyright: ignore[reportAttributeAccessIssue]
    low, high = _ends(line, find_peaks(line), log_c)
    return jnp.sum(_masses(line, low, high), axis=0)


def _region(logits: Array, component: Component, level: Array) -> Region:
    line = line_mixture(logits, component)
    shape = jnp.broadcast_shapes(logits.shape[1:], level.shape)
    logits, line = jnp.broadcast_to(logits, (logits.shape[0], *shape)), jax.tree.map(lambda leaf: _with_batch(leaf, shape), line)
    peaks = find_peaks(line)

    proper = (level > 0) & (level < 1)
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
    low_y, high_y = line.value(marked_first(low, begins)), line.value(marked_first(high, stops))
    return Region(low_y, high_y, log_c, jnp.sum(begins, axis=0), jnp.nansum(high_y - low_y, axis=0))


def _with_batch(leaf: Array, batch: tuple[int, ...]) -> Array:
    num_event = leaf.ndim - len(batch)
    return jnp.broadcast_to(leaf, (*leaf.shape[:num_event], *batch))
