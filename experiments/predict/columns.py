"""Summaries of predictive distributions as columns of a table, and the configuration that selects them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from experiments.schemas import Runtime
from experiments.sorted_modes import sorted_modes
from mdnjax.cells import log_cell, probabilities_of, rounded_moments
from mdnjax.config.section import Decimal, Encoding, Names, Section, Seed
from mdnjax.data.lattice import Lattice
from mdnjax.data.scaler import relative_units
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, log_prob
from mdnjax.predictor import Predictor
from mdnjax.statistics import central_interval, marginal, mean, modes, quantile, sample, variance

Level = Annotated[float, Field(gt=0, lt=1)]
MIN_MODE_MASS = 0.001  # of the modes that are written


class Predict(Section, frozen=True):
    """Which predictions are written, and to which file."""

    model: str = Field(default="", description="file of a trained model: model.safetensors of a run")
    file: str = Field(default="", description="rows to predict for: .csv, .tsv, .parquet, .npz or .txt, with the model's columns")
    delimiter: str | None = Field(default=None, description="separator of columns in a text file, or tab (null: by its suffix)")
    decimal: Decimal = Field(default=".", description="character before decimals in a text file, as data.decimal in training")
    encoding: Encoding = Field(default="utf-8", description="encoding of a text file, as data.encoding in training")
    missing_values: Names = Field(
        default=(), description="texts and numbers that mean a missing value, as data.missing_values in training"
    )
    output: Path = Field(default=Path("predictions.csv"), description="file to write, .csv or .parquet")
    keep: Names = Field(default=(), description="columns of the file to copy next to the predictions")
    mean: bool = Field(default=True, description="write the mean")
    sd: bool = Field(default=True, description="write the standard deviation")
    quantiles: tuple[Level, ...] = Field(default=(0.05, 0.5, 0.95), description="probabilities whose quantiles are written")
    intervals: tuple[Level, ...] = Field(default=(), description="levels of the central intervals whose ends are written")
    modes: Annotated[int, Field(ge=0, le=50)] = Field(
        default=0, description="number of modes, the most probable first, each with its probability mass"
    )
    probabilities: bool = Field(
        default=False, description="write the probability of each value of a target on a lattice, such as whole numbers"
    )
    density_at: str | None = Field(default=None, description="column at whose values the log density is written (single target)")
    samples: Annotated[int, Field(ge=0, le=10_000)] = Field(default=0, description="number of draws from each row's distribution")
    seed: Seed = Field(default=0, description="seed of the draws")
    chunk_rows: Annotated[int, Field(ge=1, le=10**6)] = Field(default=16_384, description="rows in memory at a time")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def columns_of(
    config: Predict, predictor: Predictor, mixture: Mixture, at: Sequence[np.ndarray], key: Any
) -> dict[str, np.ndarray]:
    """Returns the configured columns for the relative mixtures of a block of rows, in float64, since an offset may be large.

    With several targets, each name begins with that of its target. Args: `at` holds the values of `density_at`, if it is set.
    """
    columns: dict[str, np.ndarray] = {}
    targets = predictor.columns.targets
    prefixes = [f"{name}_" if len(targets) > 1 else "" for name in targets]
    for target, prefix in enumerate(prefixes):
        single = marginal(mixture, [target]) if len(targets) > 1 else mixture
        units = relative_units(predictor.scaler).select(target)
        lattice = None if predictor.lattice is None else predictor.lattice.select(target)
        columns |= {f"{prefix}{name}": column for name, column in _target_columns(config, units, single, at, lattice)}
    if config.samples:
        draws = predictor.absolute(np.asarray(sample(key, mixture, (config.samples,))))
        draws = draws if predictor.lattice is None else predictor.lattice.nearest(draws)
        for target, prefix in enumerate(prefixes):
            columns |= {f"{prefix}sample_{i + 1}": draws[i, :, target] for i in range(config.samples)}
    return {name: _rounded(column, float(np.min(predictor.scaler.y_factor))) for name, column in columns.items()}


def _rounded(values: np.ndarray, factor: float) -> np.ndarray:
    """Rounds away digits beyond float32: to 1e-8 of the scale `factor` for larger values, else to eight significant digits."""
    texts = [f"{value:.8g}" for value in values.tolist()]
    decimals = 8 - int(np.floor(np.log10(factor)))
    fine = np.round(values, decimals) if -300 < decimals < 300 else values
    return np.where(np.abs(values) > factor, fine, np.array(texts, np.float64))


def _target_columns(
    config: Predict, units: Units, mixture: Mixture, at: Sequence[np.ndarray], lattice: Lattice | None
) -> Iterator[tuple[str, np.ndarray]]:
    if config.mean or config.sd:
        means, sds = _moments(units, mixture, lattice)
        yield from (("mean", means),) * config.mean
        yield from (("sd", sds),) * config.sd
    expanded = mixture[:, None]  # broadcasts against levels
    rounded = (lambda values: values) if lattice is None else lattice.at_or_above
    if config.quantiles:
        values = rounded(units.absolute(quantile(expanded, jnp.array(config.quantiles))))[..., 0]
        yield from ((f"quantile_{level!r}", values[:, i]) for i, level in enumerate(config.quantiles))
    if config.intervals:
        ends = rounded(units.absolute(central_interval(expanded, jnp.array(config.intervals))))
        for i, level in enumerate(config.intervals):
            yield f"low_{level!r}", ends[:, i, 0]
            yield f"high_{level!r}", ends[:, i, 1]
    if config.modes:
        for name, values in _modes(mixture, config.modes):
            yield name, values if "mass" in name else units.absolute(values)
    if config.probabilities and lattice is not None:
        points = lattice.values()
        shares = probabilities_of(mixture, units, points, float(lattice.step[0]))
        yield from ((f"probability_{point:.10g}", shares[:, i]) for i, point in enumerate(points))
    for values in at:
        yield "log_density", _log_density(units, mixture, values[:, None], lattice)


def _moments(units: Units, mixture: Mixture, lattice: Lattice | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of a single target, of its rounded values if it is on a lattice."""
    if lattice is not None:
        means, variances = rounded_moments(mixture, units, lattice)
        return means[:, 0], np.sqrt(variances[:, 0])
    return units.absolute(mean(mixture))[:, 0], units.factor * np.sqrt(np.asarray(variance(mixture), np.float64)[:, 0])


def _log_density(units: Units, mixture: Mixture, y: np.ndarray, lattice: Lattice | None) -> np.ndarray:
    """Returns the log density at relative values y, in units of the target; on a lattice it is that of their cells."""
    if lattice is None:
        return np.asarray(log_prob(mixture, y), np.float64) - np.log(units.factor)
    half = (lattice.step / 2 / units.factor).astype(y.dtype)
    return np.asarray(log_cell(mixture, y - half, y + half), np.float64) - np.log(lattice.step)


def _modes(mixture: Mixture, num: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields positions and masses of the most probable modes; NaN if a mixture has fewer."""
    y, mass = sorted_modes(modes(mixture), MIN_MODE_MASS)
    missing = np.full((len(mass), max(0, num - mass.shape[1])), np.nan)
    y, mass = np.concatenate([y[..., 0], missing], axis=1), np.concatenate([mass, missing], axis=1)
    for i in range(num):
        yield f"mode_{i + 1}", y[:, i]
        yield f"mass_{i + 1}", mass[:, i]
