"""The change of units between what a person hands in, in float64, and what networks are trained on, in float32.

Inputs become z = (x - x_mean) / x_sd. Targets become v = (y - y_offset) / y_factor, numbers of about 1 in the target's support,
then u on the real line (a logarithm or a logit where the support is bounded), then z = (u - line_mean) / line_sd.
Everything is computed in float64 and rounded once, at the end: what float32 cannot hold beside a large offset is kept.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mdnjax.components import Support
from mdnjax.data.dataset import Dataset, rounding_step
from mdnjax.data.units import Units, own_units
from mdnjax.mixture import Mixture, affine, warp
from mdnjax.types import AnyArray, Float

MAX_OFFSET = 1e4  # scales of a target: a location that lies farther out leaves float32 no digits for the scale
MAX_FACTOR = 1e15  # and its inverse: the square of a scale that is larger is no float32
MAX_SCALED = 1e18  # standard deviations of training: beyond it squares are no float32


class Scaler(NamedTuple):
    """Units of inputs `[X]` and of targets `[D]`, float64.

    An input that is constant in training has an infinite sd: whatever it is later, it counts for nothing. `support` holds the
    bounds of the targets in their own units; None if there are none.
    """

    x_mean: Float[AnyArray, "*members X"]
    x_sd: Float[AnyArray, "*members X"]
    y_offset: Float[AnyArray, "*members D"]
    y_factor: Float[AnyArray, "*members D"]
    line_mean: Float[AnyArray, "*members D"]
    line_sd: Float[AnyArray, "*members D"]
    support: Support | None = None

    @property
    def relative_support(self) -> Support | None:
        """The support of v."""
        if self.support is None:
            return None
        low, high = ((np.array(ends) - self.y_offset) / self.y_factor for ends in self.support)
        return Support(tuple(low.tolist()), tuple(high.tolist()))


class TargetTransform(NamedTuple):
    """How a mixture over z becomes one over targets: an affine change on the line, then the way back into a support."""

    mean: Float[AnyArray, " D"]
    sd: Float[AnyArray, " D"]
    support: Support | None = None


def make_support(target_support: str | tuple[Any, ...], num_targets: int) -> Support | None:
    """The support of so many targets by its name in a configuration: real (None), positive, (low, high), or a pair for each.

    Raises: ValueError if there are pairs for another number of targets.
    """
    if target_support == "real":
        return None
    if isinstance(target_support, str):
        target_support = (0.0, np.inf)
    several = isinstance(target_support[0], tuple)
    pairs = target_support if several else (target_support,) * num_targets
    if len(pairs) != num_targets:
        raise ValueError(f"got {len(pairs)} pairs of bounds, expected one for each of {num_targets} targets")
    return Support(tuple(float(low) for low, _ in pairs), tuple(float(high) for _, high in pairs))


def make_scaler(dataset: Dataset, standardise: bool, support: Support | None = None) -> Scaler:
    """The scaler that gives a data set mean 0 and sd 1, or the one that changes nothing but for the support.

    Raises: ValueError if a target is not inside of its support.
    """
    check_inside(support, dataset.y)
    if not standardise:
        (no_x, one_x), (no_y, one_y) = ((np.zeros(n), np.ones(n)) for n in (dataset.x.shape[1], dataset.y.shape[1]))
        return Scaler(no_x, one_x, no_y, one_y, no_y, one_y, support)
    y = np.asarray(dataset.y, np.float64)
    bounds = support or Support((-np.inf,) * y.shape[1], (np.inf,) * y.shape[1])
    offset, factor = np.array([_units(*own) for own in zip(y.T, *bounds, strict=True)]).T
    scaler = Scaler(*_mean_and_sd(dataset.x, np.inf), offset, factor, np.zeros(len(offset)), np.ones(len(offset)), support)
    line_mean, line_sd = _mean_and_sd(_to_line(scaler, y), 1.0)
    if support is not None:
        _check_spread(support, (y - offset) / factor)
    return scaler._replace(line_mean=line_mean, line_sd=line_sd)


def scaled_inputs(scaler: Scaler, x: Float[AnyArray, "*batch X"]) -> Float[np.ndarray, "*batch X"]:
    """z of inputs, in float64: to be rounded by the caller, who knows how to name what is too far out."""
    return (np.asarray(x, np.float64) - scaler.x_mean) / scaler.x_sd


def to_training_units(scaler: Scaler, dataset: Dataset, dtype: Any = np.float32) -> Dataset:
    """The data set in the units of training, rounded to a dtype.

    Raises: ValueError if a target is not inside of its support, or a value is too far out for the dtype.
    """
    check_inside(scaler.support, dataset.y)
    z = (_to_line(scaler, dataset.y) - scaler.line_mean) / scaler.line_sd
    scaled = Dataset(scaled_inputs(scaler, dataset.x), z)
    for name, own, values in zip(("input", "target"), dataset, scaled, strict=True):
        if (row := too_far(values)) is not None:
            column = int(np.argmax(~(np.abs(values[row]) <= MAX_SCALED)))
            raise ValueError(f"{name} {column} of row {row} (from 0): got {own[row, column]:g}, {_too_far(values[row, column])}")
    return Dataset(*(values.astype(dtype) for values in scaled))


def min_scale_of_rounding(rounding: float | str, scaler: Scaler, y: Float[np.ndarray, "N D"]) -> float:
    """The sd of what rounding takes away from the targets, step / sqrt(12), in units of training; the least of several targets.

    On a support, where a step is not of one size, none.
    """
    if scaler.support is not None or rounding == 0:
        return 0.0
    return float(np.min(rounding_step(rounding, y) / np.sqrt(12) / (scaler.y_factor * scaler.line_sd)))


def too_far(z: Float[np.ndarray, "N C"]) -> int | None:
    """The first row with a value that networks cannot be given; None if there is none."""
    wrong = ~(np.abs(z) <= MAX_SCALED).all(axis=1)
    return int(wrong.argmax()) if wrong.any() else None


def log_slopes(scaler: Scaler, y: Float[AnyArray, "N D"]) -> Float[np.ndarray, " N"]:
    """log |dy/dz| of every example, by which its NLL grows from the units of training to the data's own; float64."""
    slopes = np.full(len(y), np.sum(np.log(scaler.y_factor) + np.log(scaler.line_sd)))
    if support := scaler.relative_support:
        slopes -= np.sum(support.log_slope(_to_line(scaler, y), axis=1), axis=1)
    return slopes


def relative_transform(scaler: Scaler) -> TargetTransform:
    """From z to v."""
    return TargetTransform(scaler.line_mean, scaler.line_sd, scaler.relative_support)


def target_transform(scaler: Scaler) -> TargetTransform:
    """From z to y, in one step.

    On a support with one bound a factor is an offset of the logarithm, on one with two bounds the logit knows no units.
    """
    low, high = (np.array(ends) for ends in scaler.support or ([-np.inf], [np.inf]))
    has_low, has_high, log_factor = np.isfinite(low), np.isfinite(high), np.log(scaler.y_factor)
    shift = np.where(has_low, np.where(has_high, 0, log_factor), np.where(has_high, -log_factor, scaler.y_offset))
    factor = np.where(has_low | has_high, 1, scaler.y_factor)
    return TargetTransform(shift + factor * scaler.line_mean, factor * scaler.line_sd, scaler.support)


def relative_units(scaler: Scaler) -> Units:
    """Those of v."""
    return Units(np.asarray(scaler.y_offset), np.asarray(scaler.y_factor))


def mixture_units(scaler: Scaler) -> tuple[Units, TargetTransform]:
    """The target's own units, where float32 can hold a mixture in them, or else those of v; and the way there from z."""
    if unresolved(scaler) is not None:
        return relative_units(scaler), relative_transform(scaler)
    return own_units(len(scaler.y_offset)), target_transform(scaler)


def transform_targets(line: TargetTransform, mixture: Mixture) -> Mixture:
    """A mixture over z as one over targets; the density's Jacobian comes with it."""
    dtype = mixture.logits.dtype
    moved = affine(mixture, *(np.asarray(values, dtype) if isinstance(values, np.ndarray) else values for values in line[:2]))
    return moved if line.support is None else warp(moved, line.support)


def unresolved(scaler: Scaler) -> str | None:
    """Why a mixture over y itself would have lost its digits in float32; None if it does not."""
    line, offset = target_transform(scaler), scaler.y_offset
    for d, (mean, sd) in enumerate(zip(line.mean.tolist(), line.sd.tolist(), strict=True)):
        if abs(mean) > MAX_OFFSET * sd:
            return f"target {d} lies {abs(mean) / sd:.2g} of its standard deviations from 0"
        if scaler.support is not None and abs(offset[d]) > MAX_OFFSET * scaler.y_factor[d]:
            return f"target {d} lies {abs(offset[d]) / scaler.y_factor[d]:.2g} times its scale from 0"
    factor = scaler.y_factor
    if not np.all((factor >= 1 / MAX_FACTOR) & (factor <= MAX_FACTOR)):
        return f"a target has a scale of {factor[np.argmax(np.abs(np.log(factor)))]:.2g}"
    return None


def check_inside(support: Support | None, y: Float[AnyArray, "N D"]) -> None:
    """Raises: ValueError if a target is not inside of its support."""
    if support is None:
        return
    outside = ~((y > np.array(support.low)) & (y < np.array(support.high)))
    if outside.any():
        row, target = np.argwhere(outside)[0]
        bounds = f"{support.low[target]:g} < y < {support.high[target]:g}"
        raise ValueError(f"got a target of {y[row, target]:g} (row {row} from 0), expected {bounds}")


def _check_spread(support: Support, v: Float[np.ndarray, "N D"]) -> None:
    """Raises: ValueError if relative targets are all so far from their bounds that float32 cannot tell them apart."""
    for target, (values, *bounds) in enumerate(zip(v.T, *support, strict=True)):
        distance, spread = float(np.max(np.abs(values))), float(np.std(values))
        if np.isfinite(bounds).any() and 0 < spread * MAX_OFFSET < distance:
            raise ValueError(
                f"target {target} lies {distance / spread:.2g} of its standard deviations from its bounds, expected less than "
                f"{MAX_OFFSET:.0e}: leave it on the real line (target_support real), where it never comes near them"
            )


def _units(y: Float[np.ndarray, " N"], low: float, high: float) -> tuple[float, float]:
    """Offset and factor of one target: mean and sd, a bound and the geometric mean of the distance from it, or both bounds."""
    if math.isfinite(low) and math.isfinite(high):
        return low, high - low
    if math.isfinite(low) or math.isfinite(high):
        bound = low if math.isfinite(low) else high
        return bound, float(np.exp(np.mean(np.log(np.abs(y - bound)))))
    (mean,), (sd,) = _mean_and_sd(y[:, None], 1.0)
    return float(mean), float(sd)


def _to_line(scaler: Scaler, y: Float[AnyArray, "N D"]) -> Float[np.ndarray, "N D"]:
    v = (np.asarray(y, np.float64) - scaler.y_offset) / scaler.y_factor
    return v if scaler.support is None else np.asarray(scaler.relative_support.to_line(v, axis=1))  # pyright: ignore


def _mean_and_sd(values: Float[AnyArray, "N C"], of_constant: float) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of columns, which may be of any size; a constant column's is as given."""
    wide = np.asarray(values, np.float64)
    largest = np.max(np.abs(wide), axis=0, initial=0)
    largest = np.where(largest > 0, largest, 1)
    mean, constant = np.mean(wide / largest, axis=0) * largest, np.all(wide == wide[:1], axis=0)
    mean = np.where(constant, wide[0], mean)
    distance = wide - mean
    widest = np.max(np.abs(distance), axis=0, initial=0)
    widest = np.where(widest > 0, widest, 1)
    sd = np.sqrt(np.mean((distance / widest) ** 2, axis=0)) * widest
    return mean, np.where(constant, of_constant, sd)


def _too_far(z: float) -> str:
    return f"expected at most {MAX_SCALED:.0e} standard deviations of training from its mean"
