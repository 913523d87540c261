"""What a check is, and how far a value is from its truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.proof.cases import Case, Name
from mdnjax import Mixture

Measure = Literal["absolute", "relative", "scaled", "standard errors"]


class Check(NamedTuple):
    """One function against one oracle. `scaled` is absolute up to a truth of 1, and relative beyond."""

    function: str
    formula: str
    oracle: str
    value: Callable[[Mixture, Case], Any]  # arrays with the batch where the truth has it
    truth: Callable[[Case], Any]
    applies: Callable[[Name], bool]
    float32: float = 1e-5
    float64: float = 1e-12
    measure: Measure = "scaled"
    dtypes: tuple[str, ...] = ("float32", "float64")

    def tolerance(self, dtype: str) -> float:
        """The largest error that is rounding and no mistake."""
        return self.float32 if dtype == "float32" else self.float64


def run(check: Check, case: Case, dtype: str, truth: Any) -> float:
    """The largest error, infinite where the value cannot be compared."""
    values = check.value(case.mixture(dtype), case)
    values, truth = (parts if isinstance(parts, tuple) else (parts,) for parts in (values, truth))
    return max(distance(np.asarray(v), np.asarray(t), check.measure) for v, t in zip(values, truth, strict=True))


def distance(value: np.ndarray, truth: np.ndarray, measure: Measure) -> float:
    """The largest error; infinities and nan are equal to themselves."""
    value, truth = value.astype(float), truth.astype(float)
    if value.shape != truth.shape:
        raise ValueError(f"got a value of shape {value.shape}, expected that of the truth, {truth.shape}")
    same = (value == truth) | (np.isnan(value) & np.isnan(truth))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        unit = {"relative": np.abs(truth), "scaled": np.maximum(1, np.abs(truth))}.get(measure, 1.0)
        error = np.where(same, 0, np.abs(value - truth) / unit)
    return float(np.max(np.where(np.isfinite(error), error, np.inf), initial=0))


def single(name: Name) -> bool:
    """Cases of one target."""
    return name.num_targets == 1


def several(name: Name) -> bool:
    """Cases of several targets."""
    return name.num_targets > 1


def distinct(name: Name) -> bool:
    """Cases of one target whose code is their own: on a bounded support all Gaussians of one target are diagonal ones."""
    return single(name) and (name.support == "line" or name.family in ("diagonal", "laplace", "student_t"))


def kinds(name: Name) -> bool:
    """One case for each kind of tail on the line."""
    return name in (Name("diagonal"), Name("laplace"), Name("student_t"))


def every(name: Name) -> bool:
    """All cases."""
    return True


def as_mixture(array: Any, mixture: Mixture) -> np.ndarray:
    """Numbers in the mixture's dtype."""
    return np.asarray(array, mixture.logits.dtype)


def against_samples(estimate: Any, truth: Any, more: Any = 0.0) -> np.ndarray:
    """How many standard errors an estimate is away."""
    value, error = (np.asarray(part, float) for part in estimate)
    return (value - truth) / np.sqrt(error**2 + np.asarray(more) ** 2 + 1e-24)
