"""Checks of gradients, in every parameter, against differences of the library's own float64 values; and that they are finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mdnjax as mdn
from experiments.proof.cases import PROBABILITIES, Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, as_dtype_of
from experiments.proof.oracles import Numbers
from mdnjax import Mixture

STEP = 2.0**-19  # of central differences, each side
PROBABILITY = PROBABILITIES[[0, 2, 5]]
Function = Callable[[Mixture, Any], Any]  # of y `[Q, *batch, D]`; any shape `[..., *batch]`
MIXED = ("far", "weights", "df")


def slopes(mixture: Mixture, function: Callable[[Mixture], Any]) -> tuple[Numbers, ...]:
    """Returns d function / d leaf for every leaf of a mixture with one batch axis, by differences."""
    leaves, tree = jax.tree.flatten(mixture)
    leaves = [np.asarray(leaf) for leaf in leaves]
    units = np.eye(sum(leaf[0].size for leaf in leaves)) * np.array([-STEP, STEP])[:, None, None]  # [2, N, N]
    parts = np.split(units, np.cumsum([leaf[0].size for leaf in leaves])[:-1], axis=-1)
    moved = [leaf + part.reshape(-1, 1, *leaf.shape[1:]) for leaf, part in zip(leaves, parts, strict=True)]
    values = np.asarray(function(jax.tree.unflatten(tree, map(jnp.asarray, moved))))
    values = values.reshape(-1, *units.shape[:2], len(mixture)).sum(0)
    total = (values[1] - values[0]).T / (2 * STEP)
    rows = np.split(total, np.cumsum([leaf[0].size for leaf in leaves])[:-1], axis=-1)
    return tuple(row.reshape(leaf.shape) for row, leaf in zip(rows, leaves, strict=True))


def gradients(mixture: Mixture, function: Callable[[Mixture], Any]) -> tuple[Any, ...]:
    """Returns d function / d leaf for every leaf; 0 for the rows of a batch in which the function is not finite."""
    values = function(mixture)
    finite = jnp.isfinite(values.reshape(-1, len(mixture))).all(axis=0)
    leaves = jax.tree.leaves(jax.grad(lambda mixture: jnp.sum(function(mixture)))(mixture))
    return tuple(jnp.where(finite.reshape(-1, *(1 for _ in leaf.shape[1:])), leaf, 0) for leaf in leaves)


def _without_unused(case: Case, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sets entries above the diagonal of a triangular factor to 0: these are not parameters."""
    full = isinstance(case.given.component, mdn.Full)
    return tuple(np.tril(leaf) if full and np.ndim(leaf) == 4 else leaf for leaf in leaves)


def _agrees(
    name: str,
    function: Function,
    applies: Callable[[Name], bool],
    regimes: tuple[str, ...] = MIXED,
    tolerances: tuple[float, float] = (1e-3, 1e-6),
) -> Check:
    """Returns a check of the gradient by differences of the library's own values, which other checks compare with oracles."""

    def value(mixture: Mixture, case: Case) -> tuple[Any, ...]:
        y = as_dtype_of(mixture, case.y)
        return _without_unused(case, gradients(mixture, lambda mixture: function(mixture, y)))

    def truth(case: Case) -> tuple[Any, ...]:
        centred = case.centred()
        rows = slopes(centred, lambda mixture: function(mixture, case.points[:, None]))
        finite = np.isfinite(np.asarray(function(centred, case.points)).reshape(-1, len(centred))).all(axis=0)
        return _without_unused(case, tuple(np.where(finite.reshape(-1, *(1 for _ in row.shape[1:])), row, 0) for row in rows))

    formula = "gradient in all parameters, at all points"
    return Check(name, formula, "differences in float64", value, truth, applies, tolerances, regimes=regimes)


def _finite(name: str, function: Function, applies: Callable[[Name], bool]) -> Check:
    """Returns a check that no entry of the gradient is nan or infinite at a point where the function is finite."""

    def value(mixture: Mixture, case: Case) -> Numbers:
        y = as_dtype_of(mixture, case.y)
        values = np.asarray(function(mixture, y))
        y = y[np.isfinite(values).reshape(len(y), -1).all(axis=1)]
        leaves = gradients(mixture, lambda mixture: function(mixture, y))
        return np.array([np.mean(~np.isfinite(np.asarray(leaf))) for leaf in leaves])

    def truth(case: Case) -> Numbers:
        return np.zeros(len(jax.tree.leaves(case.given)))

    return Check(name, "gradient: share that is not finite", "0", value, truth, applies, (0.0, 0.0), regimes=("kinks", "ends"))


def _quantiles(mixture: Mixture, y: Any) -> Any:
    """Returns all quantiles, the median and the ends of a central interval, `[P, *batch]`."""
    p = as_dtype_of(mixture, PROBABILITY)
    levels = [mdn.quantile(mixture[..., None], p)[..., 0], mdn.median(mixture), mdn.central_interval(mixture, 0.5)]
    return jnp.moveaxis(jnp.concatenate(levels, axis=-1), -1, 0)


def _shortfall(mixture: Mixture, y: Any) -> Any:
    return jnp.moveaxis(mdn.expected_shortfall(mixture[..., None], as_dtype_of(mixture, PROBABILITY))[..., 0], -1, 0)


def _batch_last(function: Callable[[Mixture], Any]) -> Function:
    """Returns a function of a mixture, `[*batch, ...]`, with the other axes flattened and first."""

    def value(mixture: Mixture, y: Any) -> Any:
        values = function(mixture)
        return jnp.moveaxis(values.reshape(*mixture.shape, -1), -1, 0)

    return value


def _pairs(function: Callable[[Mixture, Any, Any], Any]) -> Function:
    """Returns a function of boxes between pairs of points."""

    def value(mixture: Mixture, y: Any) -> Any:
        other = np.roll(y, 1, axis=0)
        return function(mixture, np.minimum(y, other), np.maximum(y, other))

    return value


def _responsibilities(mixture: Mixture, y: Any) -> Any:
    values = mdn.responsibilities(mixture, y)
    return jnp.sum(values * jnp.arange(1.0, 1 + values.shape[-1], dtype=values.dtype), axis=-1)


def _condition(mixture: Mixture, y: Any) -> Any:
    return mdn.log_prob(mdn.condition(mixture, [1], y[..., 1:]), y[..., :1])


def _tails(name: Name) -> bool:
    """Selects each kind of tail on the whole line, and one in a box."""
    return select.each_tail(name) or name == Name("diagonal", "box")


def _any_density(name: Name) -> bool:
    return _tails(name) or _correlated(name)


def _on_line(name: Name) -> bool:
    return select.each_tail(name) or _correlated(name)


def _correlated(name: Name) -> bool:
    return name in (Name("full", "line", 2), Name("low_rank", "line", 2))


AT_POINTS: list[tuple[str, Function, Callable[[Name], bool], Callable[[Name], bool]]] = [
    # name, function, where its gradient is compared, and where it is only finite
    ("log_prob", mdn.log_prob, _any_density, _any_density),
    # In a box, rounding of a point on the real line changes this gradient by more than is allowed; that of log_prob covers it.
    ("prob", mdn.prob, lambda n: _any_density(n) and n.support == "line", _any_density),
    ("responsibilities", _responsibilities, _tails, _tails),
    ("cdf", mdn.cdf, _tails, _tails),
    ("survival", mdn.survival, _tails, _tails),
    ("interval_prob", _pairs(mdn.interval_prob), _tails, _tails),
    ("box_prob", _pairs(lambda m, a, b: mdn.box_prob(m, a, b).value), _on_line, _on_line),
    ("crps", mdn.crps, _tails, _tails),
    ("crps_by_quadrature", lambda m, y: mdn.crps_by_quadrature(m, y).value, select.each_tail, select.each_tail),
]
CHECKS = [
    *[
        check
        for name, function, compared, finite in AT_POINTS
        for check in (
            _agrees(name, function, lambda n, compared=compared: compared(n) and n.family != "laplace", (*MIXED, "kinks")),
            # At a kink there are two slopes.
            _agrees(name, function, lambda n, compared=compared: compared(n) and n.family == "laplace"),
            _finite(name, function, finite),
        )
    ],
    _agrees("cde_loss", mdn.cde_loss, _tails),
    _finite("cde_loss", mdn.cde_loss, _tails),
    # Far from zero in float32 the quantile is rounded to a large part of a scale, and its gradient is that at the rounded one.
    _agrees("quantile", _quantiles, _tails)._replace(dtypes=("float64",)),
    _agrees("expected_shortfall", _shortfall, _tails),
    _agrees("mean", _batch_last(mdn.mean), _any_density),
    _agrees("covariance", _batch_last(mdn.covariance), _any_density),
    _agrees("skewness", _batch_last(mdn.skewness), _tails, tolerances=(5e-3, 1e-6)),
    _agrees("kurtosis", _batch_last(mdn.kurtosis), _tails),
    _agrees("entropy", _batch_last(lambda m: mdn.entropy(m).value), _tails),
    _agrees("entropy_bounds", _batch_last(lambda m: jnp.stack(mdn.entropy_bounds(m), axis=-1)), _any_density),
    # Far from zero in float32 the locations of the conditional distribution are rounded.
    _agrees("condition", _condition, _correlated)._replace(dtypes=("float64",)),
    _agrees("condition", _condition, _correlated, ("weights",)),
    _agrees("marginal", lambda m, y: mdn.log_prob(mdn.marginal(m, [1]), y[..., 1:]), _correlated),
]
