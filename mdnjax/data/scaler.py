"""Converts between the units of the data, in float64, and the units of training, in float32.

Inputs become z = (x - x_mean) / x_sd, limited to the range of the train rows and half of it on either side.
Targets become v = (y - y_offset) / y_factor, which is of order 1, then u on the real line (a logarithm or a logit where the
support is bounded), then z = (u - line_mean) / line_sd.
Everything is computed in float64 and rounded to float32 once, at the end, so that a large offset costs no digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Support
from mdnjax.data.atoms import Atoms
from mdnjax.data.bounds import check_inside
from mdnjax.data.dataset import Dataset
from mdnjax.data.lattice import Lattice
from mdnjax.data.units import Units, own_units
from mdnjax.mixture import Mixture, affine, warp
from mdnjax.types import AnyArray, Array, Float, Int

MAX_OFFSET = 1e4  # in scales of a target: farther from 0, float32 has too few digits left for the scale
MAX_FACTOR = 1e15  # also of the inverse: squares of larger scales may overflow in float32
MAX_SCALED = 1e18  # in standard deviations of the train rows: squares of larger numbers may overflow in float32


class Scaler(NamedTuple):
    """Units of inputs `[X]` and of targets `[D]`, float64.

    An input that is constant in the train rows has an infinite sd, so that its later values have no effect. `x_low` and `x_high`
    limit z; they are infinite if the data are not standardised. Targets on a `lattice` are trained and scored by the
    probabilities of cells. With `atoms`, all units and the support are those of the latent number of which the target is a
    function. `support` contains the bounds in the targets' own units. Both are None if there are none.
    """

    x_mean: Float[AnyArray, "*members X"]
    x_sd: Float[AnyArray, "*members X"]
    y_offset: Float[AnyArray, "*members D"]
    y_factor: Float[AnyArray, "*members D"]
    line_mean: Float[AnyArray, "*members D"]
    line_sd: Float[AnyArray, "*members D"]
    x_low: Float[AnyArray, "*members X"]
    x_high: Float[AnyArray, "*members X"]
    lattice: Lattice
    support: Support | None = None
    atoms: Atoms | None = None

    @property
    def relative_support(self) -> Support | None:
        """The support of v."""
        if self.support is None:
            return None
        low, high = ((np.array(ends) - self.y_offset) / self.y_factor for ends in self.support)
        return Support(tuple(low.tolist()), tuple(high.tolist()))


class TargetTransform(NamedTuple):
    """Converts a mixture over z to one over targets: u = mean + sd z on the real line, then the inverse map to a support."""

    mean: Float[AnyArray, " D"]
    sd: Float[AnyArray, " D"]
    support: Support | None = None


def scaled_inputs(scaler: Scaler, x: Float[AnyArray, "*batch X"]) -> Float[np.ndarray, "*batch X"]:
    """Returns z of inputs in float64, not yet limited; the caller checks their range."""
    return (np.asarray(x, np.float64) - scaler.x_mean) / scaler.x_sd


def scaled_in_float32(scaler: Scaler, x: Float[Array, "*batch X"]) -> Float[Array, "*batch X"]:
    """Standardises inputs in float32; a mean that has more digits than float32 is subtracted in two parts."""
    coarse = scaler.x_mean.astype(np.float32)
    fine = (scaler.x_mean - coarse).astype(np.float32)
    z = ((x - coarse) - fine) / scaler.x_sd.astype(np.float32)
    return jnp.clip(z, scaler.x_low.astype(np.float32), scaler.x_high.astype(np.float32))


def limited_inputs(scaler: Scaler, z: Float[AnyArray, "*batch X"]) -> Float[np.ndarray, "*batch X"]:
    """Returns z inside of the limits: a network has learnt nothing about values far outside of the rows of training."""
    return np.clip(z, scaler.x_low, scaler.x_high)


def to_training_units(scaler: Scaler, dataset: Dataset, dtype: Any = np.float32) -> Dataset:
    """Returns the data set in units of training, rounded to a dtype.

    Raises: ValueError if a target is outside of its support, or a scaled value is larger than MAX_SCALED.
    """
    latent = latent_targets(scaler, dataset.y)
    check_inside(scaler.support, latent)
    z = _scaled_targets(scaler, latent)
    scaled = Dataset(scaled_inputs(scaler, dataset.x), z, dataset.weight, *_cells(scaler, dataset))
    for name, values, scaled_values in zip(("input", "target"), dataset[:2], scaled[:2], strict=True):
        too_large = ~(np.abs(scaled_values) <= MAX_SCALED)
        if too_large.any():
            row, column = np.argwhere(too_large)[0]
            expected = f"expected at most {MAX_SCALED:.0e} standard deviations of training from its mean"
            raise ValueError(f"{name} {column} of row {row} (from 0): got {values[row, column]:g}, {expected}")
    scaled = scaled._replace(x=limited_inputs(scaler, scaled.x))
    arrays = (None if values is None or values.dtype == bool else values.astype(dtype) for values in scaled)
    return Dataset(*arrays)._replace(exact=scaled.exact)  # pyright: ignore


def log_slopes(
    scaler: Scaler, y: Float[AnyArray, "N D"], censoring: Int[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, " N"]:
    """Returns log |dy/dz| of every example in float64: its NLL in the data's own units minus that in units of training.

    With a lattice it is the sum of the logarithms of the steps, which makes the probability of a cell a mean density. For an
    atom and for a censored target, which have probabilities, it is 0.
    """
    if censoring is not None:
        return np.where(censoring == 0, log_slopes(scaler, y), 0)
    if scaler.lattice.exists:
        return np.full(len(y), np.sum(np.log(scaler.lattice.step)))
    slopes, latent = np.full(len(y), np.sum(np.log(scaler.y_factor) + np.log(scaler.line_sd))), latent_targets(scaler, y)
    if support := scaler.relative_support:
        slopes -= np.sum(support.log_slope(to_line(scaler, latent), axis=1), axis=1)
    return slopes if scaler.atoms is None else np.where(scaler.atoms.place_of(y)[:, 0] < 0, slopes, 0)


def latent_targets(scaler: Scaler, y: Float[AnyArray, "N D"]) -> Float[AnyArray, "N D"]:
    """Returns the latent numbers of targets with atoms, else the targets."""
    return y if scaler.atoms is None else scaler.atoms.latent(y)


def relative_transform(scaler: Scaler) -> TargetTransform:
    """Returns the transform from z to v."""
    return TargetTransform(scaler.line_mean, scaler.line_sd, scaler.relative_support)


def target_transform(scaler: Scaler) -> TargetTransform:
    """Returns the transform from z to y, in one step.

    With one bound, `y_factor` becomes an offset of the logarithm; with two bounds, the logit does not depend on units.
    """
    low, high = (np.array(ends) for ends in scaler.support or ([-np.inf], [np.inf]))
    has_low, has_high, log_factor = np.isfinite(low), np.isfinite(high), np.log(scaler.y_factor)
    shift = np.where(has_low, np.where(has_high, 0, log_factor), np.where(has_high, -log_factor, scaler.y_offset))
    factor = np.where(has_low | has_high, 1, scaler.y_factor)
    return TargetTransform(shift + factor * scaler.line_mean, factor * scaler.line_sd, scaler.support)


def relative_units(scaler: Scaler) -> Units:
    """Returns the units of v."""
    return Units(np.asarray(scaler.y_offset), np.asarray(scaler.y_factor))


def mixture_units(scaler: Scaler) -> tuple[Units, TargetTransform]:
    """Returns the targets' own units, or those of v if float32 cannot represent the mixture in y, and the transform from z."""
    if float32_problem(scaler) is not None:
        return relative_units(scaler), relative_transform(scaler)
    return own_units(len(scaler.y_offset)), target_transform(scaler)


def transform_targets(transform: TargetTransform, mixture: Mixture) -> Mixture:
    """Converts a mixture over z to one over targets, whose density includes the Jacobian."""
    dtype = mixture.logits.dtype
    mean, sd = (np.asarray(values, dtype) if isinstance(values, np.ndarray) else values for values in transform[:2])
    moved = affine(mixture, mean, sd)
    return moved if transform.support is None else warp(moved, transform.support)


def float32_problem(scaler: Scaler) -> str | None:
    """Returns why float32 cannot represent a mixture over y, or None if it can."""
    transform, offset = target_transform(scaler), scaler.y_offset
    for d, (mean, sd) in enumerate(zip(transform.mean.tolist(), transform.sd.tolist(), strict=True)):
        if abs(mean) > MAX_OFFSET * sd:
            return f"target {d} lies {abs(mean) / sd:.2g} of its standard deviations from 0"
        if scaler.support is not None and abs(offset[d]) > MAX_OFFSET * scaler.y_factor[d]:
            return f"target {d} lies {abs(offset[d]) / scaler.y_factor[d]:.2g} times its scale from 0"
    factor = scaler.y_factor
    if not np.all((factor >= 1 / MAX_FACTOR) & (factor <= MAX_FACTOR)):
        return f"a target has a scale of {factor[np.argmax(np.abs(np.log(factor)))]:.2g}"
    return None


def _cells(scaler: Scaler, dataset: Dataset) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the scaled ends `[N, 2, D]` of the cells of targets, and which targets have none; None where there are no cells.

    A bound of the support is an infinite end, and so is the end of a censored target on the side where the true one lies.
    """
    y, censoring = dataset.y, dataset.censoring
    if scaler.atoms is not None:
        low, high, exact = scaler.atoms.cells(y)
        return np.stack([_scaled_targets(scaler, ends) for ends in (low, high)], axis=1), exact
    if not scaler.lattice.exists and censoring is None:
        return None, None
    half = np.asarray(scaler.lattice.step) / 2
    cells = np.stack([_scaled_targets(scaler, np.asarray(y, np.float64) + sign * half) for sign in (-1, 1)], axis=1)
    if censoring is None:
        return cells, None
    cells[censoring < 0, 0], cells[censoring > 0, 1] = -np.inf, np.inf
    return cells, None if scaler.lattice.exists else censoring[:, None] == 0


def _scaled_targets(scaler: Scaler, y: Float[AnyArray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Returns z of targets y, or of their latent numbers."""
    return (to_line(scaler, y) - scaler.line_mean) / scaler.line_sd


def to_line(scaler: Scaler, y: Float[AnyArray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Returns u of targets y, or of their latent numbers."""
    v = (np.asarray(y, np.float64) - scaler.y_offset) / scaler.y_factor
    return v if scaler.support is None else np.asarray(scaler.relative_support.to_line(v, axis=1))  # pyright: ignore
