"""The record of a check, the distance of a value from the truth, and what the tables of checks have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.proof.cases import Case, Name
from experiments.proof.regimes import ORDINARY
from mdnjax import Mixture

DTYPES = ("float32", "float64")
Measure = Literal["absolute", "relative", "scaled", "standard errors"]


@dataclass(frozen=True)
class Position:
    """A value of the library in the units of y, `[..., *batch, D]`, of which the truth is relative to the centre of the case."""

    value: Any


@dataclass(frozen=True)
class Stated:
    """A value of the library with the error that it states, or that the rounding of its parameters explains."""

    value: Any
    error: Any


class Check(NamedTuple):
    """A function and its oracle, the cases that they are compared in, and the tolerances.

    `measure` says how errors are measured; `scaled` is absolute up to a truth of 1, and relative beyond.
    """

    function: str
    formula: str
    oracle: str
    value: Callable[[Mixture, Case], Any]  # an array or a tuple of arrays, of the same shapes as the truth
    truth: Callable[[Case], Any]
    applies: Callable[[Name], bool]
    tolerances: tuple[float, float] = (1e-5, 1e-12)  # in float32 and float64
    measure: Measure = "scaled"
    dtypes: tuple[str, ...] = DTYPES
    regimes: tuple[str, ...] = ()  # beside the ordinary one

    def covers(self, name: Name) -> bool:
        """Whether the check applies to a case and is made in its regime."""
        return (name.regime == ORDINARY or name.regime in self.regimes) and self.applies(name.ordinary())

    def tolerance(self, dtype: str) -> float:
        """Returns the largest error that rounding explains."""
        return self.tolerances[DTYPES.index(dtype)]


def largest_error(check: Check, case: Case, dtype: str, truth: Any) -> float:
    """Returns the largest error of a check, infinite where value and truth cannot be compared.

    An error does not count as far as it is below the smallest number of the dtype, as it is stated, or as it is in the last
    digits of a position far from zero.
    """
    values = check.value(case.mixture(dtype), case)
    values, truth = (parts if isinstance(parts, tuple) else (parts,) for parts in (values, truth))
    limits, errors = np.finfo(dtype), []
    for value, true in zip(values, truth, strict=True):
        allowed = float(limits.tiny)
        if isinstance(value, Position):
            value, allowed = case.relative(value.value), allowed + case.rounding(dtype)
        elif isinstance(value, Stated):
            value, allowed = value.value, np.maximum(allowed, np.asarray(value.error, float))
        true = np.asarray(true, float)
        true = np.where(np.abs(true) > float(limits.max), np.copysign(np.inf, true), true)
        errors.append(distance(np.asarray(value), true, check.measure, allowed))
    return max(errors)


def distance(value: np.ndarray, truth: np.ndarray, measure: Measure, allowed: np.ndarray | float = 0.0) -> float:
    """Returns the largest error above what is allowed; infinities and nan are equal to themselves."""
    value, truth = value.astype(float), truth.astype(float)
    if value.shape != truth.shape:
        raise ValueError(f"got a value of shape {value.shape}, expected that of the truth, {truth.shape}")
    same = (value == truth) | (np.isnan(value) & np.isnan(truth))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        unit = {"relative": np.abs(truth), "scaled": np.maximum(1, np.abs(truth))}.get(measure, 1.0)
        error = np.where(same, 0, np.maximum(np.abs(value - truth) - allowed, 0) / unit)
    return float(np.max(np.where(np.isfinite(error), error, np.inf), initial=0))


def as_dtype_of(mixture: Mixture, array: Any) -> np.ndarray:
    """Returns numbers in the mixture's dtype."""
    return np.asarray(array, mixture.logits.dtype)


def points(mixture: Mixture, case: Case) -> np.ndarray:
    """Returns the case's points in the mixture's dtype."""
    return as_dtype_of(mixture, case.y)


def of_mixture(function: Callable[[Mixture], Any]) -> Callable[[Mixture, Case], Any]:
    """Returns the value function(mixture)."""
    return lambda mixture, case: function(mixture)


def at_points(function: Callable[[Mixture, Any], Any]) -> Callable[[Mixture, Case], Any]:
    """Returns the value function(mixture, y) at the case's points."""
    return lambda mixture, case: function(mixture, points(mixture, case))


def each_example(oracle: Callable[[Any], Any]) -> Callable[[Case], np.ndarray]:
    """Returns the truth oracle(example) of every example."""
    return lambda case: case.each(oracle)


def each_point(oracle: Callable[[Any, Any], Any]) -> Callable[[Case], np.ndarray]:
    """Returns the truth oracle(example, y) of every example at each of its points; at nan it is nan."""

    def at_point(example: Any, y: np.ndarray) -> Any:
        is_nan = np.isnan(y).any()
        with np.errstate(divide="ignore", invalid="ignore"):  # at a bound and at infinity
            return np.where(is_nan, np.nan, oracle(example, example.from_line(np.zeros(len(y))) if is_nan else y))

    return lambda case: case.each(at_point, case.points)


def zeros(*shape: int) -> Callable[[Case], np.ndarray]:
    """Returns the truth of values that are errors: zeros `[*shape, B]`."""
    return lambda case: np.zeros((*shape, len(case.examples)))


def zeros_at_points(case: Case) -> np.ndarray:
    """Returns the truth of values that are errors at each point: zeros."""
    return np.zeros(case.y.shape[:-1])


def for_each_example(numbers: np.ndarray, case: Case) -> np.ndarray:
    """Returns `[P]` numbers repeated for each example, `[P, B]`."""
    return np.broadcast_to(numbers[:, None], (len(numbers), len(case.examples)))


def standard_errors(estimate: Any, truth: Any, extra_error: Any = 0.0) -> np.ndarray:
    """Returns (estimate - truth) / standard error; `extra_error` is the standard error of the truth."""
    value, error = (np.asarray(part, float) for part in estimate)
    return (value - truth) / np.sqrt(error**2 + np.asarray(extra_error) ** 2 + 1e-24)
