"""Makes the mixtures to check: each family on each support, with components that overlap, are far apart, or have no weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.proof.oracles import Example, examples
from experiments.proof.regimes import ORDINARY, REGIMES, centres, change
from mdnjax import FAMILIES, Mixture, Support, warp
from mdnjax.components import GAUSSIAN, Sizes
from mdnjax.mixture import from_batch_last

SUPPORTS = {"line": (-np.inf, np.inf), "positive": (0.0, np.inf), "box": (-1.0, 2.0), "upper": (-np.inf, 3.0)}
LEVELS = np.array([0.5, 0.9], np.float32)
PROBABILITIES = np.array([1e-6, 0.01, 0.2, 0.5, 0.75, 0.99, 1 - 2**-20], np.float32)
SCALE_FLOOR = 0.01
BATCH_SIZE = 6
NUM_POINTS = 9
NUM_ROUNDINGS = 2  # a result may be off by as many units in its last place


class Name(NamedTuple):
    """Family, support, sizes and regime that identify a case."""

    family: str
    support: str = "line"
    num_targets: int = 1
    num_components: int = 3
    regime: str = ORDINARY

    def __str__(self) -> str:
        regime = "" if self.regime == ORDINARY else f", {self.regime}"
        return f"{self.family}, {self.support}, D={self.num_targets}, K={self.num_components}{regime}"

    def ordinary(self) -> Name:
        """Returns the case that the regime changes."""
        return self if self.regime == ORDINARY else self._replace(regime=ORDINARY, num_components=3)


class Case(NamedTuple):
    """A batch of mixtures, points at which they are evaluated, and an oracle for each example of the batch.

    The points are `[Q, *batch, D]`, or `[*batch, D]` for one point of each example. The examples are relative to `centre`: far
    from zero, the differences of float32 numbers are exact in float64, but a function of the numbers themselves is not.
    """

    given: Mixture
    y: np.ndarray
    examples: list[Example]
    centre: np.ndarray | float = 0.0  # [*batch, D]

    def mixture(self, dtype: str) -> Mixture:
        """Returns the batch in a dtype."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self.given)

    def centred(self) -> Mixture:
        """Returns the batch in float64, relative to the centre."""
        return _centred(self.mixture("float64"), self.centre)

    def relative(self, y: Any) -> np.ndarray:
        """Returns values `[..., *batch, D]` in the units of y, relative to the centre."""
        return np.asarray(y, float) - self.centre

    def rounding(self, dtype: Any) -> np.ndarray:
        """Returns by how much the rounding of its own digits moves a number near the centre."""
        return NUM_ROUNDINGS * np.finfo(dtype).eps * np.abs(self.centre)

    @property
    def points(self) -> np.ndarray:
        """Returns the points relative to the centre."""
        return self.relative(self.y)

    def each(self, function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
        """Returns function(example, *values) for each example and its values in arrays that have the leading axes of `y`."""
        leading = arrays[0].shape[: self.y.ndim - 1 - self.given.ndim] if arrays else ()
        shape, size = (*leading, *self.given.shape), len(self.examples)
        values = [
            function(self.examples[n % size], *(array[index] for array in arrays)) for n, index in enumerate(np.ndindex(*shape))
        ]
        return np.reshape(values, (*shape, *np.shape(values)[1:]))


def names() -> list[Name]:
    """Returns all cases of the command."""
    single = [Name(family, support) for family, support in product(FAMILIES, ("line", "positive", "box"))]
    single += [Name("diagonal", "upper"), Name("student_t", "upper")]
    several = [Name(family, support, 2) for family, support in product(FAMILIES, ("line", "positive"))]
    several += [Name(family, "box", 2) for family in ("diagonal", "full", "student_t")]
    several += [Name(family, "line", 3) for family in ("full", "low_rank")]
    many = [Name("diagonal", "line", 1, 16), Name("full", "line", 3, 1)]
    return single + several + many + _in_regimes()


def _in_regimes() -> list[Name]:
    """Returns cases of one target for each kind of tail, on the line and in a box, and of two for families that differ there."""
    tails = ("diagonal", "laplace", "student_t")
    names = [Name(family, "line", 1, 3, regime) for family in tails for regime in ("far", "weights", "kinks", "ends")]
    names += [Name(family, "box", 1, 3, regime) for family in tails for regime in ("weights", "kinks", "ends")]
    names += [Name(family, "line", 2, 3, regime) for family in FAMILIES for regime in ("far", "kinks", "ends")]
    names += [Name(family, "line", 2, 3, "weights") for family in ("full", "low_rank")]
    # None is in a box: with 1e4 degrees of freedom the density rises again so near to a bound that no float is there.
    names += [Name("student_t", "line", size, 3, "df") for size in (1, 2)]
    sizes = [(regime, REGIMES[regime].num_components) for regime in ("one", "many")]
    return names + [Name(family, "line", 1, k, regime) for family in tails for regime, k in sizes]


def make_case(name: Name) -> Case:
    """Returns a batch of six mixtures in float32, so that their float64 copies have the same numbers, with points for each."""
    regime = REGIMES[name.regime]
    mixture = _mixture(name, np.random.default_rng([len(str(name.ordinary())), *name[2:4]]))
    centre = centres(regime, np.zeros((BATCH_SIZE, name.num_targets)))
    oracles = examples(_centred(mixture, centre))
    y = regime.points(oracles) if regime.points else _points(oracles)
    return Case(mixture, (y + centre).astype(np.float32), oracles, centre)


def is_gaussian(name: Name) -> bool:
    """Whether the components are Gaussian on the real line."""
    return FAMILIES[name.family] in GAUSSIAN


def _points(oracles: list[Example]) -> np.ndarray:
    """Returns points in float32 near the components and in their tails, and one that is much farther away."""
    rng = np.random.default_rng(7)
    points = np.empty((NUM_POINTS, len(oracles), oracles[0].loc.shape[1]), np.float32)
    for b, example in enumerate(oracles):
        for q in range(NUM_POINTS):
            k = rng.choice(np.flatnonzero(example.weight))
            spread = 8 if q == NUM_POINTS - 1 else 1.5
            u = example.loc[k] + spread * rng.standard_normal(example.loc.shape[1]) * example.scale[k]
            points[q, b] = example.from_line(u)
    low, high = (np.asarray(bound, np.float32) for bound in (oracles[0].low, oracles[0].high))
    return np.clip(points, np.nextafter(low, np.float32(9)), np.nextafter(high, np.float32(-9)))


def _mixture(name: Name, rng: np.random.Generator) -> Mixture:
    num_components, num_targets = name.num_components, name.num_targets
    shape = (num_components, num_targets, BATCH_SIZE)
    bounded = name.support != "line"
    loc = (0.7 if bounded else 2.0) * rng.standard_normal(shape)
    raw_scale = rng.uniform(np.log(0.08), np.log(0.35), shape) if bounded else 0.5 * rng.standard_normal(shape)
    loc[..., 2] *= 0.1  # overlapping
    loc[..., 3] = (2.0 if bounded else 20.0) * (np.arange(num_components) - (num_components - 1) / 2)[:, None]
    raw_scale[..., 3] -= 2.0  # far apart and narrow
    logits = rng.standard_normal((num_components, BATCH_SIZE))
    if num_components > 1:
        logits[0, 4] = -np.inf
        loc[0, ..., 4] += 3.0
    logits[:, 5] += 1000.0
    family, sizes = FAMILIES[name.family], Sizes(num_components, num_targets, 1)
    raw_scale = raw_scale[:, 0] if name.family == "isotropic" else raw_scale
    blocks = [block.reshape(-1, BATCH_SIZE) for block in (loc, raw_scale)]
    num_extra = sum(family.raw_sizes(sizes)) - sum(len(block) for block in blocks)
    extra_size = 0.2 if bounded and name.family == "low_rank" else 0.7
    blocks.append(extra_size * rng.standard_normal((num_extra, BATCH_SIZE)))
    raw = jnp.asarray(np.concatenate(blocks), jnp.float32)
    mixture = from_batch_last(jnp.asarray(logits, jnp.float32), family.from_raw(raw, sizes, SCALE_FLOOR))
    mixture = Mixture(*change(REGIMES[name.regime], mixture.logits, mixture.component))
    if not bounded:
        return mixture
    low, high = SUPPORTS[name.support]
    return warp(mixture, Support((low,) * num_targets, (high,) * num_targets))


def _centred(mixture: Mixture, centre: Any) -> Mixture:
    """Returns the mixture with locations relative to the centre; only mixtures on the whole line are far from zero."""
    if not np.any(centre):
        return mixture
    component: Any = mixture.component
    loc = np.asarray(component.loc, float) - centre[:, None]
    return replace(mixture, component=component._replace(loc=jnp.asarray(loc, float)))
