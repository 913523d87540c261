"""How good predictive distributions are on rows that nothing was fitted to, beside two that anyone could make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pipeline import crps_of
from mdnjax.components import Full, Support
from mdnjax.data import Dataset
from mdnjax.mixture import Mixture, num_targets, warp
from mdnjax.scores import calibration_error, coverage, nll, pit
from mdnjax.statistics import central_interval, marginal, mean

LEVELS = (0.5, 0.8, 0.95)


class Judgement(NamedTuple):
    """Means over rows: NLL in nats and the targets' own units; the rest for each target `[D]`, intervals for each level `[D, L]`.

    Widths are medians; `calibration` is the mean distance between the distribution of the PIT and the uniform one.
    """

    nll: float
    crps: list[float]
    rmse: list[float]
    coverage: list[list[float]]
    width: list[list[float]]
    calibration: list[float]
    pit: np.ndarray

    def numbers(self) -> dict[str, Any]:
        """All but the PIT values, for a file."""
        return {name: value for name, value in self._asdict().items() if name != "pit"} | {"levels": list(LEVELS)}


def judge(mixture: Mixture, y: np.ndarray) -> Judgement:
    """Scores the mixtures `[N]` of N rows by what was observed, `y[N, D]`."""
    targets = range(num_targets(mixture))
    singles = [marginal(mixture, [target]) for target in targets] if len(targets) > 1 else [mixture]
    pits = [np.asarray(pit(single, y[:, target : target + 1])) for target, single in enumerate(singles)]
    scores = [crps_of(single, y[:, target : target + 1]) for target, single in enumerate(singles)]
    ends = [np.asarray(central_interval(jax.tree.map(lambda leaf: leaf[:, None], one), jnp.array(LEVELS))) for one in singles]
    errors = np.asarray(mean(mixture), np.float64) - y
    return Judgement(
        nll=float(np.mean(np.asarray(nll(mixture, y), np.float64))),
        crps=[float(np.mean(own, dtype=np.float64)) for own in scores],
        rmse=[float(value) for value in np.sqrt(np.mean(errors**2, axis=0))],
        coverage=[[float(coverage(own, level)) for level in LEVELS] for own in pits],
        width=[[float(value) for value in np.median(own[..., 1] - own[..., 0], axis=0)] for own in ends],
        calibration=[float(calibration_error(own)) for own in pits],
        pit=np.stack(pits, axis=1),
    )


def marginal_gaussian(train: Dataset, x: np.ndarray, support: Support | None) -> Mixture:
    """One Gaussian for all rows: mean and covariance of the targets of training (of their logs or logits, if bounded)."""
    return _gaussian(np.zeros((len(train.x), 0)), train.y, np.zeros((len(x), 0)), support)


def linear_gaussian(train: Dataset, x: np.ndarray, support: Support | None) -> Mixture:
    """Least squares on the inputs, and one covariance for all rows."""
    return _gaussian(train.x, train.y, x, support)


def _gaussian(x: np.ndarray, y: np.ndarray, at: np.ndarray, support: Support | None) -> Mixture:
    """Least squares on a constant and standardised inputs; the covariance of the residuals, by their degrees of freedom."""
    x, at = np.asarray(x, np.float64), np.asarray(at, np.float64)
    line = np.asarray(y if support is None else support.to_line(jnp.asarray(y), axis=1), np.float64)
    middle, spread = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    design, at = (np.column_stack([np.ones(len(part)), (part - middle) / spread]) for part in (x, at))
    coefficients, _, rank, _ = np.linalg.lstsq(design, line, rcond=None)
    residuals = line - design @ coefficients
    covariance = residuals.T @ residuals / max(len(x) - int(rank), 1)
    covariance += 1e-12 * np.trace(covariance) * np.eye(len(covariance))
    tril = np.linalg.cholesky(np.linalg.inv(covariance))
    loc = (at @ coefficients)[:, None].astype(np.float32)
    tril = np.broadcast_to(tril.astype(np.float32), (len(at), 1, *tril.shape))
    mixture = Mixture(jnp.zeros((len(at), 1)), Full(jnp.asarray(loc), jnp.asarray(tril)))
    return mixture if support is None else warp(mixture, support)


def cells_of(judgements: Mapping[str, Judgement], targets: Sequence[str]) -> list[list[str]]:
    """The cells of a table: a row for each way to predict, and for each target where there are several."""
    rows = []
    for name, own in judgements.items():
        for target, called in enumerate(targets):
            label = name if len(targets) == 1 else f"{name}, {called}"
            nll = f"{own.nll:.3f}" if target == 0 else ""
            scores = [f"{values[target]:.4g}" for values in (own.crps, own.rmse)]
            inside = [f"{100 * share:.1f} %" for share in own.coverage[target]]
            rows.append(
                [label, nll, *scores, *inside, *(f"{w:.4g}" for w in own.width[target]), f"{own.calibration[target]:.3f}"]
            )
    return rows


HEADINGS = ("", "NLL", "CRPS", "RMSE", *(f"in {100 * level:.0f} %" for level in LEVELS))
HEADINGS += (*(f"width {100 * level:.0f} %" for level in LEVELS), "PIT error")
