"""What is drawn, and what is estimated from draws: distances in standard errors, or in 1 / sqrt(number)."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy import stats

import mdnjax as mdn
from experiments.proof import one_target, peaks, several_targets
from experiments.proof.cases import LEVELS, Case, Name
from experiments.proof.checks.check import Check, against_samples, as_mixture
from experiments.proof.checks.numbers import zeros
from experiments.proof.oracles import Numbers, to_line
from mdnjax import Mixture

NUM_DRAWS = 4000
SIGMAS = 5.0


def _kolmogorov(mixture: Mixture, case: Case) -> Numbers:
    """sqrt(S) times the largest distance between the shares of draws and the cdf: above 2.5 in one of 10^5 trials."""
    draws = np.asarray(mdn.sample(jax.random.key(0), mixture, (NUM_DRAWS,)), float)
    rows = []
    for b, example in enumerate(case.examples):
        for d in range(example.loc.shape[1]):
            target = example.target(d)
            below = one_target.cdf_on_line(target, to_line(draws[:, b, d], target.low[0], target.high[0]))
            rows.append(np.sqrt(NUM_DRAWS) * stats.kstest(below, "uniform").statistic)
    return np.array(rows)


def _in_box(mixture: Mixture, case: Case) -> Numbers:
    draws = np.asarray(mdn.sample(jax.random.key(1), mixture, (NUM_DRAWS,)), float)
    low = case.each(lambda e: e.low)
    corner = case.each(lambda e: several_targets.from_line(e.loc[np.argmax(e.weight)], e.low, e.high))
    truth = np.array([several_targets.box_prob(e, a, b) for e, a, b in zip(case.examples, low, corner, strict=True)])
    share = np.mean(np.all(draws <= corner, axis=-1), axis=0)
    return (share - truth) / np.sqrt(truth * (1 - truth) / NUM_DRAWS + 1e-12)


def _tempered(mixture: Mixture, case: Case) -> Any:
    other = mdn.temper(mixture, weights=2.0, scales=4.0)
    return mdn.log_prob(other, as_mixture(case.y, mixture))


def _true_tempered(case: Case) -> Numbers:
    def hot(example: Any, y: Numbers) -> Any:
        weight = np.sqrt(example.weight) / np.sqrt(example.weight).sum()
        covariance = None if example.covariance is None else 4 * example.covariance
        return example._replace(weight=weight, scale=2 * example.scale, covariance=covariance).log_prob(y.astype(float))

    return case.each(hot, case.y)


def _entropy(mixture: Mixture, case: Case) -> Numbers:
    rng = np.random.default_rng(3)
    own = [-e.log_prob(several_targets.draw(e, rng, 20_000)) for e in case.examples]
    truth, error = np.array([s.mean() for s in own]), np.array([s.std() for s in own]) / np.sqrt(20_000)
    return against_samples(mdn.entropy_by_samples(jax.random.key(2), mixture, NUM_DRAWS), truth, error)


def _energy(mixture: Mixture, case: Case) -> Numbers:
    rng, number, y = np.random.default_rng(4), 20_000, case.y[0].astype(float)
    truth, error = [], []
    for example, at in zip(case.examples, y, strict=True):
        one, other = several_targets.draw(example, rng, number), several_targets.draw(example, rng, number)
        terms = np.linalg.norm(one - at, axis=-1) - 0.5 * np.linalg.norm(one - other, axis=-1)
        truth.append(terms.mean())
        error.append(terms.std() / np.sqrt(number))
    estimate = mdn.energy_score(jax.random.key(3), mixture, as_mixture(y, mixture), NUM_DRAWS)
    return against_samples(estimate, np.array(truth), np.array(error))


def _energy_is_crps(mixture: Mixture, case: Case) -> Numbers:
    truth = np.array([one_target.crps(e, y.astype(float)) for e, y in zip(case.examples, case.y[0], strict=True)])
    return against_samples(mdn.energy_score(jax.random.key(3), mixture, as_mixture(case.y[0], mixture), NUM_DRAWS), truth)


def _level(mixture: Mixture, case: Case) -> Numbers:
    truth = np.array([peaks.region(e, float(LEVELS[0]))[2] for e in case.examples])
    return against_samples(mdn.hdr_level(jax.random.key(4), mixture, float(LEVELS[0]), NUM_DRAWS), truth)


def _mass(mixture: Mixture, case: Case) -> Numbers:
    truth = np.array([peaks.hdr_mass(e, y) for e, y in zip(case.examples, case.y[0], strict=True)])
    estimate = mdn.hdr_mass_by_samples(jax.random.key(5), mixture, as_mixture(case.y[0], mixture), NUM_DRAWS)
    return against_samples(estimate, truth, 1e-3)


def _drawn(name: Name) -> bool:
    plain = name.num_targets == 2 and name.support == "line"
    return plain or name in (Name("diagonal"), Name("diagonal", "positive", 2), Name("full", "positive", 2))


def _drawn_from(name: Name) -> bool:
    """One of each way to draw; the statistic itself knows no families."""
    return name.num_targets == 2 and name.support == "line" and name.family in ("diagonal", "low_rank", "student_t")


def _line_only(name: Name) -> bool:
    return name.support == "line" and name.num_targets == 1 and name.num_components == 3


CHECKS = [
    Check(
        "sample",
        "sqrt(S) sup abs(F_S - F), each target",
        "Kolmogorov-Smirnov on scipy's cdf",
        _kolmogorov,
        lambda c: np.zeros(len(c.examples) * c.name.num_targets),
        _drawn,
        2.6,
        2.6,
        "absolute",
    ),
    Check(
        "sample",
        "share of draws in a box",
        "box_prob's oracle",
        _in_box,
        zeros(),
        lambda n: n.num_targets == 2 and n.support == "line",
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
    Check(
        "temper",
        "w^(1/2) normalised, scales times 2",
        "scipy's densities",
        _tempered,
        _true_tempered,
        lambda n: n.num_targets == 2 and n.support == "line",
        2e-5,
        1e-11,
    ),
    Check(
        "entropy_by_samples",
        "mean of -log p over draws",
        "20,000 draws by numpy",
        _entropy,
        zeros(),
        _drawn_from,
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
    Check(
        "energy_score",
        "E norm(Y - y) - E norm(Y - Y') / 2",
        "20,000 draws by numpy",
        _energy,
        zeros(),
        _drawn_from,
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
    Check(
        "energy_score",
        "the CRPS of one target",
        "Gauss-Legendre panels",
        _energy_is_crps,
        zeros(),
        lambda n: _line_only(n) and n.family in ("diagonal", "laplace"),
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
    Check(
        "hdr_level",
        "quantile of log p(Y)",
        "brentq on the regions of one target",
        _level,
        zeros(),
        lambda n: _line_only(n) and n.family in ("full", "student_t"),
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
    Check(
        "hdr_mass_by_samples",
        "P(p(Y) > p(y))",
        "brentq on the regions of one target",
        _mass,
        zeros(),
        lambda n: _line_only(n) and n.family in ("full", "student_t"),
        SIGMAS,
        SIGMAS,
        "standard errors",
    ),
]
