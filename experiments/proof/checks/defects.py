"""Checks that defects of other libraries are not in this one, on mixtures so small that the true value is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import mdnjax as mdn
from experiments.command import import_extra
from experiments.proof.cases import Case
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, of_mixture, points
from mdnjax import FAMILIES, Mixture
from mdnjax.components import Sizes


def _two_peaks(mixture: Mixture) -> Any:
    loc = jnp.array([[-1.0], [1.0]], mixture.logits.dtype)
    peaks = Mixture(jnp.zeros_like(loc[:, 0]), mdn.Diagonal(loc, jnp.full_like(loc, 0.1)))
    return mdn.cdf(peaks, jnp.array([-1.2], loc.dtype))


def _crps_of_normals(mixture: Mixture) -> Any:
    """Returns the CRPS of N(0, 1) at 0, of N(5, 1) at 5, and of N(5, 1) at 0."""
    dtype = mixture.logits.dtype
    loc, y = jnp.array([[[0.0]], [[5.0]], [[5.0]]], dtype), jnp.array([[0.0], [5.0], [0.0]], dtype)
    return mdn.crps(Mixture(jnp.zeros((3, 1), dtype), mdn.Diagonal(loc, jnp.ones_like(loc))), y)


def _isotropic_scales(mixture: Mixture) -> Any:
    """Returns the scales of three components of two targets, which are 1, 2 and 3."""
    loc, log_scale = jnp.repeat(jnp.array([10.0, 20.0, 30.0]), 2), jnp.log(jnp.array([1.0, 2.0, 3.0]))
    raw = jnp.concatenate([loc, log_scale]).astype(mixture.logits.dtype)
    isotropic = FAMILIES["isotropic"].from_raw(raw, Sizes(3, 2), 0.0)
    logits = jnp.where(jnp.eye(3, dtype=bool), 0, -jnp.inf).astype(raw.dtype)
    return np.sqrt(np.stack([mdn.variance(Mixture(logits[k], isotropic)) for k in range(3)]))


def _scale_of_raw(mixture: Mixture) -> Any:
    """A raw scale of log 0.1 is a standard deviation of 0.1, not a variance."""
    raw = jnp.array([0.0, np.log(0.1)], mixture.logits.dtype)
    return np.sqrt(mdn.variance(Mixture(jnp.zeros(1, raw.dtype), FAMILIES["diagonal"].from_raw(raw, Sizes(1, 1), 0.0))))


def _changes_of_log_prob(mixture: Mixture, case: Case) -> Any:
    """Returns by how much sampling changes the density, and by how much a reversed order of the rows does."""
    y = points(mixture, case)
    before = mdn.log_prob(mixture, y)
    mdn.sample(jax.random.key(0), mixture)
    return np.stack([mdn.log_prob(mixture, y) - before, mdn.log_prob(mixture[::-1], y[:, ::-1])[:, ::-1] - before])


CHECKS = [
    Check(
        "cdf",
        "defect: the scale is used as a variance (.1318 for .011375)",
        "scipy's cdf",
        of_mixture(_two_peaks),
        lambda c: 0.5 * stats.norm.cdf(-2) + 0.5 * stats.norm.cdf(-22),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "crps",
        "defect: locations are ignored (N(0, 1) at 0: .233695)",
        "(sqrt 2 - 1) / sqrt pi; scoringrules",
        of_mixture(_crps_of_normals),
        lambda c: np.array(
            [*[(np.sqrt(2) - 1) / np.sqrt(np.pi)] * 2, import_extra("scoringrules", "test").crps_normal(0.0, 5.0, 1.0)]
        ),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "from_raw",
        "defect: isotropic scales are those of other components",
        "[[1, 1], [2, 2], [3, 3]]",
        of_mixture(_isotropic_scales),
        lambda c: np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "from_raw",
        "defect: the variance is used as the scale (.01 for .1)",
        "0.1",
        of_mixture(_scale_of_raw),
        lambda c: np.array([0.1]),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "log_prob",
        "defect: sampling, or the order of the rows, changes it",
        "itself before sampling, and in reversed order",
        _changes_of_log_prob,
        lambda c: np.zeros((2, *c.y.shape[:2])),
        select.simplest,
        (0.0, 0.0),
    ),
]
