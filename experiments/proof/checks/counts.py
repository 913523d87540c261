"""Compares the modes of many random mixtures with a search on a dense grid: none may be missed, and none may be wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof import peaks
from experiments.proof.cases import Case
from experiments.proof.checks import select
from experiments.proof.checks.check import Check
from experiments.proof.oracles import Numbers, examples
from mdnjax import Mixture

NUM_MIXTURES, MAX_COMPONENTS = 2000, 5
SLACK = {"float32": 2e-3, "float64": 1e-8}  # of a position, in scales: the slope of p has few digits near a flat mode


def random_mixtures(family: Any) -> Mixture:
    """Returns mixtures of 1 to 5 components in float32, so that their float64 copies have the same numbers."""
    rng, shape = np.random.default_rng(11), (NUM_MIXTURES, MAX_COMPONENTS)
    logits, loc, scale = rng.standard_normal(shape), 3 * rng.standard_normal(shape), np.exp(rng.standard_normal(shape))
    logits[np.arange(MAX_COMPONENTS) > np.arange(NUM_MIXTURES)[:, None] % MAX_COMPONENTS] = -np.inf
    df = 2.1 + np.exp(2 + rng.standard_normal(shape))
    parts = [jnp.asarray(part[..., None], jnp.float32) for part in (loc, scale, df)]
    return Mixture(jnp.asarray(logits, jnp.float32), family(*parts[: len(family._fields)]))


@lru_cache(maxsize=4)
def cells(family: Any) -> list[Numbers]:
    """Returns the intervals that contain the modes of each mixture."""
    return [peaks.cells_of_modes(example) for example in examples(random_mixtures(family))]


def _wrong(mixture: Mixture, case: Case) -> Numbers:
    """Returns the share of mixtures with a wrong number of modes, or with a mode at which the density does not stop rising."""
    family, dtype = type(mixture.component), mixture.logits.dtype
    many = random_mixtures(family)
    many = jax.tree.map(lambda leaf: leaf.astype(dtype), many)
    found = mdn.modes(many)
    counts, y = np.asarray(found.num_modes), np.sort(np.asarray(found.y[..., 0], float), axis=-1)
    smallest = np.asarray(many.component.marginals().scale, float).min(axis=(1, 2))
    wrong = 0
    for at, count, ends, scale in zip(y, counts, cells(family), smallest, strict=True):
        slack = SLACK[str(dtype)] * scale
        wrong += count != len(ends) or bool(((at[:count] < ends[:, 0] - slack) | (at[:count] > ends[:, 1] + slack)).any())
    return np.array(wrong / NUM_MIXTURES)


CHECKS = [
    Check(
        "modes",
        "share of 2,000 random mixtures with a missed or false mode",
        "signs of the derivative on a dense grid",
        _wrong,
        lambda c: np.array(0.0),
        select.each_tail,
        (0.0, 0.0),
        "absolute",
    )
]
