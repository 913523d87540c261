"""Highest-density regions: the smallest sets that hold a given probability."""

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
from mdnjax.statistics.line import Line, line_of
from mdnjax.statistics.modes import Turns, far_ends, turns
from mdnjax.statistics.quantiles import bracketed_root
from mdnjax.statistics.samples import sample
from mdnjax.types import AnyArray, Array, Float, Int, PRNGKey


class Region(NamedTuple):
    """A union of intervals (low, high), the first `num_pieces` along the axis M in their order, nan beyond; and its total size.

    It is {y: log p(y|x) >= log_density}.
    """

    low: Float[Array, "*batch M"]
    high: Float[Array, "*batch M"]
    log_density: Float[Array, "*batch"]
    num_pieces: Int[Array, "*batch"]
    size: Float[Array, "*batch"]


@jax.jit
def hdr(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Region:
    """The highest-density region of a probability `level` in (0, 1), for a single target: exact ends, each a root of p(y) = c.

    c is the root of P(p(Y) >= c) = level; between a mode and the minima beside it p is monotone, so each piece has one end there.
    A level that is not in (0, 1) has no pieces.
    Raises: ValueError if there is more than one target: there `hdr_level` answers. Source: Hyndman (1996).
    """
    check_single("hdr", mixture)
    return map_batch(_region, mixture, jnp.asarray(level, mixture.logits.dtype), events=(0,), size=32)


@jax.jit
def hdr_mass(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """P(p(Y) > p(y)|x): the level of the smallest highest-density region that y lies in; uniform where the mixture is the truth.

    Raises: ValueError if there is more than one target: there `hdr_mass_by_samples` answers.
    """
    check_single("hdr_mass", mixture)
    check_targets(mixture, y)
    return map_batch(_mass_above, mixture, y, size=32)


@partial(jax.jit, static_argnames="num_samples")
def hdr_level(key: PRNGKey, mixture: Mixture, level: Float[AnyArray, ""] | float, num_samples: int = 10_000) -> Estimate:
    """log c of the region {log p(y|x) >= log c} of a probability, for any number of targets, from samples.

    The (1 - level)-quantile of log p(Y); the standard error is half of what it moves by when the share moves by its own
    standard error up and down.
    Source: Hyndman (1996), section 3.2.
    """
    heights = log_prob(mixture, sample(key, mixture, (num_samples,)))
    share = 1 - jnp.asarray(level, heights.dtype)
    error = jnp.sqrt(share * (1 - share) / num_samples)
    low, middle, high = (jnp.quantile(heights, jnp.clip(share + step * error, 0, 1), axis=0) for step in (-1, 0, 1))
    return Estimate(middle, (high - low) / 2)


@partial(jax.jit, static_argnames="num_samples")
def hdr_mass_by_samples(key: PRNGKey, mixture: Mixture, y: Float[AnyArray, "*batch D"], num_samples: int = 1000) -> Estimate:
    """P(p(Y) > p(y)|x) for any number of targets, as a share of samples with its standard error; y has the mixture's batch."""
    at_samples, at_y = log_prob(mixture, sample(key, mixture, (num_samples,))), log_prob(mixture, y)
    share = jnp.where(jnp.isnan(at_y), jnp.nan, jnp.mean(at_samples > at_y, axis=0, dtype=mixture.logits.dtype))
    return Estimate(share, jnp.sqrt(share * (1 - share)) / math.sqrt(num_samples))


def _mass_above(logits: Array, component: Component, y: Array) -> Float[Array, "*batch"]:
    line = line_of(logits, component)
    log_c = line.log_density(component.marginals().to_line(y))[0]  # pyright: ignore[reportAttributeAccessIssue]
    low, high = _ends(line, turns(line), log_c)
    return jnp.sum(_masses(line, low, high), axis=0)


def _region(logits: Array, component: Component, level: Array) -> Region:
    line = line_of(logits, component)
    shape = jnp.broadcast_shapes(logits.shape[1:], level.shape)
    logits, line = jnp.broadcast_to(logits, (logits.shape[0], *shape)), jax.tree.map(lambda leaf: _spread(leaf, shape), line)
    found = turns(line)

    proper = (level > 0) & (level < 1)
    level = jnp.where(proper, level, 0.5)

    def excess(depth: Array) -> Array:  # depth = -log c: the deeper, the more
        return jnp.sum(_masses(line, *_ends(line, found, -depth)), axis=0) - level

    heights = jnp.where(found.found, line.log_density(found.mode), -jnp.inf)
    valleys = jnp.concatenate([*far_ends(line), found.low, found.high])
    depths = -line.log_density(jnp.where(jnp.isfinite(valleys), valleys, valleys[:1]))
    shallow, deep = -jnp.max(heights, axis=0), jnp.max(depths, axis=0)
    depth = bracketed_root(excess, shallow, deep)
    low, high = _ends(line, found, -depth)
    region = _joined(line, low, high, found.found & (heights > -depth), -depth)
    none = Region(*(jnp.full_like(part, 0 if part.dtype.kind == "i" else jnp.nan) for part in region))
    return jax.tree.map(lambda part, nothing: jnp.where(proper, part, nothing), region, none)


def _ends(line: Line, found: Turns, log_c: Array) -> tuple[Float[Array, "M *batch"], Float[Array, "M *batch"]]:
    """Ends of {log p >= log_c} around each mode, or the minimum beside it where the density there is higher still."""
    mode = jnp.where(found.found, found.mode, 0)
    reaches = found.found & (line.log_density(mode) > log_c)
    far = [jnp.where(jnp.isfinite(bound), bound, end) for bound, end in zip((found.low, found.high), far_ends(line), strict=True)]
    bounds = jnp.where(jnp.concatenate([reaches] * 2), jnp.concatenate(far), jnp.concatenate([mode] * 2))
    crosses = line.log_density(bounds) < log_c
    inner = jnp.where(crosses, jnp.concatenate([mode] * 2), bounds)
    # from outside to the mode the density grows
    ends = bracketed_root(lambda u: jnp.where(crosses, line.log_density(u) - log_c, 0), bounds, inner)
    return ends[: len(mode)], ends[len(mode) :]


def _masses(line: Line, low: Array, high: Array) -> Float[Array, "M *batch"]:
    """Probability of each piece, from the tail in which it has more digits."""
    middle = jnp.take_along_axis(line.marginals.line().loc[:, 0], jnp.argmax(line.log_weight, axis=0)[None], axis=0)
    below = low < middle  # the heaviest component's location has some probability on either side
    tails = line.tails(jnp.concatenate([low, high]), jnp.concatenate([below, below]))  # at once: it is long to compile
    return jnp.maximum(jnp.where(below, 1, -1) * (tails[len(low) :] - tails[: len(low)]), 0)


def _joined(line: Line, low: Array, high: Array, used: Array, log_c: Array) -> Region:
    """Neighbouring pieces that touch are one; the pieces come first, nan behind them."""
    continues = used[1:] & used[:-1] & (low[1:] <= high[:-1])  # the pieces are in the order of their position
    none = jnp.zeros_like(used[:1])
    begins, stops = used & ~jnp.concatenate([none, continues]), used & ~jnp.concatenate([continues, none])

    def first(ends: Array, marked: Array) -> Array:
        order = jnp.argsort(~marked, axis=0, stable=True)
        return jnp.take_along_axis(jnp.where(marked, ends, jnp.nan), order, axis=0)

    low_y, high_y = line.value(first(low, begins)), line.value(first(high, stops))
    return Region(low_y, high_y, log_c, jnp.sum(begins, axis=0), jnp.nansum(high_y - low_y, axis=0))


def _spread(leaf: Array, batch: tuple[int, ...]) -> Array:
    num_event = leaf.ndim - len(batch)
    return jnp.broadcast_to(leaf, (*leaf.shape[:num_event], *batch))
