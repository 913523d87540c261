"""Checks of samples and of estimates from samples: errors in standard errors, or in 1 / sqrt(number of draws)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats

import mdnjax as mdn
from experiments.proof import one_target, peaks, several_targets
from experiments.proof.cases import LEVELS, Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, as_dtype_of, at_points, each_point, standard_errors, zeros
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture

NUM_DRAWS = 4000
NUM_ORACLE_DRAWS = 20_000
MAX_STANDARD_ERRORS = 5.0


def kolmogorov(examples: Sequence[Example], draws: Numbers) -> Numbers:
    """Returns sqrt(S) sup |F_S - F| of draws `[S, B, D]`, for each example and target: above 2.5 in one of 10^5 trials."""
    distances = []
    for b, example in enumerate(examples):
        for d, target in enumerate(example.targets()):
            values = one_target.cdf_on_line(target, target.to_line(draws[:, b, d, None])[:, 0])
            distances.append(np.sqrt(len(draws)) * stats.kstest(values, "uniform").statistic)
    return np.array(distances)


def _draws(seed: int, mixture: Mixture) -> Numbers:
    return np.asarray(mdn.sample(jax.random.key(seed), mixture, (NUM_DRAWS,)), float)


def _in_box(mixture: Mixture, case: Case) -> Numbers:
    draws, corner = _draws(1, mixture), case.each(lambda e: e.from_line(e.loc[np.argmax(e.weight)]))
    truth = case.each(lambda e: several_targets.box_prob(e, e.low, e.from_line(e.loc[np.argmax(e.weight)])))
    share = np.mean(np.all(draws <= corner, axis=-1), axis=0)
    return (share - truth) / np.sqrt(truth * (1 - truth) / NUM_DRAWS + 1e-12)


def _true_tempered(example: Example, y: Numbers) -> Any:
    weight = np.sqrt(example.weight) / np.sqrt(example.weight).sum()
    covariance = None if example.covariance is None else 4 * example.covariance
    return example._replace(weight=weight, scale=2 * example.scale, covariance=covariance).log_prob(y)


def _from_numpy(estimate: Any, case: Case, seed: int, terms: Callable[..., Numbers], *arrays: np.ndarray) -> Numbers:
    """Returns the difference of an estimate from the mean of terms(example, rng, *point) by numpy's draws, in standard errors."""
    rng = np.random.default_rng(seed)
    rows = [terms(e, rng, *(array[b] for array in arrays)) for b, e in enumerate(case.examples)]
    errors = np.array([row.std() for row in rows]) / np.sqrt(NUM_ORACLE_DRAWS)
    return standard_errors(estimate, np.array([row.mean() for row in rows]), errors)


def _entropy_terms(example: Example, rng: np.random.Generator) -> Numbers:
    return -example.log_prob(several_targets.draw(example, rng, NUM_ORACLE_DRAWS))


def _entropy(mixture: Mixture, case: Case) -> Numbers:
    return _from_numpy(mdn.entropy_by_samples(jax.random.key(2), mixture, NUM_DRAWS), case, 3, _entropy_terms)


def _energy_terms(example: Example, rng: np.random.Generator, y: Numbers) -> Numbers:
    draws, others = (several_targets.draw(example, rng, NUM_ORACLE_DRAWS) for _ in range(2))
    return np.linalg.norm(draws - y, axis=-1) - 0.5 * np.linalg.norm(draws - others, axis=-1)


def _energy_score(mixture: Mixture, case: Case) -> Any:
    return mdn.energy_score(jax.random.key(3), mixture, as_dtype_of(mixture, case.y[0]), NUM_DRAWS)


def _energy(mixture: Mixture, case: Case) -> Numbers:
    return _from_numpy(_energy_score(mixture, case), case, 4, _energy_terms, case.y[0].astype(float))


def _energy_is_crps(mixture: Mixture, case: Case) -> Numbers:
    return standard_errors(_energy_score(mixture, case), case.each(one_target.crps, case.y[:1])[0])


def _hdr_level(mixture: Mixture, case: Case) -> Numbers:
    truth = case.each(lambda e: peaks.region(e, float(LEVELS[0]))[2])
    return standard_errors(mdn.hdr_level(jax.random.key(4), mixture, float(LEVELS[0]), NUM_DRAWS), truth)


def _hdr_mass(mixture: Mixture, case: Case) -> Numbers:
    estimate = mdn.hdr_mass_by_samples(jax.random.key(5), mixture, as_dtype_of(mixture, case.y[0]), NUM_DRAWS)
    return standard_errors(estimate, case.each(peaks.hdr_mass, case.y[:1])[0], 1e-3)


def _sampled(name: Name) -> bool:
    return select.two_on_the_line(name) or name in (
        Name("diagonal"),
        Name("diagonal", "positive", 2),
        Name("full", "positive", 2),
    )


def _each_way_to_draw(name: Name) -> bool:
    """Selects one family for each way to draw: the estimates themselves are the same for all families."""
    return select.two_on_the_line(name) and name.family in ("diagonal", "low_rank", "student_t")


def _line_of(*families: str) -> Callable[[Name], bool]:
    """Selects one target without bounds, of some families."""
    return lambda name: select.three_components(name) and name.support == "line" and name.family in families


def _in_standard_errors(function: str, formula: str, oracle: str, value: Any, applies: Callable[[Name], bool]) -> Check:
    return Check(
        function, formula, oracle, value, zeros(), applies, (MAX_STANDARD_ERRORS, MAX_STANDARD_ERRORS), "standard errors"
    )


CHECKS = [
    Check(
        "sample",
        "sqrt(S) sup abs(F_S - F), each target",
        "Kolmogorov-Smirnov on scipy's cdf",
        lambda m, c: kolmogorov(c.examples, c.relative(_draws(0, m))),
        lambda c: np.zeros(len(c.examples) * c.y.shape[-1]),
        _sampled,
        (2.6, 2.6),
        "absolute",
        regimes=("far", "weights", "df"),
    ),
    _in_standard_errors("sample", "share of draws in a box", "box_prob's oracle", _in_box, select.two_on_the_line),
    Check(
        "temper",
        "w^(1/2) normalised, scales times 2",
        "scipy's densities",
        at_points(lambda m, y: mdn.log_prob(mdn.temper(m, weights=2.0, scales=4.0), y)),
        each_point(_true_tempered),
        select.two_on_the_line,
        (2e-5, 1e-11),
    ),
    _in_standard_errors("entropy_by_samples", "mean of -log p over draws", "20,000 draws by numpy", _entropy, _each_way_to_draw),
    _in_standard_errors(
        "energy_score", "E norm(Y - y) - E norm(Y - Y') / 2", "20,000 draws by numpy", _energy, _each_way_to_draw
    ),
    _in_standard_errors(
        "energy_score", "the CRPS of one target", "Gauss-Legendre panels", _energy_is_crps, _line_of("diagonal", "laplace")
    ),
    _in_standard_errors(
        "hdr_level", "quantile of log p(Y)", "brentq on the regions of one target", _hdr_level, _line_of("full", "student_t")
    ),
    _in_standard_errors(
        "hdr_mass_by_samples", "P(p(Y) > p(y))", "brentq on the regions of one target", _hdr_mass, _line_of("full", "student_t")
    ),
]
