"""Checks of gradients, in every parameter, against central differences of the oracles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof import one_target, oracles
from experiments.proof.cases import Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, as_dtype_of
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture

STEP = 1e-5
PROBABILITY = 0.3


def differences(function: Callable[[Example, Numbers], float]) -> Callable[[Case], tuple[Numbers, ...]]:
    """Returns the truth d function / d leaf of each example, for every leaf, by central differences of fourth order."""

    def truth(case: Case) -> tuple[Numbers, ...]:
        y = case.y[0].astype(float)
        leaves, tree = jax.tree.flatten(case.mixture("float64"))
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
        return _without_unused(case, slopes)

    return truth


def gradient(function: Callable[[Mixture, Any], Any]) -> Callable[[Mixture, Case], tuple[Any, ...]]:
    """Returns the value d function(mixture, y) / d leaf of each example, by the library, for every leaf."""

    def value(mixture: Mixture, case: Case) -> tuple[Any, ...]:
        y = as_dtype_of(mixture, case.y[0])
        return _without_unused(case, jax.tree.leaves(jax.grad(lambda mixture: jnp.sum(function(mixture, y)))(mixture)))

    return value


def _without_unused(case: Case, leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Sets entries above the diagonal of a triangular factor to 0: these are not parameters."""
    full = isinstance(case.given.component, mdn.Full)
    return tuple(np.tril(leaf) if full and np.ndim(leaf) == 4 else leaf for leaf in leaves)


def _each_tail_and_line_or_box(name: Name) -> bool:
    return (
        select.three_components(name) and name.family in ("diagonal", "laplace", "student_t") and name.support in ("line", "box")
    )


def _pathwise(mixture: Mixture, case: Case) -> Any:
    """Returns d draw / d logit and d draw / d location of every component."""
    slopes = jax.grad(lambda mixture: mdn.sample_with_gradient(jax.random.key(6), mixture).sum())(mixture)
    component: Any = slopes.component
    return slopes.logits, getattr(component, "component", component).loc[..., 0]


def _true_pathwise(dtype: str) -> Callable[[Case], tuple[Numbers, Numbers]]:
    """Returns central differences of the quantile at the probability of each draw."""

    def truth(case: Case) -> tuple[Numbers, Numbers]:
        draws = np.asarray(mdn.sample(jax.random.key(6), case.mixture(dtype)), float)
        logits, locs = zip(*(_quantile_slopes(e, y) for e, y in zip(case.examples, draws, strict=True)), strict=True)
        return np.stack(logits), np.stack(locs)

    return truth


def _quantile_slopes(example: Example, y: Numbers) -> tuple[Numbers, Numbers]:
    p, units = one_target.cdf(example, y), np.eye(len(example.weight)) * STEP

    def at(weight: Numbers, loc: Numbers) -> float:
        return float(one_target.quantile(example._replace(weight=weight / weight.sum(), loc=loc), p)[0])

    def slope(function: Callable[[Numbers], float]) -> Numbers:
        return np.array([(function(unit) - function(-unit)) / (2 * STEP) for unit in units])

    by_logit = slope(lambda unit: at(example.weight * np.exp(unit), example.loc))
    return by_logit, slope(lambda unit: at(example.weight, example.loc + unit[:, None]))


CHECKS = [
    Check(
        "log_prob",
        "gradient in all parameters",
        "differences of scipy's densities",
        gradient(mdn.log_prob),
        differences(lambda e, y: float(e.log_prob(y))),
        lambda n: (select.two_on_the_line(n) and n.num_components == 3) or _each_tail_and_line_or_box(n),
        (1e-3, 1e-6),
    ),
    Check(
        "cdf",
        "gradient in all parameters",
        "differences of scipy's cdf",
        gradient(mdn.cdf),
        differences(one_target.cdf),
        _each_tail_and_line_or_box,
        (1e-3, 1e-6),
    ),
    Check(
        "quantile",
        "gradient in all parameters",
        "differences of brentq's root",
        gradient(lambda m, y: mdn.quantile(m, PROBABILITY)),
        differences(lambda e, y: float(one_target.quantile(e, PROBABILITY)[0])),
        _each_tail_and_line_or_box,
        (5e-3, 1e-6),
    ),
    Check(
        "crps",
        "gradient in all parameters",
        "differences of Gauss-Legendre panels",
        gradient(mdn.crps),
        differences(one_target.crps),
        lambda n: _each_tail_and_line_or_box(n) and n.support == "line",
        (1e-3, 1e-6),
    ),
    *[
        Check(
            "sample_with_gradient",
            "d quantile / d (logits, locations)",
            "differences of brentq's quantile",
            _pathwise,
            _true_pathwise(dtype),
            lambda n: select.three_components(n) and n.family in ("diagonal", "student_t") and n.support in ("line", "positive"),
            (5e-3, 1e-6),
            dtypes=(dtype,),
        )
        for dtype in ("float32", "float64")
    ],
]
