"""Checks of modes and highest-density regions of one target."""

from __future__ import annotations

from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.proof import peaks
from experiments.proof.cases import LEVELS, Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import (
    Check,
    Position,
    as_dtype_of,
    at_points,
    each_example,
    each_point,
    for_each_example,
    of_mixture,
)
from experiments.proof.oracles import Example, Numbers
from experiments.proof.regimes import EVERY, OF_MIXTURES
from mdnjax import Mixture

PADDED_LENGTH = 200


def _padded(numbers: Any) -> Numbers:
    """Appends nan to numbers, so that lists of any length can be compared."""
    numbers = np.asarray(numbers, float)
    rest = np.full((*numbers.shape[:-1], PADDED_LENGTH - numbers.shape[-1]), np.nan)
    return np.concatenate([numbers, rest], axis=-1)


def _modes(mixture: Mixture, case: Case) -> Any:
    found = mdn.modes(mixture)
    y = _padded(found.y[..., 0])
    return Position(y), _heights(case, y, _padded(found.log_density)), _padded(found.mass), found.num_modes


def _true_modes(case: Case) -> Any:
    parts = [peaks.modes(example) for example in case.examples]
    y, heights, mass = (np.stack([_padded(part[i]) for part in parts]) for i in range(3))
    return y, _heights(case, y, heights), mass, np.array([len(part[0]) for part in parts])


def _heights(case: Case, y: Numbers, log_density: Numbers) -> Numbers:
    """Replaces log densities at a bound by infinity: such a value depends on the rounding of the bound alone."""
    at_bound = np.zeros(y.shape, bool)
    for bound in (case.examples[0].low[0], case.examples[0].high[0]):
        at_bound |= np.abs(y - bound) < 1e-6
    return np.where(at_bound, np.inf, log_density)


def _highest_mode(example: Example) -> Numbers:
    y, height, _ = peaks.modes(example)
    return y[[np.argmax(height)]]


def _hdr(mixture: Mixture, case: Case) -> Any:
    found = mdn.hdr(mixture, as_dtype_of(mixture, for_each_example(LEVELS, case)))
    return Position(_padded(found.low)), Position(_padded(found.high)), found.log_density, found.num_pieces, found.size


def _true_hdr(case: Case) -> Any:
    rows = [[peaks.region(e, p) for e in case.examples] for p in LEVELS]
    low, high = (np.stack([np.stack([_padded(part[i]) for part in row]) for row in rows]) for i in (0, 1))
    log_c = np.array([[part[2] for part in row] for row in rows])
    return low, high, log_c, np.sum(~np.isnan(low), -1), np.nansum(high - low, -1)


def _distinct(name: Name) -> bool:
    """Selects distinct cases except for slow ones."""
    return select.distinct(name) and select.three_components(name) and name != Name("student_t", "upper")


def _distinct_marginal(name: Name) -> bool:
    """Selects distinct cases in which the family's marginal, with which these functions compute, is distinct too."""
    return _distinct(name) and name.family not in ("isotropic", "low_rank")


CHECKS = [
    Check(
        "modes",
        "p' = 0 and p'' < 0; mass between minima",
        "roots of the derivative on a dense grid",
        _modes,
        _true_modes,
        _distinct_marginal,
        (2e-3, 1e-8),
        regimes=OF_MIXTURES,
    ),
    Check(
        "highest_mode",
        "argmax p",
        "roots of the derivative on a dense grid",
        of_mixture(lambda m: Position(mdn.highest_mode(m))),
        each_example(_highest_mode),
        lambda n: n.family in ("diagonal", "laplace") and n.support == "line" and _distinct(n),
        (2e-3, 1e-8),
        regimes=OF_MIXTURES,
    ),
    Check(
        "hdr",
        "{p >= c}, P(p(Y) >= c) = level",
        "brentq on c over brentq on the ends",
        _hdr,
        _true_hdr,
        _distinct,
        (5e-3, 1e-8),
        regimes=OF_MIXTURES,
    ),
    Check(
        "hdr_mass",
        "P(p(Y) > p(y))",
        "brentq on the ends of {p >= p(y)}",
        at_points(mdn.hdr_mass),
        each_point(peaks.hdr_mass),
        _distinct_marginal,
        (1e-3, 1e-9),
        regimes=EVERY,
    ),
]
