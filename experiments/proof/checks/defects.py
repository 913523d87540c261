"""Defects known of other libraries, each a check of its own: mixtures small enough to know the answer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import mdnjax as mdn
from experiments.proof.cases import Case, Name
from experiments.proof.checks.check import Check
from mdnjax import FAMILIES, Mixture
from mdnjax.components import Sizes


def _two_peaks(mixture: Mixture, case: Case) -> Any:
    loc = jnp.array([[-1.0], [1.0]], mixture.logits.dtype)
    peaks = Mixture(jnp.zeros_like(loc[:, 0]), mdn.Diagonal(loc, jnp.full_like(loc, 0.1)))
    return mdn.cdf(peaks, jnp.array([-1.2], loc.dtype))


def _standard_crps(mixture: Mixture, case: Case) -> Any:
    dtype = mixture.logits.dtype
    standard = Mixture(jnp.zeros((2, 1), dtype), mdn.Diagonal(jnp.array([[[0.0]], [[5.0]]], dtype), jnp.ones((2, 1, 1), dtype)))
    return mdn.crps(standard, jnp.array([[0.0], [5.0]], dtype))


def _scales_stay(mixture: Mixture, case: Case) -> Any:
    """Three components of two targets with scales 1, 2 and 3."""
    raw = jnp.concatenate([jnp.zeros(6), jnp.log(jnp.array([1.0, 2.0, 3.0]))]).astype(mixture.logits.dtype)
    isotropic = FAMILIES["isotropic"].from_raw(raw, Sizes(3, 2), 0.0)
    one_by_one = [
        mdn.variance(Mixture(jnp.where(jnp.arange(3) == k, 0, -jnp.inf).astype(raw.dtype), isotropic)) for k in range(3)
    ]
    return np.sqrt(np.stack(one_by_one))


def _raw_is_log_sd(mixture: Mixture, case: Case) -> Any:
    """A raw scale of log 0.1 is a standard deviation of 0.1, not a variance."""
    raw = jnp.array([0.0, np.log(0.1)], mixture.logits.dtype)
    return np.sqrt(mdn.variance(Mixture(jnp.zeros(1, raw.dtype), FAMILIES["diagonal"].from_raw(raw, Sizes(1, 1), 0.0))))


def _no_noise(mixture: Mixture, case: Case) -> Any:
    """A density asked for again after sampling, and in another place of the batch."""
    y = jnp.asarray(case.y, mixture.logits.dtype)
    before = mdn.log_prob(mixture, y)
    mdn.sample(jax.random.key(0), mixture)
    turned = mixture[::-1]
    return np.stack([mdn.log_prob(mixture, y) - before, mdn.log_prob(turned, y[:, ::-1])[:, ::-1] - before])


def _here(name: Name) -> bool:
    return name == Name("diagonal")


CHECKS = [
    Check(
        "cdf",
        "defect: a scale taken for a variance (.1318 for .011375)",
        "scipy's cdf",
        _two_peaks,
        lambda c: 0.5 * stats.norm.cdf(-2) + 0.5 * stats.norm.cdf(-22),
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "crps",
        "defect: locations ignored (N(0, 1) at 0: .233695)",
        "(sqrt 2 - 1) / sqrt pi",
        _standard_crps,
        lambda c: np.full(2, (np.sqrt(2) - 1) / np.sqrt(np.pi)),
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "from_raw",
        "defect: isotropic scales that mix components",
        "[[1, 1], [2, 2], [3, 3]]",
        _scales_stay,
        lambda c: np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "from_raw",
        "defect: log-variance where log-sd is read (.01 for .1)",
        "0.1",
        _raw_is_log_sd,
        lambda c: np.array([0.1]),
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "log_prob",
        "defect: sampling noise inside, or the row's place",
        "itself before sampling, and turned round",
        _no_noise,
        lambda c: np.zeros((2, *c.y.shape[:2])),
        _here,
        0.0,
        0.0,
    ),
]
