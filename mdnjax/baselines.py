"""Two Gaussian predictions to compare with: the law of the targets without inputs, and least squares.

Censored targets have the likelihood P(Y > y), or P(Y < y), in both. Source: Tobin (1958); by EM: Dempster, Laird & Rubin (1977).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.special import log_ndtr

from mdnjax.components import Full, Support
from mdnjax.data import Dataset
from mdnjax.data.units import Units
from mdnjax.mixture import Mixture, warp
from mdnjax.types import Float, Int

MAX_EM_ITERATIONS, TOLERANCE = 500, 1e-5  # the latter in standard deviations of the residuals


def marginal_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns one Gaussian for all rows, with the mean and covariance of the train targets, in `units`.

    With a support they are those of the targets' logs or logits.
    """
    without_inputs = train._replace(x=np.zeros((len(train.x), 0)), y=units.relative(train.y))
    return _gaussian(without_inputs, np.zeros((len(x), 0)), _in_units(support, units))


def linear_gaussian(train: Dataset, x: np.ndarray, support: Support | None, units: Units) -> Mixture:
    """Returns the Gaussians of a least-squares fit on the inputs, with one covariance for all rows, in `units`."""
    return _gaussian(train._replace(y=units.relative(train.y)), x, _in_units(support, units))


def _in_units(support: Support | None, units: Units) -> Support | None:
    """Converts the bounds of a support to other units."""
    return support and Support(*(tuple(units.relative(np.array(ends)).tolist()) for ends in support))


def _gaussian(train: Dataset, at: np.ndarray, support: Support | None) -> Mixture:
    """Fits y by least squares on a constant and standardised inputs x; predicts at `at`, with the covariance of the residuals."""
    x, at = np.asarray(train.x, np.float64), np.asarray(at, np.float64)
    unbounded = train.y if support is None else support.to_line(train.y, axis=1)
    root = np.ones(len(x)) if train.weight is None else np.sqrt(train.weight / np.mean(train.weight))
    x_mean, x_sd = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    design, at = (np.column_stack([np.ones(len(inputs)), (inputs - x_mean) / x_sd]) for inputs in (x, at))
    variance = np.zeros((len(x), 1))
    if train.censoring is not None:
        unbounded, variance = _expected_beyond(design, unbounded, train.censoring, root)
    coefficients, _, rank, _ = np.linalg.lstsq(root[:, None] * design, root[:, None] * unbounded, rcond=None)
    residuals = root[:, None] * (unbounded - design @ coefficients)
    covariance = (residuals.T @ residuals + root**2 @ variance) / max(len(x) - int(rank), 1)
    covariance += 1e-12 * np.trace(covariance) * np.eye(len(covariance))
    tril = np.linalg.cholesky(np.linalg.inv(covariance))
    loc = (at @ coefficients)[:, None].astype(np.float32)
    tril = np.broadcast_to(tril.astype(np.float32), (len(at), 1, *tril.shape))
    mixture = Mixture(jnp.zeros((len(at), 1)), Full(jnp.asarray(loc), jnp.asarray(tril)))
    return mixture if support is None else warp(mixture, support)


def _expected_beyond(
    design: Float[np.ndarray, "N I"], y: Float[np.ndarray, "N 1"], censoring: Int[np.ndarray, " N"], root: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "N 1"], Float[np.ndarray, "N 1"]]:
    """Returns expectation and variance of the true targets by the least squares that maximise the likelihood, found by EM.

    With z = (y - loc) / sd and h = phi(z) / Phi(-z), a target above y has the mean loc + sd h and the variance
    sd^2 (1 + z h - h^2). `root` are the square roots of the weights of rows, whose mean is 1.
    """
    inverse, side = np.linalg.pinv(root[:, None] * design) * root, censoring[:, None]
    expected, variance = y, np.zeros_like(y)
    for _ in range(MAX_EM_ITERATIONS):
        loc = design @ (inverse @ expected)
        sd = np.sqrt(np.mean(root[:, None] ** 2 * ((expected - loc) ** 2 + variance)))
        z = side * (y - loc) / sd
        ratio = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-z))
        before, expected = expected, np.where(side == 0, y, loc + side * sd * ratio)
        variance = np.where(side == 0, 0, sd**2 * np.clip(1 + z * ratio - ratio**2, 0, 1))
        if np.max(np.abs(expected - before)) < TOLERANCE * sd:
            break
    return expected, variance
