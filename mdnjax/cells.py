"""Mixtures of targets on a lattice: log probabilities of cells, and the discrete distribution of the rounded target.

A target v of a lattice with step d has the probability F(v + d/2) - F(v - d/2). Divided by d it is a mean density, so that the
two are compared in the same units; unlike a density it is never above 1/d.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from mdnjax.batching import map_examples
from mdnjax.components import Component
from mdnjax.data.lattice import Lattice
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.statistics import cdf, quantile
from mdnjax.statistics.targets import marginals
from mdnjax.types import AnyArray, Array, Bool, Float

TAIL = 1e-5  # probability on either side beyond which values are not distinguished
MAX_VALUES = 4096  # that are distinguished
MIN_BEYOND = 64  # values on either side of those of training, if their range is smaller
MAX_NUMBERS = 2**22  # in an array of probabilities of all components


def mixture_log_cell(
    logits: Float[Array, "K *#batch"], component: Component, low: Float[Array, "D *#batch"], high: Float[Array, "D *#batch"]
) -> Float[Array, "..."]:
    """Returns log P(low_d < Y_d <= high_d for all d|x) of batch-last arrays, for components with independent targets.

    log P = logsumexp_k(l_k + sum_d log P_kd) - log sum_k exp(l_k), with l = logits - max_k logits.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=0))
    of_components = jnp.sum(component.marginals().log_between(low, high), axis=1)  # pyright: ignore
    return logsumexp(shifted + of_components, axis=0) - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


def mixture_log_prob_or_cell(
    logits: Float[Array, "K *batch"],
    component: Component,
    y: Float[Array, "D *batch"],
    cells: Float[Array, "2 D *batch"],
    exact: Bool[Array, "D *batch"],
) -> Float[Array, "..."]:
    """Returns the log density of targets that are exact, and the log probability of the cells of the others; batch-last."""
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=0))
    marginals = component.marginals()
    densities = marginals.target_log_probs(y)
    of_cells = marginals.log_between(jnp.where(exact, -jnp.inf, cells[0]), jnp.where(exact, jnp.inf, cells[1]))  # pyright: ignore
    of_components = jnp.sum(jnp.where(exact, densities, of_cells), axis=1)
    return logsumexp(shifted + of_components, axis=0) - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


@jax.jit
def log_prob_or_cell(
    mixture: Mixture, y: Float[AnyArray, "N D"], cells: Float[AnyArray, "N 2 D"], exact: Bool[AnyArray, "N D"]
) -> Float[Array, " N"]:
    """Returns `mixture_log_prob_or_cell` of mixtures `[N]` on the whole real line."""

    def batch_last(logits: Array, component: Component, y: Array, low: Array, high: Array, exact: Array) -> Array:
        return mixture_log_prob_or_cell(logits, component, y, jnp.stack([low, high]), exact > 0)

    return map_examples(batch_last, mixture, y, cells[:, 0], cells[:, 1], exact)


@jax.jit
def log_cell(
    mixture: Mixture, low: Float[AnyArray, "*batch_y D"], high: Float[AnyArray, "*batch_y D"]
) -> Float[Array, "*broadcast"]:
    """Returns log P(low < Y <= high|x), accurate far into the tails; ends may be infinite."""
    return map_examples(mixture_log_cell, mixture, low, high)


class Discrete(NamedTuple):
    """The distributions of N rounded targets: V values, and the cdf at each of them, which is 1 at the last."""

    values: Float[np.ndarray, " V"]
    cdf: Float[np.ndarray, "N V"]

    def probabilities(self) -> Float[np.ndarray, "N V"]:
        """Returns the probability of each value; the first and the last include everything beyond them."""
        return np.diff(self.cdf, axis=1, prepend=0.0)

    def mean_and_variance(self) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Returns mean and variance of the rounded target."""
        probabilities = self.probabilities()
        mean = probabilities @ self.values
        return mean, np.sum(probabilities * (self.values - mean[:, None]) ** 2, axis=1)

    def crps(self, y: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Returns int (F(t) - [y <= t])^2 dt, a sum since F is constant between two values, for y from the first to the last."""
        lengths, below = np.diff(self.values), self.cdf[:, :-1]
        above = np.clip((self.values[1:] - y[:, None]) / lengths, 0, 1)  # the share of each piece that is above y
        return np.sum(lengths * ((1 - above) * below**2 + above * (below - 1) ** 2), axis=1)


def discrete(mixture: Mixture, units: Units, lattice: Lattice, y: Float[np.ndarray, " N"] | None = None) -> Discrete:
    """Returns the distributions of a single rounded target, from mixtures `[N]` in `units`.

    The values are those of training and of y, and those beyond them, up to the range of training, that any row gives a
    probability above TAIL. If there are more than MAX_VALUES, every second, third, ... value stands for its neighbours.
    """
    (step,), (first,), (last,) = lattice
    seen = np.array([first, last] if y is None else [first, last, y.min(), y.max()])
    beyond = max(last - first, MIN_BEYOND * step)
    ends = units.absolute(quantile(mixture[:, None], jnp.array([TAIL, 1 - TAIL])))[..., 0]
    low = min(seen.min(), max(np.min(ends[:, 0]), first - beyond))
    high = max(seen.max(), min(np.max(ends[:, 1]), last + beyond))
    start, stop = np.floor((low - first) / step), np.ceil((high - first) / step)
    stride = int((stop - start) // MAX_VALUES) + 1
    values = first + step * np.arange(start, stop + stride, stride)
    return Discrete(values, _with_1(_cdf_at(mixture, units, values[:-1] + stride * step / 2)))


def rounded_moments(
    mixture: Mixture, units: Units, lattice: Lattice
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    """Returns mean and variance of each rounded target, from mixtures `[N]` in `units`."""
    singles = [discrete(single, units.select(d), lattice.select(d)) for d, single in enumerate(marginals(mixture))]
    mean, variance = zip(*(single.mean_and_variance() for single in singles), strict=True)
    return np.stack(mean, axis=1), np.stack(variance, axis=1)


def rounded_moments_of_row(mixture: Mixture, units: Units, lattice: Lattice) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
    """Returns `rounded_moments` of one row in a compiled program, where the values must be the same for every row."""
    found = []
    for d, single in enumerate(marginals(mixture)):
        (step,), (first,), (last,) = lattice.select(d)
        beyond = max(last - first, MIN_BEYOND * step)
        stride = int((last - first + 2 * beyond) / step // MAX_VALUES) + 1
        values = np.arange(first - step * np.ceil(beyond / step), last + beyond + step, stride * step)
        edges = units.select(d).relative(values[:-1, None] + stride * step / 2).astype(mixture.logits.dtype)
        below = jnp.append(cdf(single, edges), 1.0)
        shares = jnp.diff(below, prepend=0.0)
        mean = jnp.sum(shares * values)
        found.append((mean, jnp.sum(shares * (values - mean) ** 2)))
    mean, variance = zip(*found, strict=True)
    return jnp.stack(mean), jnp.stack(variance)


def probabilities_of(mixture: Mixture, units: Units, values: Float[np.ndarray, " V"], step: float) -> Float[np.ndarray, "N V"]:
    """Returns the probability of each value of a lattice; the first and the last include everything beyond them."""
    return Discrete(values, _with_1(_cdf_at(mixture, units, values[:-1] + step / 2))).probabilities()


def lattice_pit(mixture: Mixture, units: Units, lattice: Lattice, y: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Returns the randomised PIT F(y - d/2) + U P(y), with U from U(0, 1): it is uniform if the mixture is the true distribution.

    The random numbers are the same in every call. Source: Smith (1985), Diagnostic checks of non-standard time series models.
    """
    half = lattice.step[0] / 2
    below, above = (_cdf_of_rows(mixture, units, y + sign * half) for sign in (-1, 1))
    return below + np.random.default_rng(0).random(len(y)) * (above - below)


def _cdf_at(mixture: Mixture, units: Units, y: Float[np.ndarray, " V"]) -> Float[np.ndarray, "N V"]:
    """Returns the cdf of every row at the same values, block by block."""
    points = jnp.asarray(units.relative(y[:, None]), mixture.logits.dtype)
    rows = max(1, MAX_NUMBERS // (len(y) * mixture.logits.shape[-1]))
    blocks = [cdf(mixture[start : start + rows, None], points) for start in range(0, len(mixture), rows)]
    return np.concatenate([np.asarray(block, np.float64) for block in blocks])


def _with_1(values: Float[np.ndarray, "N V"]) -> Float[np.ndarray, "N W"]:
    return np.append(values, np.ones((len(values), 1)), axis=1)


def _cdf_of_rows(mixture: Mixture, units: Units, y: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    points = jnp.asarray(units.relative(y[:, None]), mixture.logits.dtype)
    return np.asarray(cdf(mixture, points), np.float64)
