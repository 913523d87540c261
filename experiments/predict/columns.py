"""Summaries of predictive distributions as columns of a table, and the configuration that selects them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from experiments.schemas import Cluster, Runtime
from experiments.sorted_modes import sorted_modes
from mdnjax.config.section import Decimal, Encoding, Names, Section, Seed
from mdnjax.conformity import ends_at, region_at
from mdnjax.data.scaler import relative_units
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.predictor import Predictor
from mdnjax.statistics import marginal, modes

Level = Annotated[float, Field(gt=0, lt=1)]
MIN_MODE_MASS = 0.001  # of the modes that are written
POWERS_OF_TEN = np.array([float(10**power) for power in range(23)])  # larger ones are not exact in float64
FILE = "rows to predict for: .csv, .tsv, .parquet, .npz or .txt, with the model's columns, or a pattern such as 'rows/*.parquet'"


class Predict(Section, frozen=True):
    """Which predictions are written, and to which file."""

    model: str = Field(default="", description="file of a trained model: model.safetensors of a run")
    file: str = Field(default="", description=FILE)
    delimiter: str | None = Field(default=None, description="separator of columns in a text file, or tab (null: by its suffix)")
    decimal: Decimal = Field(default=".", description="character before decimals in a text file, as data.decimal in training")
    encoding: Encoding = Field(default="utf-8", description="encoding of a text file, as data.encoding in training")
    missing_values: Names = Field(
        default=(), description="texts and numbers that mean a missing value, as data.missing_values in training"
    )
    output: Path = Field(
        default=Path("predictions.csv"), description="file to write, .csv or .parquet; for a pattern, the folder of its parts"
    )
    keep: Names = Field(default=(), description="columns of the file to copy next to the predictions")
    mean: bool = Field(default=True, description="write the mean")
    sd: bool = Field(default=True, description="write the standard deviation")
    quantiles: tuple[Level, ...] = Field(default=(0.05, 0.5, 0.95), description="probabilities whose quantiles are written")
    intervals: tuple[Level, ...] = Field(default=(), description="levels of the central intervals whose ends are written")
    regions: tuple[Level, ...] = Field(
        default=(), description="levels of the sets of highest density whose ends are written, at most four intervals for each"
    )
    guarantee: bool = Field(
        default=False,
        description="widen or narrow intervals and regions so that they contain the target with at least their level, by the "
        "rows of data.calibration_share in training",
    )
    modes: Annotated[int, Field(ge=0, le=50)] = Field(
        default=0, description="number of modes, the most probable first, each with its probability mass"
    )
    probabilities: bool = Field(
        default=False, description="write the probability of each atom, or of each value of a lattice, such as whole numbers"
    )
    outside: bool = Field(
        default=False,
        description="write the names of the columns whose value is outside of the range of training, or unseen; for other rows "
        "that are unlike those of training, write 'combination' (so are about 1 % of rows like those of training)",
    )
    density_at: str | None = Field(default=None, description="column at whose values the log density is written (single target)")
    samples: Annotated[int, Field(ge=0, le=10_000)] = Field(default=0, description="number of draws from each row's distribution")
    seed: Seed = Field(default=0, description="seed of the draws")
    chunk_rows: Annotated[int, Field(ge=1, le=10**6)] = Field(
        default=16_384, description="rows of a chunk; a few more chunks than there are cores are in memory at a time"
    )
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
    cluster: Cluster = Field(
        default=Cluster(), description="workers of Dask, which share the files of a pattern (pip install -e '.[cluster]')"
    )


def columns_of(
    config: Predict, predictor: Predictor, mixture: Mixture, groups: np.ndarray, at: Sequence[np.ndarray], key: Any
) -> dict[str, np.ndarray]:
    """Returns the configured columns for the relative mixtures of a block of rows, in float64, since an offset may be large.

    With several targets, each name begins with that of its target.
    Args: `groups` are the places of the rows' groups, for `guarantee`; `at` holds the values of `density_at`, if it is set.
    """
    columns: dict[str, np.ndarray] = {}
    targets = predictor.columns.targets
    prefixes = [f"{name}_" if len(targets) > 1 else "" for name in targets]
    for target, prefix in enumerate(prefixes):
        single = marginal(mixture, [target]) if len(targets) > 1 else mixture
        units = relative_units(predictor.scaler).select(target)
        observed = predictor.observed.select(target)
        columns |= {f"{prefix}{name}": column for name, column in _target_columns(config, units, single, at, observed)}
        columns |= {f"{prefix}{name}": column for name, column in _sets(config, predictor, single, groups, target)}
    if config.samples:
        draws = np.asarray(predictor.observed.mixture_draws(key, mixture, config.samples))
        draws = predictor.observed.draws(predictor.absolute(draws))
        for target, prefix in enumerate(prefixes):
            columns |= {f"{prefix}sample_{i + 1}": draws[i, :, target] for i in range(config.samples)}
    return {name: _rounded(column, float(np.min(predictor.scaler.y_factor))) for name, column in columns.items()}


def _rounded(values: np.ndarray, factor: float) -> np.ndarray:
    """Rounds away digits beyond float32: to 1e-8 of the scale `factor` for larger values, else to eight significant digits."""
    decimals = 8 - int(np.floor(np.log10(factor)))
    fine = np.round(values, decimals) if -300 < decimals < 300 else values
    return np.where(np.abs(values) > factor, fine, _significant(values))


def _significant(values: np.ndarray) -> np.ndarray:
    """Rounds to eight significant digits: exactly, where powers of ten are exact in float64, and elsewhere by way of text."""
    size = np.abs(values)
    decimals = 7 - np.floor(np.log10(np.where((size > 0) & np.isfinite(size), size, 1))).astype(int)
    usual = np.abs(decimals) < len(POWERS_OF_TEN)
    power = POWERS_OF_TEN[np.where(usual, np.abs(decimals), 0)]
    rounded = np.where(decimals < 0, np.rint(values / power) * power, np.rint(values * power) / power)
    rounded[~usual] = [float(f"{value:.8g}") for value in values[~usual].tolist()]
    return rounded


def _target_columns(
    config: Predict, units: Units, mixture: Mixture, at: Sequence[np.ndarray], observed: Observed
) -> Iterator[tuple[str, np.ndarray]]:
    if config.mean or config.sd:
        means, variances = observed.moments(mixture, units)
        yield from (("mean", means[:, 0]),) * config.mean
        yield from (("sd", np.sqrt(variances[:, 0])),) * config.sd
    if config.quantiles:
        values = observed.mixture_quantiles(mixture, np.array(config.quantiles))
        values = observed.quantiles(units.absolute(values[..., None]))[..., 0]
        yield from ((f"quantile_{level!r}", values[:, i]) for i, level in enumerate(config.quantiles))
    if config.modes:
        for name, values in _modes(mixture, config.modes):
            yield name, values if "mass" in name else _with_atoms(observed, units.absolute(values))
    if config.probabilities and observed.has_probabilities:
        shares = observed.probabilities(mixture, units)
        yield from ((f"probability_{point:.10g}", shares[:, i]) for i, point in enumerate(observed.values))
    for values in at:
        yield "log_density", observed.log_prob(mixture, units, values[:, None])


def _sets(
    config: Predict, predictor: Predictor, mixture: Mixture, groups: np.ndarray, target: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the ends of central intervals and regions of a single target, with a guarantee if it is asked for."""
    units, observed = relative_units(predictor.scaler).select(target), predictor.observed.select(target)
    scores = predictor.conformal if config.guarantee else None
    for level in config.intervals:
        if scores is not None:
            low, high = ends_at(mixture, units, observed, scores.thresholds(scores.central[:, target], level, groups))
        else:
            ends = units.absolute(np.asarray(observed.mixture_intervals(mixture, np.array([level])))[:, 0, :, None])
            low, high = observed.quantiles(ends)[..., 0].T
        yield f"low_{level!r}", low
        yield f"high_{level!r}", high
    for level in config.regions:
        limits = np.full(len(mixture), level)
        if scores is not None:
            limits = scores.thresholds(np.asarray(scores.mass)[:, target], level, groups)
        pieces = region_at(mixture, units, observed, limits)
        for piece, (low, high) in enumerate(np.moveaxis(pieces, 0, -1), 1):
            yield f"region_{level!r}_low_{piece}", low
            yield f"region_{level!r}_high_{piece}", high


def _with_atoms(observed: Observed, modes: np.ndarray) -> np.ndarray:
    """Returns the values of targets with atoms at modes of the mixture; those of a lattice stay between its values."""
    return modes if observed.atoms is None else observed.atoms.observed(modes)


def _modes(mixture: Mixture, num: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields positions and masses of the most probable modes; NaN if a mixture has fewer."""
    y, mass = sorted_modes(modes(mixture), MIN_MODE_MASS)
    missing = np.full((len(mass), max(0, num - mass.shape[1])), np.nan)
    y, mass = np.concatenate([y[..., 0], missing], axis=1), np.concatenate([mass, missing], axis=1)
    for i in range(num):
        yield f"mode_{i + 1}", y[:, i]
        yield f"mass_{i + 1}", mass[:, i]
