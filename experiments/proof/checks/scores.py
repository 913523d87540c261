"""Checks of scores of observations from their definitions, on a fine grid; and of densities by numpyro, if it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.proof.cases import Case
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, as_dtype_of, at_points, of_mixture
from experiments.proof.oracles import Numbers
from mdnjax import Mixture

NUMPYRO = importlib.util.find_spec("numpyro") is not None
LEVEL = 0.8
VALUES = np.random.default_rng(5).beta(0.7, 1.3, 200).astype(np.float32)  # in [0, 1], not uniform


def _values(mixture: Mixture) -> Numbers:
    return as_dtype_of(mixture, VALUES)


def _calibration_error(case: Case) -> Numbers:
    """Returns the mean of |F_n(u) - u| over two million u."""
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    return np.asarray(np.mean(np.abs(np.searchsorted(np.sort(VALUES.astype(float)), u, side="right") / len(VALUES) - u)))


def _numpyro(case: Case) -> Any:
    import numpyro.distributions as dist

    mixture = case.mixture("float64")
    component: Any = mixture.component
    choice = dist.Categorical(logits=mixture.logits, validate_args=False)  # a weight may be 0
    if isinstance(component, mdn.Full | mdn.LowRank):
        covariance = np.stack([e.covariance for e in case.examples if e.covariance is not None])
        distribution: Any = dist.MultivariateNormal(component.loc, covariance_matrix=covariance)
    elif isinstance(component, mdn.StudentT):
        distribution = dist.StudentT(component.df, component.loc, component.scale).to_event(1)
    else:
        scale = component.scale[..., None] if isinstance(component, mdn.Isotropic) else component.scale
        kind = dist.Laplace if isinstance(component, mdn.Laplace) else dist.Normal
        distribution = kind(component.loc, scale).to_event(1)
    return np.asarray(dist.MixtureSameFamily(choice, distribution, validate_args=False).log_prob(case.y.astype(float)))


CHECKS = [
    Check(
        "log_prob",
        "log sum_k w_k p_k(y)",
        "numpyro's MixtureSameFamily",
        at_points(mdn.log_prob),
        _numpyro,
        lambda n: NUMPYRO and select.two_on_the_line(n),
        (2e-5, 1e-11),
    ),
    Check(
        "coverage",
        "share of abs(PIT - 1/2) <= level / 2",
        "counted",
        of_mixture(lambda m: mdn.coverage(_values(m), LEVEL)),
        lambda c: sum(0.1 <= value <= 0.9 for value in VALUES.astype(float)) / len(VALUES),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "hdr_coverage",
        "share of masses <= level",
        "counted",
        of_mixture(lambda m: mdn.hdr_coverage(_values(m), LEVEL)),
        lambda c: sum(value <= LEVEL for value in VALUES.astype(float)) / len(VALUES),
        select.simplest,
        (1e-6, 1e-12),
    ),
    Check(
        "calibration_error",
        "int abs(F_n(u) - u) du",
        "two million points",
        of_mixture(lambda m: mdn.calibration_error(_values(m))),
        _calibration_error,
        select.simplest,
        (1e-5, 1e-6),
    ),
]
