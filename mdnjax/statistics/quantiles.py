"""Quantiles, median, central intervals and expected shortfall, for a single target."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from mdnjax.batching import map_batch
from mdnjax.components import Component, Warped, from_bounds
from mdnjax.mixture import Mixture, check_single
from mdnjax.quadrature import integrate_near
from mdnjax.statistics.arguments import check_batch, check_levels
from mdnjax.statistics.levels import MAX_LEVELS, quantile_on_line
from mdnjax.statistics.line import LineMixture, line_mixture
from mdnjax.statistics.moments import weighted
from mdnjax.types import AnyArray, Array, Float


def quantile(mixture: Mixture, p: Float[AnyArray, "*batch_p"] | float) -> Float[Array, "*broadcast 1"]:
    """Returns the y with P(Y <= y|x) = p, for a single target; the batch axes of mixture and p broadcast.

    It is found by inverse interpolation with the density on the scale of normal quantiles, computed in the tail of p, between
    points on either side; at most 32 levels of one mixture, which should be in order, share these points (see `inversion`). p of
    0 and 1 give the ends of the support, p outside of [0, 1] nan.
    Differentiable in p and all parameters by the implicit function rule, dy = (dp - dF) / p(y).
    Raises: ValueError if there is more than one target, or p is a number outside of [0, 1].
    """
    check_levels("quantile", "p", p)
    return _quantiles(mixture, p)


@jax.jit
def quantile_at_score(mixture: Mixture, z: Float[AnyArray, "*batch_z"]) -> Float[Array, "*broadcast 1"]:
    """Returns the y with P(Y <= y|x) = Phi(z), for a single target, with all digits also in the upper tail.

    Finite z are limited to numbers whose probabilities the dtype can represent, in float32 12.5 on either side; infinite ones
    give the ends of the support.
    """
    check_single("quantile_at_score", mixture)
    return map_batch(_quantile_at_score, mixture, z, events=(0,), size=_size(mixture, z))


def median(mixture: Mixture) -> Float[Array, "*batch 1"]:
    """Returns the median, the y with P(Y <= y|x) = 1/2, for a single target."""
    return quantile(mixture, 0.5)


def central_interval(mixture: Mixture, level: Float[AnyArray, "*batch_level"] | float) -> Float[Array, "*broadcast 2"]:
    """Returns the quantiles of (1 - level) / 2 and (1 + level) / 2, for a single target: equal probability below and above.

    Raises: ValueError if there is more than one target, or the level is a number outside of [0, 1].
    """
    check_levels("central_interval", "level", level)
    return _central_interval(mixture, level)


def expected_shortfall(mixture: Mixture, p: Float[AnyArray, "*batch_p"] | float) -> Float[Array, "*broadcast 1"]:
    """Returns the expected shortfall E[Y | Y <= quantile(p)], the mean of the lowest share p, for a single target.

    The mean of the highest share p is (E[Y] - (1 - p) expected_shortfall(1 - p)) / p. In closed form on the whole line, by
    quadrature on a bounded support.
    Raises: ValueError if there is more than one target, or p is a number outside of [0, 1].
    Source: Rockafellar and Uryasev (2000).
    """
    check_levels("expected_shortfall", "p", p)
    return _expected_shortfall(mixture, p)


@jax.jit
def _quantiles(mixture: Mixture, p: Any) -> Float[Array, "*broadcast 1"]:
    p = _levels("quantile", "p", mixture, p)
    return map_batch(_quantile, mixture, p, events=(0,), size=_size(mixture, p))


def _size(mixture: Mixture, p: AnyArray) -> float:
    """Returns the size of an example in blocks: levels that share a mixture hold its arrays once.

    It is at least that of four components, since the search has arrays of its own.
    """
    own = mixture.logits.shape[:-1]
    num = math.prod(jnp.broadcast_shapes(own, jnp.shape(p))) // max(math.prod(own), 1)
    return max(1 / min(max(num, 1), MAX_LEVELS), 4 / mixture.logits.shape[-1])


@jax.jit
def _central_interval(mixture: Mixture, level: Any) -> Float[Array, "*broadcast 2"]:
    low = (1 - _levels("central_interval", "level", mixture, level)) / 2
    # One search after the other: both ends are in different tails, so that they could share no points.
    ends = jax.lax.map(lambda p: _quantiles(mixture, p), jnp.stack([low, 1 - low]))
    return jnp.moveaxis(ends[..., 0], 0, -1)


@jax.jit
def _expected_shortfall(mixture: Mixture, p: Any) -> Float[Array, "*broadcast 1"]:
    p = _levels("expected_shortfall", "p", mixture, p)
    return map_batch(_shortfall, mixture, p, events=(0,), size=512 if isinstance(mixture.component, Warped) else 1)


def _levels(name: str, argument: str, mixture: Mixture, p: Any) -> Float[Array, "*batch_p"]:
    """Returns levels in the dtype of a mixture of a single target."""
    check_single(name, mixture)
    p = jnp.asarray(p, mixture.logits.dtype)
    check_batch(name, argument, mixture, p.shape)
    return p


def _quantile(logits: Array, component: Component, p: Array) -> Float[Array, "1 *batch"]:
    line = line_mixture(logits, component)
    origin, u = _relative_quantile(line, logits, p)
    return line.marginals.from_line((origin + u)[None])


def _quantile_at_score(logits: Array, component: Component, z: Array) -> Float[Array, "1 *batch"]:
    line = line_mixture(logits, component)
    on_line, origin = line.marginals.line(), _origin(line)
    tail = ndtr(-jnp.minimum(jnp.abs(z), -ndtri(16 * jnp.finfo(logits.dtype).tiny)))
    u = quantile_on_line(logits, on_line._replace(loc=on_line.loc - origin), z < 0, tail)
    return line.marginals.from_line(jnp.where(jnp.isinf(z), z, origin + u)[None])


def _shortfall(logits: Array, component: Component, p: Array) -> Float[Array, "1 *batch"]:
    """With q the quantile, E[Y | Y <= q] = q - E[max(q - Y, 0)] / p, computed relative to the location nearest to q.

    P(Y <= q) is p only up to the last digit of q, and this expression does not depend on that digit: its derivative by q is
    1 - P(Y <= q) / p. Relative to zero, the digit would count with the size of q. Source: Rockafellar and Uryasev (2000), eq. 4.
    """
    bound, component = from_bounds(component)
    line = line_mixture(logits, component)
    proper = (p > 0) & (p < 1)
    share = jnp.where(proper, p, 0.5)
    c, distance = _nearest_location(line, *_relative_quantile(line, logits, share))
    centre, gap, deficit = _deficit(line, c, distance)
    mean = jnp.sum(weighted(jnp.exp(line.log_weight), line.marginals.moments().mean[:, 0]), axis=0)
    end = line.value(jnp.full_like(c, -jnp.inf)[None])[0]
    shortfall = centre + (gap - deficit / share)
    shortfall = jnp.where(mean == -jnp.inf, mean, shortfall)  # a lower tail without a mean has no finite shortfall
    return bound + jnp.where(proper, shortfall, jnp.where(p == 1, mean, jnp.where(p == 0, end, jnp.nan)))[None]


def _relative_quantile(line: LineMixture, logits: Array, p: Array) -> tuple[Array, Array]:
    """Returns the location of the largest weight, and the distance of the quantile from it.

    Relative to zero, the last digit of a quantile may be larger than a scale, and its density and gradient have no digits then.
    On a bounded support 0 is returned instead of the location.
    """
    origin, on_line = _origin(line), line.marginals.line()
    tail = jnp.minimum(p, 1 - p)
    inside = tail > 0
    u = quantile_on_line(logits, on_line._replace(loc=on_line.loc - origin), p < 0.5, jnp.where(inside, tail, 0.5))
    return origin, jnp.where(inside, u, jnp.where(p == 0, -jnp.inf, jnp.where(p == 1, jnp.inf, jnp.nan)))


def _origin(line: LineMixture) -> Array:
    loc, weight = line.marginals.line().loc[:, 0], line.log_weight
    origin = jnp.max(jnp.where(weight == jnp.max(weight, axis=0), loc, -jnp.inf), axis=0)
    return jax.lax.stop_gradient(jnp.zeros_like(origin) if isinstance(line.marginals, Warped) else origin)


def _nearest_location(line: LineMixture, origin: Array, u: Array) -> tuple[Array, Array]:
    """Returns the location nearest to origin + u, and the distance of that point from it."""
    loc = jax.lax.stop_gradient(line.marginals.line().loc[:, 0])
    distance = jnp.abs(loc - origin - u)
    c = jnp.max(jnp.where(distance == jnp.min(distance, axis=0), loc, -jnp.inf), axis=0)
    return c, u - (c - origin)


def _deficit(line: LineMixture, c: Array, distance: Array) -> tuple[Array, Array, Array]:
    """Returns y(c), q - y(c) and E[max(q - Y, 0)], with q = y(c + distance); on a bounded support by quadrature."""
    weight = jnp.exp(line.log_weight)
    if not isinstance(line.marginals, Warped):
        deficits = line.near(c[None]).marginals.deficits(distance[None, None, None])[0, :, 0]
        return c, distance, jnp.sum(weight * deficits, axis=0)
    on_line, u = line.marginals.line(), c + distance
    centre, q = line.value(c[None])[0], line.value(u[None])[0]

    def integrand(point: Array, distance: Array) -> Array:
        return line.near(point).prob(distance) * (q - line.value(point + distance))

    loc = jnp.broadcast_to(on_line.loc[:, 0], weight.shape[:1] + u.shape)
    points = jnp.sort(jnp.minimum(jnp.concatenate([loc, 0 * u[None], u[None]]), u), axis=0)
    return centre, q - centre, integrate_near(integrand, points, jnp.max(on_line.scale[:, 0], axis=0), right=False).value
