"""Checks of laws that hold for every mixture: a value is compared with zero, a constant, or another value of the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof import one_target
from experiments.proof.cases import PROBABILITIES, Case
from experiments.proof.checks import select
from experiments.proof.checks.check import (
    DTYPES,
    Check,
    as_dtype_of,
    each_point,
    for_each_example,
    points,
    zeros,
    zeros_at_points,
)
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture


def changes_by_order_and_shift(mixture: Mixture, y: Any, order: Numbers, shift: float) -> tuple[Numbers, Numbers]:
    """Returns how log p(y) (scaled) and the mean change when components are in another order and logits have `shift` added.

    The mixture has one batch axis.
    """
    other = jax.tree.map(lambda leaf: leaf[:, order], replace(mixture, logits=mixture.logits + shift))
    return _scaled_difference(mdn.log_prob(other, y), mdn.log_prob(mixture, y)), np.asarray(mdn.mean(other) - mdn.mean(mixture))


def log_prob_through_affine(mixture: Mixture, y: Any, offset: Any, factor: Any) -> Numbers:
    """Returns log p(y) computed as log q(offset + factor * y) + log |factor|, where q is the density after the affine map."""
    moved = mdn.affine(mixture, offset, factor)
    return np.asarray(mdn.log_prob(moved, offset + factor * y)) + float(np.log(np.prod(np.asarray(factor, float))))


def _order_and_shift(mixture: Mixture, case: Case) -> Any:
    order = np.roll(np.arange(mixture.logits.shape[-1]), 1)
    return changes_by_order_and_shift(mixture, points(mixture, case), order, 7)


def _affine(mixture: Mixture, case: Case) -> Numbers:
    factor = as_dtype_of(mixture, [0.5, 32.0])
    return log_prob_through_affine(mixture, points(mixture, case), 0 * factor, factor)


def _integral(mixture: Mixture, case: Case) -> Numbers:
    """Returns the integral of the library's density by the oracle's rule."""
    rules = [one_target.panels(example) for example in case.examples]
    most = max(len(nodes) for nodes, _ in rules)
    y, weight = np.zeros((most, len(rules), 1)), np.zeros((most, len(rules)))
    for b, ((nodes, rule), example) in enumerate(zip(rules, case.examples, strict=True)):
        at = example.from_line(nodes[:, None])
        inside = (at > example.low) & (at < example.high) & np.isfinite(at)
        at = np.where(inside, at, example.from_line(np.zeros((1, 1))))
        y[:, b] = at[0]
        y[: len(nodes), b] = at
        slope = example.slope(at)
        inside &= (slope > 1e-200) & (slope < 1e200)
        weight[: len(nodes), b] = np.where(inside, rule[:, None] / np.where(inside, slope, 1), 0)[:, 0]
    return np.sum(np.asarray(mdn.prob(mixture, y)) * weight, axis=0)


def _largest_decrease(mixture: Mixture, case: Case) -> Numbers:
    """Returns the largest decrease of the cdf from one point to the next larger one."""
    y = np.sort(points(mixture, case), axis=0)
    return np.maximum(-np.diff(np.asarray(mdn.cdf(mixture, y)), axis=0), 0).max(0)


def _round_trip(mixture: Mixture, case: Case) -> Any:
    """Returns |cdf(quantile(p)) - p|."""
    p = as_dtype_of(mixture, for_each_example(PROBABILITIES, case))
    return np.abs(np.asarray(mdn.cdf(mixture, mdn.quantile(mixture, p))) - p).max(0)


def _difference_in_log_prob(mixture: Mixture, other: Mixture, case: Case) -> Numbers:
    y = points(mixture, case)
    return _scaled_difference(mdn.log_prob(mixture, y), mdn.log_prob(other, y))


def _scaled_difference(value: Any, truth: Any) -> Numbers:
    value, truth = np.asarray(value), np.asarray(truth)
    return (value - truth) / np.maximum(1, np.abs(truth))


def _pool_of_copies(mixture: Mixture, case: Case) -> Numbers:
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), mixture)
    return _difference_in_log_prob(mdn.pool(copies), mixture, case)


def _without_correlations(mixture: Mixture, case: Case) -> Numbers:
    """Compares a full component with a diagonal factor, or one of low rank without factors, with the diagonal component."""
    component: Any = mixture.component
    if isinstance(component, mdn.Full):
        scale = 1 / jnp.diagonal(component.precision_tril, axis1=-2, axis2=-1)
        same: Any = mdn.Full(component.loc, jnp.eye(scale.shape[-1], dtype=scale.dtype) / scale[..., None, :])
    else:
        scale, same = component.scale, component._replace(factor=0 * component.factor)
    diagonal = replace(mixture, component=mdn.Diagonal(component.loc, scale))
    return _difference_in_log_prob(replace(mixture, component=same), diagonal, case)


def _outside(mixture: Mixture, case: Case) -> Any:
    """Returns log p, cdf and survival outside of the bounds and on them."""
    low, high = case.examples[0].low[0], case.examples[0].high[0]
    ends = [low - 1, low] if np.isfinite(low) else []
    ends += [high, high + 1] if np.isfinite(high) else []
    y = as_dtype_of(mixture, np.broadcast_to(np.array(ends)[:, None, None], (len(ends), len(case.examples), 1)))
    return mdn.log_prob(mixture, y), mdn.cdf(mixture, y), mdn.survival(mixture, y)


def _true_outside(case: Case) -> Any:
    has_low, has_high = one_target.bounds(case.examples[0])
    cdf = for_each_example(np.array([0.0, 0.0] * has_low + [1.0, 1.0] * has_high), case)
    return np.full_like(cdf, -np.inf), cdf, 1 - cdf


def _integral_is_one(support: str, without: tuple[str, ...], float64: float, dtypes: tuple[str, ...]) -> Check:
    return Check(
        "prob",
        "law: its integral is 1",
        "Gauss-Legendre panels",
        _integral,
        lambda c: np.ones(len(c.examples)),
        lambda n: select.three_components(n) and n.support == support and n.family not in without,
        (1e-4, float64),
        dtypes=dtypes,
    )


CHECKS = [
    _integral_is_one("line", (), 1e-10, DTYPES),
    _integral_is_one("positive", ("student_t",), 1e-9, ("float64",)),
    Check(
        "cdf",
        "law: it never decreases",
        "itself, at sorted points",
        _largest_decrease,
        zeros(),
        select.distinct,
        (1e-7, 1e-16),
        regimes=("far", "weights", "df", "kinks"),
    ),
    Check(
        "quantile",
        "law: cdf(quantile(p)) = p",
        "its cdf",
        _round_trip,
        zeros(),
        select.distinct,
        (2e-5, 1e-11),
        "absolute",
        regimes=("weights", "df", "one", "many"),
    ),
    Check(
        "log_prob",
        "law: component order and logit shifts change nothing",
        "itself",
        _order_and_shift,
        lambda c: (zeros_at_points(c), np.zeros(c.y.shape[1:])),
        select.two_on_the_line,
        (5e-4, 1e-11),
    ),
    Check(
        "pool",
        "law: a pool of copies is the mixture itself",
        "log_prob",
        _pool_of_copies,
        zeros_at_points,
        select.two_on_the_line,
        (1e-4, 1e-11),
    ),
    Check(
        "log_prob",
        "law: without correlations it is that of the diagonal family",
        "Diagonal",
        _without_correlations,
        zeros_at_points,
        lambda n: select.two_on_the_line(n) and n.family in ("full", "low_rank"),
        (1e-4, 1e-11),
    ),
    Check(
        "affine",
        "b p(a + b y) = p(y), b > 0",
        "scipy's densities",
        _affine,
        each_point(Example.log_prob),
        select.two_on_the_line,
        (2e-5, 1e-11),
    ),
    Check(
        "warp",
        "law: no density and no probability outside of the support",
        "0, 1 and -inf",
        _outside,
        _true_outside,
        lambda n: select.three_components(n) and n.support != "line" and n.family in ("diagonal", "student_t", "laplace", "full"),
        (1e-6, 1e-15),
    ),
]
