"""Mixtures to prove on: each family on each support, ordinary, overlapping, far apart and narrow, and with a weight of zero."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.proof import oracles
from mdnjax import FAMILIES, Mixture, Support, warp
from mdnjax.components import GAUSSIAN, Sizes
from mdnjax.mixture import from_batch_last

SUPPORTS = {"line": (-np.inf, np.inf), "positive": (0.0, np.inf), "box": (-1.0, 2.0), "upper": (-np.inf, 3.0)}
LEVELS = np.array([0.5, 0.9], np.float32)
SHARES = np.array([1e-6, 0.01, 0.2, 0.5, 0.75, 0.99, 1 - 2**-20], np.float32)
FLOOR = 0.01
POINTS = 9


class Name(NamedTuple):
    """What tells a case from others."""

    family: str
    support: str = "line"
    num_targets: int = 1
    num_components: int = 3

    def __str__(self) -> str:
        return f"{self.family}, {self.support}, D={self.num_targets}, K={self.num_components}"


class Case:
    """A batch of six mixtures of a shape, in float32 and, with the very same numbers, in float64; and the oracles of each."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.rng = np.random.default_rng([len(str(name)), *name[2:]])
        self.float32 = _mixture(name, self.rng)
        self.float64 = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), self.float32)
        self.examples = oracles.examples(self.float64)

    def mixture(self, dtype: str) -> Mixture:
        """The batch in a dtype."""
        return self.float32 if dtype == "float32" else self.float64

    @cached_property
    def y(self) -> np.ndarray:
        """Points `[Q, B, D]` in float32: near the components, in their tails, and one far out."""
        rng = np.random.default_rng(7)
        points = np.empty((POINTS, len(self.examples), self.name.num_targets), np.float32)
        for b, example in enumerate(self.examples):
            for q in range(POINTS):
                k = rng.choice(np.flatnonzero(example.weight))
                spread = 8 if q == POINTS - 1 else 1.5
                u = example.loc[k] + spread * rng.standard_normal(example.loc.shape[1]) * example.scale[k]
                points[q, b] = oracles.from_line(u, example.low, example.high)
        low, high = (np.asarray(bound, np.float32) for bound in (self.examples[0].low, self.examples[0].high))
        return np.clip(points, np.nextafter(low, np.float32(9)), np.nextafter(high, np.float32(-9)))

    def each(self, function, *arrays: np.ndarray) -> np.ndarray:
        """function(example, *points[q, b]) for all examples, and all points where there are any: `[Q, B, ...]` or `[B, ...]`."""
        if not arrays:
            return np.stack([np.asarray(function(example)) for example in self.examples])
        return np.stack(
            [
                [np.asarray(function(e, *points)) for e, *points in zip(self.examples, *rows, strict=True)]
                for rows in zip(*arrays, strict=True)
            ]
        )


def names() -> list[Name]:
    """All cases of the command."""
    single = [Name(family, support) for family, support in product(FAMILIES, ("line", "positive", "box"))]
    single += [Name("diagonal", "upper"), Name("student_t", "upper")]
    several = [Name(family, support, 2) for family, support in product(FAMILIES, ("line", "positive"))]
    several += [Name(family, "box", 2) for family in ("diagonal", "full", "student_t")]
    several += [Name(family, "line", 3) for family in ("full", "low_rank")]
    many = [Name("diagonal", "line", 1, 16), Name("full", "line", 3, 1)]
    return single + several + many


def is_gaussian(name: Name) -> bool:
    """Whether the components are Gaussian on the line."""
    return FAMILIES[name.family] in GAUSSIAN


def _mixture(name: Name, rng: np.random.Generator) -> Mixture:
    num_components, num_targets = name.num_components, name.num_targets
    shape, batch = (num_components, num_targets), 6
    bounded = name.support != "line"
    loc = (0.7 if bounded else 2.0) * rng.standard_normal((*shape, batch))
    raw_scale = (
        rng.uniform(np.log(0.08), np.log(0.35), (*shape, batch)) if bounded else 0.5 * rng.standard_normal((*shape, batch))
    )
    loc[..., 2] *= 0.1  # overlapping
    loc[..., 3] = (2.0 if bounded else 20.0) * (np.arange(num_components) - (num_components - 1) / 2)[:, None]
    raw_scale[..., 3] -= 2.0  # far apart and narrow
    logits = rng.standard_normal((num_components, batch))
    if num_components > 1:
        logits[0, 4] = -np.inf
        loc[0, ..., 4] += 3.0
    logits[:, 5] += 1000.0
    family, sizes = FAMILIES[name.family], Sizes(num_components, num_targets, 1)
    blocks = [loc.reshape(-1, batch), (raw_scale[:, 0] if name.family == "isotropic" else raw_scale).reshape(-1, batch)]
    extra = sum(family.raw_sizes(sizes)) - sum(len(block) for block in blocks)
    blocks.append((0.2 if bounded and name.family == "low_rank" else 0.7) * rng.standard_normal((extra, batch)))
    raw = jnp.asarray(np.concatenate(blocks), jnp.float32)
    mixture = from_batch_last(jnp.asarray(logits, jnp.float32), family.from_raw(raw, sizes, FLOOR))
    if not bounded:
        return mixture
    low, high = SUPPORTS[name.support]
    return warp(mixture, Support((low,) * num_targets, (high,) * num_targets))
