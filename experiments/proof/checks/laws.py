"""Laws that hold for every mixture, whatever an oracle says; the truth is nothing, or the answer to another question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof import one_target
from experiments.proof.cases import Case, Name
from experiments.proof.checks.check import Check, as_mixture, distinct
from experiments.proof.checks.density import y_of
from experiments.proof.checks.numbers import shares, zeros
from experiments.proof.oracles import Numbers, from_line, slope
from mdnjax import Mixture


def _integral(mixture: Mixture, case: Case) -> Numbers:
    """The library's density on the nodes of the oracle's rule."""
    rules = [one_target.panels(example, np.inf, ()) for example in case.examples]
    most = max(len(nodes) for nodes, _ in rules)
    y, weight = np.zeros((most, len(rules), 1)), np.zeros((most, len(rules)))
    for b, ((nodes, rule), example) in enumerate(zip(rules, case.examples, strict=True)):
        at = from_line(nodes[:, None], example.low, example.high)
        inside = (at > example.low) & (at < example.high) & np.isfinite(at)
        at = np.where(inside, at, from_line(np.zeros((1, 1)), example.low, example.high))
        y[:, b] = at[0]
        y[: len(nodes), b] = at
        rise = slope(at, example.low, example.high)
        inside &= (rise > 1e-200) & (rise < 1e200)
        weight[: len(nodes), b] = np.where(inside, rule[:, None] / np.where(inside, rise, 1), 0)[:, 0]
    return np.sum(np.asarray(mdn.prob(mixture, y)) * weight, axis=0)


def _falls(mixture: Mixture, case: Case) -> Numbers:
    """The furthest that the cdf falls from one point to a larger one."""
    y = np.sort(y_of(mixture, case), axis=0)
    return np.maximum(-np.diff(np.asarray(mdn.cdf(mixture, y)), axis=0), 0).max(0)


def _round_trip(mixture: Mixture, case: Case) -> Any:
    """cdf(quantile(p)) - p."""
    p = as_mixture(shares(case), mixture)
    return np.abs(np.asarray(mdn.cdf(mixture, mdn.quantile(mixture, p))) - p).max(0)


def _with_order_and_shift(mixture: Mixture, case: Case) -> Any:
    """Components in another order and logits with 7 added."""
    order = np.roll(np.arange(case.name.num_components), 1)
    other = jax.tree.map(lambda leaf: leaf[:, order], replace(mixture, logits=mixture.logits + 7))
    return _apart(_log_prob(other, case), _log_prob(mixture, case)), np.asarray(mdn.mean(other) - mdn.mean(mixture))


def _log_prob(mixture: Mixture, case: Case) -> Numbers:
    return np.asarray(mdn.log_prob(mixture, y_of(mixture, case)))


def _apart(one: Numbers, other: Numbers) -> Numbers:
    return (one - other) / np.maximum(1, np.abs(other))


def _no_points(case: Case) -> Any:
    return np.zeros(case.y.shape[:2]), np.zeros(case.y.shape[1:])


def _copies(mixture: Mixture, case: Case) -> Numbers:
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), mixture)
    return _apart(_log_prob(mdn.pool(both), case), _log_prob(mixture, case))


def _as_diagonal(mixture: Mixture, case: Case) -> Numbers:
    """A full component with a diagonal factor, or one of low rank without factors, less the diagonal one."""
    component: Any = mixture.component
    if case.name.family == "full":
        scale = 1 / jnp.diagonal(component.precision_tril, axis1=-2, axis2=-1)
        same: Any = mdn.Full(component.loc, jnp.eye(scale.shape[-1], dtype=scale.dtype) / scale[..., None, :])
    else:
        scale, same = component.scale, component._replace(factor=0 * component.factor)
    diagonal = replace(mixture, component=mdn.Diagonal(component.loc, scale))
    return _apart(_log_prob(replace(mixture, component=same), case), _log_prob(diagonal, case))


def _affine(mixture: Mixture, case: Case) -> Numbers:
    """log p of the moved mixture at the moved point, with the Jacobian added."""
    factor = as_mixture([0.5, 32.0], mixture)
    moved = mdn.affine(mixture, 0 * factor, factor)
    y = y_of(mixture, case)
    return np.asarray(mdn.log_prob(moved, factor * y)) + float(np.log(16.0))


def _outside(mixture: Mixture, case: Case) -> Any:
    """log p, cdf and survival below and above the support, or on its bounds."""
    low, high = case.examples[0].low[0], case.examples[0].high[0]
    ends = [low - 1, low] if np.isfinite(low) else []
    ends += [high, high + 1] if np.isfinite(high) else []
    y = as_mixture(np.broadcast_to(np.array(ends)[:, None, None], (len(ends), 6, 1)), mixture)
    return mdn.log_prob(mixture, y), mdn.cdf(mixture, y), mdn.survival(mixture, y)


def _true_outside(case: Case) -> Any:
    low, high = (np.isfinite(bound[0]) for bound in (case.examples[0].low, case.examples[0].high))
    cdf = np.array([0.0, 0.0] * int(low) + [1.0, 1.0] * int(high))[:, None] * np.ones(6)
    return np.full_like(cdf, -np.inf), cdf, 1 - cdf


def _single(name: Name) -> bool:
    return name.num_targets == 1 and name.num_components == 3


def _plane(name: Name) -> bool:
    return name.num_targets == 2 and name.support == "line"


CHECKS = [
    Check(
        "prob",
        "law: its integral is 1",
        "Gauss-Legendre panels",
        _integral,
        lambda c: np.ones(len(c.examples)),
        lambda n: _single(n) and n.support == "line",
        1e-4,
        1e-10,
    ),
    Check(
        "prob",
        "law: its integral is 1",
        "Gauss-Legendre panels",
        _integral,
        lambda c: np.ones(len(c.examples)),
        lambda n: _single(n) and n.support == "positive" and n.family != "student_t",
        1e-4,
        1e-9,
        dtypes=("float64",),
    ),
    Check("cdf", "law: it never falls", "itself, at sorted points", _falls, zeros(), distinct, 1e-7, 1e-16),
    Check("quantile", "law: cdf(quantile(p)) = p", "its cdf", _round_trip, zeros(), distinct, 2e-5, 1e-11, "absolute"),
    Check(
        "log_prob",
        "law: component order and logit shifts change nothing",
        "itself",
        _with_order_and_shift,
        _no_points,
        _plane,
        5e-4,
        1e-11,
    ),
    Check("pool", "law: of copies it is the one", "log_prob", _copies, lambda c: np.zeros(c.y.shape[:2]), _plane, 1e-4, 1e-11),
    Check(
        "log_prob",
        "law: a diagonal factor, or none, is the diagonal family",
        "Diagonal",
        _as_diagonal,
        lambda c: np.zeros(c.y.shape[:2]),
        lambda n: _plane(n) and n.family in ("full", "low_rank"),
        1e-4,
        1e-11,
    ),
    Check(
        "affine",
        "b p(a + b y) = p(y), b > 0",
        "scipy's densities",
        _affine,
        lambda c: c.each(lambda e, y: e.log_prob(y.astype(float)), c.y),
        _plane,
        2e-5,
        1e-11,
    ),
    Check(
        "warp",
        "law: no density and no probability outside of the support",
        "0, 1 and -inf",
        _outside,
        _true_outside,
        lambda n: _single(n) and n.support != "line" and n.family in ("diagonal", "student_t", "laplace", "full"),
        1e-6,
        1e-15,
    ),
]
