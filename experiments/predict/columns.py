"""What is asked of a predictive distribution, as columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from experiments.sorted_modes import sorted_modes
from mdnjax.config.schema import Runtime
from mdnjax.config.section import Names, Section, Seed
from mdnjax.data.scaler import relative_units
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, log_prob
from mdnjax.predictor import Predictor
from mdnjax.statistics import central_interval, marginal, mean, modes, quantile, sample, variance

Level = Annotated[float, Field(gt=0, lt=1)]
MIN_MODE_MASS = 0.001  # of a mode that is told


class Predict(Section, frozen=True):
    """What is predicted, and where to."""

    model: str = Field(default="", description="model.safetensors of a run")
    file: str = Field(default="", description="rows to predict for: .csv, .tsv, .parquet, .npz or .txt, with the model's columns")
    delimiter: str | None = Field(default=None, description="between the columns of a text file, or tab (null: by its name)")
    output: Path = Field(default=Path("predictions.csv"), description="file that is written, .csv or .parquet")
    keep: Names = Field(default=(), description="columns of the file that are kept beside the predictions")
    mean: bool = Field(default=True, description="mean")
    sd: bool = Field(default=True, description="standard deviation")
    quantiles: tuple[Level, ...] = Field(default=(0.05, 0.5, 0.95), description="probabilities whose quantiles are given")
    intervals: tuple[Level, ...] = Field(default=(), description="levels of central intervals, each with its two ends")
    modes: Annotated[int, Field(ge=0, le=50)] = Field(
        default=0, description="so many modes, the most probable first, with their mass"
    )
    density_at: str | None = Field(default=None, description="column at whose values the log density is given (a single target)")
    samples: Annotated[int, Field(ge=0, le=10_000)] = Field(default=0, description="draws from each row's distribution")
    seed: Seed = Field(default=0, description="seed of the draws")
    chunk_rows: Annotated[int, Field(ge=1, le=10**6)] = Field(default=16_384, description="rows in memory at a time")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def answered(
    config: Predict, predictor: Predictor, mixture: Mixture, at: Sequence[np.ndarray], key: Any
) -> dict[str, np.ndarray]:
    """Every column that is asked for, of the relative mixtures of a block of rows; names begin with the target where there are
    several. In float64, since an offset may be large."""
    found: dict[str, np.ndarray] = {}
    targets = predictor.columns.targets
    prefixes = [f"{name}_" if len(targets) > 1 else "" for name in targets]
    for target, prefix in enumerate(prefixes):
        single = marginal(mixture, [target]) if len(targets) > 1 else mixture
        units = relative_units(predictor.scaler).select(target)
        found |= {f"{prefix}{what}": column for what, column in _of_target(config, units, single, at)}
    if config.samples:
        draws = predictor.located(np.asarray(sample(key, mixture, (config.samples,))))
        for target, prefix in enumerate(prefixes):
            found |= {f"{prefix}sample_{i + 1}": draws[i, :, target] for i in range(config.samples)}
    return {name: _rounded(column, float(np.min(predictor.scaler.y_factor))) for name, column in found.items()}


def _rounded(values: np.ndarray, factor: float) -> np.ndarray:
    """Without digits that float32 has not given: to eight significant ones, or to a hundred-millionth of a target's scale."""
    texts = [f"{value:.8g}" for value in values.tolist()]
    decimals = 8 - int(np.floor(np.log10(factor)))
    fine = np.round(values, decimals) if -300 < decimals < 300 else values
    return np.where(np.abs(values) > factor, fine, np.array(texts, np.float64))


def _of_target(config: Predict, units: Units, mixture: Mixture, at: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    if config.mean:
        yield "mean", units.located(mean(mixture))[:, 0]
    if config.sd:
        yield "sd", units.factor * np.sqrt(np.asarray(variance(mixture), np.float64)[:, 0])
    several = mixture[:, None]
    if config.quantiles:
        values = units.located(quantile(several, jnp.array(config.quantiles)))[..., 0]
        yield from ((f"quantile_{level:g}", values[:, i]) for i, level in enumerate(config.quantiles))
    if config.intervals:
        ends = units.located(central_interval(several, jnp.array(config.intervals)))
        for i, level in enumerate(config.intervals):
            yield f"low_{level:g}", ends[:, i, 0]
            yield f"high_{level:g}", ends[:, i, 1]
    if config.modes:
        yield from ((name, values if "mass" in name else units.located(values)) for name, values in _modes(mixture, config.modes))
    for values in at:
        yield "log_density", np.asarray(log_prob(mixture, values[:, None]), np.float64) - np.log(units.factor)


def _modes(mixture: Mixture, num: int) -> Iterator[tuple[str, np.ndarray]]:
    """The most probable modes; nan where there are fewer."""
    y, mass = sorted_modes(modes(mixture), MIN_MODE_MASS)
    missing = np.full((len(mass), max(0, num - mass.shape[1])), np.nan)
    y, mass = np.concatenate([y[..., 0], missing], axis=1), np.concatenate([mass, missing], axis=1)
    for i in range(num):
        yield f"mode_{i + 1}", y[:, i]
        yield f"mass_{i + 1}", mass[:, i]
