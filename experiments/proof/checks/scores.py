"""Scores of observations from their definitions, on a fine grid; and densities by numpyro, where it is there."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.proof.cases import Case, Name
from experiments.proof.checks.check import Check, as_mixture
from experiments.proof.checks.density import y_of
from experiments.proof.oracles import Numbers
from mdnjax import Mixture

NUMPYRO = importlib.util.find_spec("numpyro") is not None
LEVEL = 0.8


def _places(mixture: Mixture) -> Numbers:
    """Values in [0, 1], of a crooked distribution."""
    return as_mixture(np.random.default_rng(5).beta(0.7, 1.3, 200).astype(np.float32), mixture)


def _calibration(case: Case) -> Numbers:
    """The mean of |F_n(u) - u| over two million u."""
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    values = np.sort(_places(case.float64))
    return np.asarray(np.mean(np.abs(np.searchsorted(values, u, side="right") / len(values) - u)))


def _numpyro(case: Case) -> Any:
    import numpyro.distributions as dist

    component: Any = case.float64.component
    choice = dist.Categorical(logits=case.float64.logits, validate_args=False)  # a weight may be 0
    family = case.name.family
    if family in ("full", "low_rank"):
        covariance = np.stack([e.covariance for e in case.examples if e.covariance is not None])
        of: Any = dist.MultivariateNormal(component.loc, covariance_matrix=covariance)
    else:
        scale = component.scale[..., None] if family == "isotropic" else component.scale
        kinds = {"laplace": dist.Laplace, "student_t": lambda loc, scale: dist.StudentT(component.df, loc, scale)}
        of = kinds.get(family, dist.Normal)(component.loc, scale).to_event(1)
    return np.asarray(dist.MixtureSameFamily(choice, of, validate_args=False).log_prob(case.y.astype(float)))


def _with_numpyro(name: Name) -> bool:
    return NUMPYRO and name.support == "line" and name.num_targets == 2


def _here(name: Name) -> bool:
    return name == Name("diagonal")


CHECKS = [
    Check(
        "log_prob",
        "log sum_k w_k p_k(y)",
        "numpyro's MixtureSameFamily",
        lambda m, c: mdn.log_prob(m, y_of(m, c)),
        _numpyro,
        _with_numpyro,
        2e-5,
        1e-11,
    ),
    Check(
        "coverage",
        "share of abs(PIT - 1/2) <= level / 2",
        "counted",
        lambda m, c: mdn.coverage(_places(m), LEVEL),
        lambda c: sum(0.1 <= v <= 0.9 for v in _places(c.float64)) / 200,
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "hdr_coverage",
        "share of masses <= level",
        "counted",
        lambda m, c: mdn.hdr_coverage(_places(m), LEVEL),
        lambda c: sum(v <= LEVEL for v in _places(c.float64)) / 200,
        _here,
        1e-6,
        1e-12,
    ),
    Check(
        "calibration_error",
        "int abs(F_n(u) - u) du",
        "two million points",
        lambda m, c: mdn.calibration_error(_places(m)),
        _calibration,
        _here,
        1e-5,
        1e-6,
    ),
]
