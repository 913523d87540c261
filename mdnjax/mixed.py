"""Distributions with atoms: a target that has some values with a probability of their own, and all others with a density.

The mixtures are those of the latent number s of `mdnjax.data.atoms`, of which the target is a function.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from mdnjax.batching import map_batch, map_examples
from mdnjax.cells import log_cell
from mdnjax.components import Component, Warped
from mdnjax.data.atoms import Atoms
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, log_prob
from mdnjax.quadrature import integrate
from mdnjax.statistics import cdf, mean, quantile, variance
from mdnjax.statistics.line import line_mixture
from mdnjax.types import Array, Float

NUM_STEPS_MOMENTS = 48  # of the quadrature, on either side of its centre: gives the digits of float32
NUM_NODES = 6  # of the Gauss-Legendre rule between two levels of the CRPS
CRPS_LEVELS = expit(np.concatenate([np.linspace(-16, -3, 14), np.linspace(-2.7, 2.7, 37), np.linspace(3, 16, 14)]))
MAX_CRPS_ROWS = 1000  # the CRPS has no closed form: quadrature takes some milliseconds for each row


def atom_probabilities(mixture: Mixture, units: Units, atoms: Atoms) -> Float[np.ndarray, "N A"]:
    """Returns the probability of each atom that predictions have, from mixtures `[N]` in `units`."""
    return np.asarray(atom_probabilities_of_row(mixture, units, atoms), np.float64)


def atom_probabilities_of_row(mixture: Mixture, units: Units, atoms: Atoms) -> Float[Array, "*batch A"]:
    """Returns `atom_probabilities` of mixtures `[*batch]`, also of a single one in a compiled program."""
    places = atoms.predicted
    low, high = (_in_units(units, ends[places], mixture) for ends in (np.asarray(atoms.low), np.asarray(atoms.high)))
    return jnp.exp(log_cell(mixture[..., None], low, high))


def log_prob_with_atoms(mixture: Mixture, units: Units, atoms: Atoms, y: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " N"]:
    """Returns the log density of recorded targets y in their own units, and the log probability of atoms and beyond bounds."""
    low, high, exact = atoms.cells(y)
    ends = [_in_units(units, end[:, 0], mixture) for end in (low, high)]
    densities = np.asarray(log_prob(mixture, _in_units(units, atoms.latent(y)[:, 0], mixture)), np.float64)
    of_cells = np.asarray(log_cell(mixture, *ends), np.float64)  # where a target is exact, the place of no atom is used
    return np.where(exact[:, 0], densities - np.log(units.factor[0]), of_cells)


def pit_with_atoms(mixture: Mixture, units: Units, atoms: Atoms, y: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " N"]:
    """Returns the PIT of recorded targets, which is drawn between both sides of an atom: F(y-) + U P(y), with U from U(0, 1).

    The random numbers are the same in every call. Source: Smith (1985), Diagnostic checks of non-standard time series models.
    """
    low, high, exact = atoms.cells(y)
    latent = atoms.latent(y)
    ends = [_in_units(units, np.where(exact, latent, end)[:, 0], mixture) for end in (low, high)]
    below, above = (np.asarray(cdf(mixture, end), np.float64) for end in ends)
    return below + np.random.default_rng(0).random(len(y)) * (above - below)


def moments_with_atoms(mixture: Mixture, units: Units, atoms: Atoms) -> tuple[Float[np.ndarray, "N 1"], Float[np.ndarray, "N 1"]]:
    """Returns mean and variance of the target that is predicted, from mixtures `[N]` in `units`."""
    relative = atoms.relative(units)
    first, second = (np.asarray(moment, np.float64) for moment in _moments(mixture, *_pieces(relative, mixture)))
    return units.absolute(first), units.factor**2 * np.maximum(second - first**2, 0)


def moments_of_row_with_atoms(mixture: Mixture, units: Units, atoms: Atoms) -> tuple[Float[Array, " 1"], Float[Array, " 1"]]:
    """Returns `moments_with_atoms` of one row in a compiled program."""
    first, second = _moments(mixture, *_pieces(atoms.relative(units), mixture))
    offset, factor = jnp.asarray(units.offset), jnp.asarray(units.factor)
    return offset + factor * first, factor**2 * jnp.maximum(second - first**2, 0)


def crps_with_atoms(mixture: Mixture, units: Units, atoms: Atoms, y: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " n"]:
    """Returns the CRPS of recorded targets of the first MAX_CRPS_ROWS rows, in the units of y, by quadrature.

    It is int (F(s) - [s >= s(y)])^2 ds without the intervals of atoms, in which the target does not change.
    """
    relative, shown = atoms.relative(units), mixture[:MAX_CRPS_ROWS]
    used = np.flatnonzero(np.asarray(relative.used))
    ends = [jnp.asarray(np.asarray(values)[used], mixture.logits.dtype) for values in (relative.low, relative.high)]
    y = y[:MAX_CRPS_ROWS]
    at = atoms.latent(y)  # that of an atom is somewhere in its interval, which is left out
    return units.factor[0] * np.asarray(_crps(shown, _in_units(units, at[:, 0], mixture), *ends), np.float64)


def _in_units(units: Units, s: Float[np.ndarray, " n"], mixture: Mixture) -> Float[Array, "n 1"]:
    return jnp.asarray(units.relative(s[:, None]), mixture.logits.dtype)


def _pieces(relative: Atoms, mixture: Mixture) -> tuple[Array, ...]:
    """Returns where the predicted target changes from one straight piece to the next: the ends `[E]`, and slope and value there.

    On piece i, up to ends[i], the target is slope[i] s + value[i]. The last piece has no end.
    """
    places = relative.predicted
    cuts = np.unique([end for place in places for end in (relative.low[place], relative.high[place]) if np.isfinite(end)])
    middle = np.concatenate([[cuts[0] - 1], (cuts[:-1] + cuts[1:]) / 2, [cuts[-1] + 1]]) if len(cuts) else np.zeros(1)
    inside = [any(relative.low[place] < s < relative.high[place] for place in places) for s in middle]
    slope = np.where(inside, 0.0, 1.0)
    value = np.asarray(relative.observed(middle[:, None]))[:, 0] - slope * middle
    return tuple(jnp.asarray(array, mixture.logits.dtype) for array in (cuts, slope, value))


@jax.jit
def _moments(
    mixture: Mixture, ends: Array, slope: Array, value: Array
) -> tuple[Float[Array, "*batch 1"], Float[Array, "*batch 1"]]:
    """Returns the first two moments about 0 of slope s + value on its pieces."""
    if isinstance(mixture.component, Warped):
        return map_batch(
            partial(_moments_by_quadrature, ends=ends, slope=slope, value=value), mixture, size=2 * NUM_STEPS_MOMENTS
        )
    below = _moments_below(mixture, ends[:, None])
    total = jnp.ones_like(mixture.logits[..., 0]), mean(mixture)[..., 0], (variance(mixture) + mean(mixture) ** 2)[..., 0]
    whole = [jnp.concatenate([part, all_[..., None]], axis=-1) for part, all_ in zip(below, total, strict=True)]
    mass, first, second = (jnp.diff(part, prepend=0, axis=-1) for part in whole)
    one = jnp.sum(slope * first + value * mass, axis=-1)
    two = jnp.sum(jnp.where(slope > 0, second, 0) + 2 * slope * value * first + value**2 * mass, axis=-1)
    return one[..., None], two[..., None]


def _moments_below(mixture: Mixture, ends: Float[Array, "E 1"]) -> tuple[Float[Array, "*batch E"], ...]:
    """Returns E[s^m; s <= end] for m = 0, 1, 2, from E[max(end - s, 0)^m]."""

    def at_end(logits: Array, component: Component, end: Array) -> tuple[Array, Array, Array]:
        weight, marginals = jax.nn.softmax(logits, axis=0), component.marginals()
        tails = (marginals.cdfs(end), marginals.deficits(end), marginals.squared_deficits(end))  # pyright: ignore
        mass, deficit, square = (jnp.sum(weight * tail[:, 0], axis=0) for tail in tails)
        return mass, end[0] * mass - deficit, end[0] ** 2 * mass - 2 * end[0] * deficit + square

    return map_examples(at_end, mixture[..., None], ends)


def _moments_by_quadrature(
    logits: Array, component: Any, *, ends: Array, slope: Array, value: Array
) -> tuple[Float[Array, "1 *batch"], Float[Array, "1 *batch"]]:
    """Returns `_moments` on a bounded support, from an integral for each component over the real line."""
    marginals, weight = component.marginals(), jax.nn.softmax(logits, axis=0)
    line, cuts = marginals.line(), marginals.to_line(ends[None])[0]
    loc, scale = line.loc[:, 0], line.scale[:, 0]
    finite = [jnp.where(jnp.isfinite(cut), cut, 0) for cut in cuts]  # there is a cut at 0 too, where a logit bends
    points = jnp.sort(jnp.stack([loc, *(jnp.broadcast_to(cut, loc.shape) for cut in (0.0, *finite))]), axis=0)

    def moment(power: int) -> Array:
        def integrand(u: Array) -> Array:
            s = marginals.from_line(u[:, :, None], axis=2)[:, :, 0]
            piece = jnp.sum(s[..., None] > ends, axis=-1)
            density = jnp.exp(line.target_log_probs(u[:, :, None])[:, :, 0])
            target = jnp.where(density > 0, slope[piece] * s + value[piece], 0)  # far out its square may be infinite
            return density * target**power

        return jnp.sum(weight * integrate(integrand, points, scale, num_steps=NUM_STEPS_MOMENTS).value, axis=0)[None]

    return moment(1), moment(2)


@jax.jit
def _crps(mixture: Mixture, s: Float[Array, "N 1"], low: Float[Array, " A"], high: Float[Array, " A"]) -> Float[Array, " N"]:
    """Integrates between quantiles of the mixture, so that its cdf changes little between two of them, however narrow it is."""
    levels = jnp.asarray(CRPS_LEVELS, mixture.logits.dtype)
    quantiles = quantile(mixture[:, None], levels)[..., 0]
    first, last = jnp.minimum(quantiles[:, :1], s), jnp.maximum(quantiles[:, -1:], s)
    ends = jnp.broadcast_to(jnp.concatenate([low, high]), (len(s), 2 * len(low)))
    cuts = jnp.sort(jnp.clip(jnp.concatenate([quantiles, s, ends], axis=1), first, last), axis=1)
    kernel = partial(_crps_between, low=low, high=high)
    return map_batch(kernel, mixture, s, cuts, size=NUM_NODES * cuts.shape[1])


def _crps_between(
    logits: Array, component: Component, s: Array, cuts: Array, *, low: Array, high: Array
) -> Float[Array, "*batch"]:
    line = line_mixture(logits, component)
    s_on_line, ends = line.marginals.to_line(s)[0], line.marginals.to_line(cuts[:, None], axis=1)[:, 0]
    middle, half = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
    total = jnp.zeros_like(s_on_line)
    for node, weight in zip(*np.polynomial.legendre.leggauss(NUM_NODES), strict=True):
        u = middle + half * float(node)
        tail, at = line.tails(u, u <= s_on_line), line.value(u)
        inside = jnp.any((at[..., None] > low) & (at[..., None] < high), axis=-1)
        log_square = 2 * jnp.log(jnp.where(tail > 0, tail, 1)) - line.log_slope(u)
        terms = jnp.where(inside | (tail <= 0), 0, jnp.exp(log_square))
        total += float(weight) * jnp.sum(half * terms, axis=0)
    return total
