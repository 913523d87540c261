"""Gradients against central differences of the oracles, in every parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof import one_target, oracles
from experiments.proof.cases import Case, Name
from experiments.proof.checks.check import Check, as_mixture
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture

STEP = 1e-5
SHARE = 0.3


def differences(case: Case, function: Callable[[Example, Numbers], float]) -> tuple[Numbers, ...]:
    """d function / d leaf of each example, for every leaf of the mixture, by central differences of fourth order."""
    mixture, y = case.float64, case.y[0].astype(float)
    leaves, tree = jax.tree.flatten(mixture)
    leaves = [np.asarray(leaf) for leaf in leaves]
    slopes = []
    for number, leaf in enumerate(leaves):
        slope = np.zeros_like(leaf)
        for entry in np.ndindex(leaf.shape[1:]):
            values = []
            for step in (-2, -1, 1, 2):
                moved = leaf.copy()
                moved[(slice(None), *entry)] += step * STEP
                other = jax.tree.unflatten(tree, [moved if i == number else same for i, same in enumerate(leaves)])
                values.append(np.array([function(e, at) for e, at in zip(oracles.examples(other), y, strict=True)]))
            far_low, low, high, far_high = values
            slope[(slice(None), *entry)] = (8 * (high - low) - (far_high - far_low)) / (12 * STEP)
        slopes.append(slope)
    return free(case, slopes)


def free(case: Case, leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Without what is above the diagonal of a triangular factor: those entries are no parameters."""
    full = case.name.family == "full"
    return tuple(np.tril(leaf) if full and np.ndim(leaf) == 4 else leaf for leaf in leaves)


def gradient(function: Callable[[Mixture, Any], Any]) -> Callable[[Mixture, Case], tuple[Any, ...]]:
    """The library's, in every parameter of each example."""

    def of(mixture: Mixture, case: Case) -> tuple[Any, ...]:
        y = as_mixture(case.y[0], mixture)
        return free(case, jax.tree.leaves(jax.grad(lambda mixture: jnp.sum(function(mixture, y)))(mixture)))

    return of


def _some(name: Name) -> bool:
    chosen = name.family in ("diagonal", "laplace", "student_t") and name.support in ("line", "box")
    return chosen and name.num_targets == 1 and name.num_components == 3


def _any_line(name: Name) -> bool:
    return name.num_components == 3 and ((name.num_targets == 2 and name.support == "line") or _some(name))


def _pathwise(mixture: Mixture, case: Case) -> Any:
    """d draw / d location of every component."""

    def total(mixture: Mixture) -> Any:
        return mdn.sample_with_gradient(jax.random.key(6), mixture).sum()

    slopes = jax.grad(total)(mixture)
    component: Any = slopes.component
    transform_targets = getattr(component, "component", component)
    return slopes.logits, transform_targets.loc[..., 0]


def _true_pathwise(dtype: str) -> Any:
    """Central differences of the quantile at the place of each draw."""

    def of(case: Case) -> Any:
        draws = np.asarray(mdn.sample(jax.random.key(6), case.mixture(dtype)), float)
        parts = [_moved(e, y) for e, y in zip(case.examples, draws, strict=True)]
        return np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])

    return of


def _moved(example: Any, y: Numbers, step: float = 1e-5) -> tuple[Numbers, Numbers]:
    p, count = one_target.cdf(example, y), len(example.weight)

    def at(weight: Numbers, loc: Numbers) -> float:
        return float(one_target.quantile(example._replace(weight=weight / weight.sum(), loc=loc), p)[0])

    logits, locs = np.empty(count), np.empty(count)
    for k in range(count):
        unit = np.eye(count)[k] * step
        logits[k] = (at(example.weight * np.exp(unit), example.loc) - at(example.weight * np.exp(-unit), example.loc)) / (
            2 * step
        )
        locs[k] = (at(example.weight, example.loc + unit[:, None]) - at(example.weight, example.loc - unit[:, None])) / (2 * step)
    return logits, locs


CHECKS = [
    Check(
        "log_prob",
        "gradient in all parameters",
        "differences of scipy's densities",
        gradient(mdn.log_prob),
        lambda c: differences(c, lambda e, y: float(e.log_prob(y))),
        _any_line,
        1e-3,
        1e-6,
    ),
    Check(
        "cdf",
        "gradient in all parameters",
        "differences of scipy's cdf",
        gradient(mdn.cdf),
        lambda c: differences(c, one_target.cdf),
        _some,
        1e-3,
        1e-6,
    ),
    Check(
        "quantile",
        "gradient in all parameters",
        "differences of brentq's root",
        gradient(lambda m, y: mdn.quantile(m, SHARE)),
        lambda c: differences(c, lambda e, y: float(one_target.quantile(e, SHARE)[0])),
        _some,
        5e-3,
        1e-6,
    ),
    Check(
        "crps",
        "gradient in all parameters",
        "differences of Gauss-Legendre panels",
        gradient(mdn.crps),
        lambda c: differences(c, one_target.crps),
        lambda n: _some(n) and n.support == "line",
        1e-3,
        1e-6,
    ),
    *[
        Check(
            "sample_with_gradient",
            "d quantile / d (logits, locations)",
            "differences of brentq's quantile",
            _pathwise,
            _true_pathwise(dtype),
            lambda n: (
                n.num_targets == 1
                and n.num_components == 3
                and n.family in ("diagonal", "student_t")
                and n.support in ("line", "positive")
            ),
            5e-3,
            1e-6,
            dtypes=(dtype,),
        )
        for dtype in ("float32", "float64")
    ],
]
