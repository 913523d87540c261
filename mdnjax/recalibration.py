"""A monotone map of the PIT that recalibrates distributions of a single target; the results have densities and quantiles.

With z = Phi^-1(F(y|x)), the normal score of a target, the recalibrated distribution is F'(y|x) = G(z), where G is the cdf of a
mixture of Gaussians, so that p'(y|x) = p(y|x) g(z) / phi(z), and its quantiles are those of F at Phi(G^-1(a)). G = Phi changes
nothing, N(0, s^2) with s > 1 makes distributions wider by about s, and several components change their shape.
Source: Kuleshov, Fenner and Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, for maps of the
PIT; here the map has a density, and is smooth in the tails.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri, ndtri_exp

from mdnjax.batching import map_batch
from mdnjax.cells import log_cell
from mdnjax.components import Component
from mdnjax.mixture import Mixture
from mdnjax.statistics.line import line_mixture
from mdnjax.types import AnyArray, Array, Float

MAX_COMPONENTS = 3  # of a map
NUM_FOLDS = 5
NUM_ITERATIONS = 30  # of EM
MIN_ROWS = 20
PRIOR_ROWS = 5.0  # rows of N(0, 1) that each component gets besides its own, which pull it towards no change
MIN_GAIN = 3.0  # nats in the sum over all rows that a map must gain in cross-validation
SCALES, MAX_LOC = (0.2, 2.4), 5.0  # of the components: float32 has normal scores up to 12.5
NUM_STEPS = 48  # points around the components by which integrals are cut, if there are few components
NUM_NODES = 3  # of the Gauss-Legendre rule between two of them
REACH = 2.6  # asinh of the distance of the outermost points, before it is scaled


class Recalibration(NamedTuple):
    """The components of G; a single N(0, 1) if no map was good enough.

    `gain` is the fall of the mean NLL in cross-validation, in nats, by the best map, whether it is used or not.
    """

    weight: Float[AnyArray, " G"]
    loc: Float[AnyArray, " G"]
    scale: Float[AnyArray, " G"]
    gain: Float[AnyArray, ""]
    num_rows: Float[AnyArray, ""]

    @property
    def is_identity(self) -> bool:
        """Whether the map changes nothing."""
        return len(self.weight) == 1 and bool(self.loc[0] == 0 and self.scale[0] == 1)

    def log_ratio(self, z: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Returns log g(z) - log phi(z), by which log densities change."""
        standard = (z[..., None] - self.loc) / self.scale
        return np.asarray(logsumexp(-0.5 * standard**2 - np.log(self.scale), b=self.weight, axis=-1)) + 0.5 * z**2

    def scores(self, z: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """Returns Phi^-1(G(z)), the normal scores of the recalibrated distribution, by the smaller tail, for its digits."""
        standard = (z[..., None] - self.loc) / self.scale
        below, above = (np.asarray(logsumexp(log_ndtr(sign * standard), b=self.weight, axis=-1)) for sign in (1, -1))
        return np.where(below < above, 1, -1) * ndtri_exp(np.minimum(below, above))

    def inverse(self, levels: Float[np.ndarray, " Q"]) -> Float[np.ndarray, " Q"]:
        """Returns z with G(z) = level, by bisection; levels of 0 and 1 give infinite numbers."""
        wanted = ndtri(np.asarray(levels, np.float64))
        finite = np.isfinite(wanted)
        target = np.where(finite, wanted, 0)
        ends = np.asarray(self.loc + self.scale * target[..., None])  # that of G lies between quantiles of its components
        low, high = ends.min(axis=-1) - 1e-9, ends.max(axis=-1) + 1e-9
        for _ in range(60):
            middle = (low + high) / 2
            below = self.scores(middle) < target
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(finite, (low + high) / 2, wanted)

    def draws(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        """Draws normal scores z from G."""
        chosen = generator.choice(len(self.weight), shape, p=np.asarray(self.weight) / np.sum(self.weight))
        return np.asarray(self.loc)[chosen] + np.asarray(self.scale)[chosen] * generator.standard_normal(shape)


def normal_scores(mixture: Mixture, y: Float[AnyArray, "N 1"]) -> Float[np.ndarray, " N"]:
    """Returns Phi^-1(F(y|x)) of a single target, however far y is from the mixture."""
    y = jnp.asarray(y, mixture.logits.dtype)
    below = np.asarray(log_cell(mixture, jnp.full_like(y, -jnp.inf), y), np.float64)
    above = np.asarray(log_cell(mixture, y, jnp.full_like(y, jnp.inf)), np.float64)
    tail = ndtri_exp(np.minimum(np.minimum(below, above), np.log(0.5)))
    return np.where(below < above, tail, -tail)


def fit_recalibration(z: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"] | None = None) -> Recalibration:
    """Returns the map whose density of normal scores z is best in cross-validation; none if the gain is small.

    The gain of all rows together must be MIN_GAIN nats and two standard errors. Args: `weight` are weights of the rows.
    """
    num, weight = len(z), np.ones(len(z)) if weight is None else weight / np.mean(weight)
    no_change = Recalibration(np.ones(1), np.zeros(1), np.ones(1), np.zeros(()), np.array(float(num)))
    if num < MIN_ROWS:
        return no_change
    fold = np.random.default_rng(0).permutation(num) % NUM_FOLDS
    best, best_gain, best_error = 1, -np.inf, 0.0
    for num_components in range(1, MAX_COMPONENTS + 1):
        gains = np.zeros(num)
        for part in range(NUM_FOLDS):
            others = fold != part
            gains[~others] = _fit(z[others], weight[others], num_components).log_ratio(z[~others])
        gains *= weight
        if gains.sum() > best_gain + 1:  # a further component must gain a nat
            best, best_gain, best_error = num_components, gains.sum(), np.sqrt(num) * np.std(gains)
    gain = np.asarray(best_gain / num)
    if best_gain < max(MIN_GAIN, 2 * best_error):
        return no_change._replace(gain=gain)
    return _fit(z, weight, best)._replace(gain=gain)


def _fit(z: Float[np.ndarray, " n"], row_weight: Float[np.ndarray, " n"], num_components: int) -> Recalibration:
    """Fits G by EM with PRIOR_ROWS of the prior for each component, from components at quantiles of z."""
    z = np.clip(z, -30, 30)
    loc = np.quantile(z, (np.arange(num_components) + 0.5) / num_components) if num_components > 1 else np.zeros(1)
    scale, weight = np.ones(num_components), np.full(num_components, 1 / num_components)
    for _ in range(NUM_ITERATIONS if num_components > 1 else 1):
        log_joint = np.log(weight) - np.log(scale) - 0.5 * ((z[:, None] - loc) / scale) ** 2
        share = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True)) * row_weight[:, None]
        count = share.sum(axis=0)
        loc = np.clip(share.T @ z / (count + PRIOR_ROWS), -MAX_LOC, MAX_LOC)
        square = np.sum(share * (z[:, None] - loc) ** 2, axis=0) + PRIOR_ROWS * (1 + loc**2)
        scale = np.clip(np.sqrt(square / (count + PRIOR_ROWS)), *SCALES)
        weight = (count + 1) / np.sum(count + 1)
    return Recalibration(weight, loc, scale, np.zeros(()), np.array(float(len(z))))


def recalibration_of(arrays: Mapping[str, np.ndarray]) -> Recalibration | None:
    """Returns the recalibration among the arrays of a model file, if there is one. Raises: ValueError if it is no map."""
    found = {name: arrays.get(f"recalibration/{name}") for name in Recalibration._fields}
    if all(values is None for values in found.values()):
        return None
    if any(values is None or not np.isfinite(values).all() for values in found.values()):
        raise ValueError("recalibration: got a number that is not finite, or an array that is missing")
    known = Recalibration(**found)  # pyright: ignore
    shapes = {np.shape(values) for values in known[:3]} == {(len(np.atleast_1d(known.weight)),)}
    if not shapes or not (np.all(known.weight > 0) and np.all(known.scale > 0) and abs(np.sum(known.weight) - 1) < 1e-6):
        raise ValueError("recalibration: got components without positive weights and scales, or weights that do not add up to 1")
    return known


def recalibrated_moments(
    mixture: Mixture, recalibration: Recalibration
) -> tuple[Float[Array, "*batch 1"], Float[Array, "*batch 1"]]:
    """Returns mean and variance of a single target, in the units of the mixture, by quadrature."""
    centre = mixture.quantile(jnp.asarray(0.5, mixture.logits.dtype))
    first, second, _ = _integrals(mixture, centre, recalibration[:3])
    return centre + first[..., None], jnp.maximum(second - first**2, 0)[..., None]


def recalibrated_crps(mixture: Mixture, recalibration: Recalibration, y: Float[AnyArray, "N 1"]) -> Float[Array, " N"]:
    """Returns the CRPS of a single target, in the units of the mixture, by quadrature."""
    return _integrals(mixture, y, recalibration[:3])[2]


@jax.jit
def _integrals(
    mixture: Mixture, at: Float[AnyArray, "*batch 1"], components: tuple[AnyArray, AnyArray, AnyArray]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Returns E[y - a], E[(y - a)^2] and the CRPS of a target a, from int L, U, |y - a| L, |y - a| U, L^2 and U^2.

    L = F' below a, and U = 1 - F' above.
    """
    num = 2 * (max(5, NUM_STEPS // mixture.logits.shape[-1]) // 2) + 1
    kernel = partial(_integrals_of_row, components=components, num_steps=num)
    return map_batch(kernel, mixture, jnp.asarray(at, mixture.logits.dtype), size=num)


def _integrals_of_row(logits: Array, component: Component, at: Array, *, components: tuple, num_steps: int) -> tuple[Array, ...]:
    line, dtype = line_mixture(logits, component), logits.dtype
    weight, loc, scale = (jnp.asarray(part, dtype).reshape(-1, *[1] * logits.ndim) for part in components)
    on_line, cut = line.marginals.line(), line.marginals.to_line(at)
    heaviest = jnp.take_along_axis(on_line.loc[:, 0], jnp.argmax(line.log_weight, axis=0)[None], axis=0)
    reach = jnp.maximum(8.0, 1.1 * jnp.max(jnp.abs(loc)) + 5.5 * jnp.max(scale)).astype(dtype)
    steps = reach * jnp.asarray(np.sinh(np.linspace(-REACH, REACH, num_steps)) / np.sinh(REACH), dtype)
    points = on_line.loc[:, 0] + on_line.scale[:, 0] * steps.reshape(-1, *[1] * logits.ndim)
    points = jnp.broadcast_to(points, (*points.shape[:2], *jnp.broadcast_shapes(points.shape[2:], cut.shape[1:])))
    u = jnp.sort(jnp.concatenate([points.reshape(-1, *points.shape[2:]), jnp.broadcast_to(cut, points.shape[1:])[:1]]), axis=0)
    middle, half = (u[1:] + u[:-1]) / 2, (u[1:] - u[:-1]) / 2
    totals = [jnp.zeros_like(middle[0])] * 3
    for node, part in zip(*np.polynomial.legendre.leggauss(NUM_NODES), strict=True):
        at_node = middle + half * float(node)
        lower = at_node <= heaviest  # on this side the tail is not near 1, where z would have no digits
        z = jnp.where(lower, 1, -1).astype(dtype) * jax.scipy.special.ndtri(line.tails(at_node, lower))
        sign = jnp.where(at_node <= cut, -1, 1).astype(dtype)
        mapped = jnp.sum(weight * jax.scipy.special.ndtr(sign * (loc - z) / scale), axis=0)
        length = float(part) * half * jnp.exp(-line.log_slope(at_node))
        distance = jnp.abs(line.value(at_node) - at)
        terms = (sign * mapped, 2 * distance * mapped, mapped**2)
        totals = [total + jnp.sum(length * term, axis=0) for total, term in zip(totals, terms, strict=True)]
    return tuple(totals)
