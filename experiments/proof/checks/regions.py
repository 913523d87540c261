"""Modes and highest-density regions of one target."""

from __future__ import annotations

from typing import Any

import numpy as np

import mdnjax as mdn
from experiments.proof import peaks
from experiments.proof.cases import LEVELS, Case, Name
from experiments.proof.checks.check import Check, as_mixture, distinct
from experiments.proof.checks.density import y_of
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture

PADDED = 20


def padded(numbers: Any) -> Numbers:
    """Filled up with nan."""
    numbers = np.asarray(numbers, float)
    rest = np.full((*numbers.shape[:-1], PADDED - numbers.shape[-1]), np.nan)
    return np.concatenate([numbers, rest], axis=-1)


def _modes(mixture: Mixture, case: Case) -> Any:
    found = mdn.modes(mixture)
    return padded(found.y[..., 0]), _heights(case, found.y[..., 0], found.log_density), padded(found.mass), found.num_modes


def _true_modes(case: Case) -> Any:
    parts = [peaks.modes(example) for example in case.examples]
    y, heights, mass = (np.stack([padded(part[i]) for part in parts]) for i in range(3))
    return y, _heights(case, y, heights), mass, np.array([len(part[0]) for part in parts])


def _heights(case: Case, y: Any, log_density: Any) -> Numbers:
    """Log densities, infinite at a bound: how far out it was looked at is nobody's concern."""
    at_bound = np.zeros(np.shape(padded(y)), bool)
    for bound in (case.examples[0].low[0], case.examples[0].high[0]):
        at_bound |= np.abs(padded(y) - bound) < 1e-6
    return np.where(at_bound, np.inf, padded(log_density))


def _highest(example: Example) -> Numbers:
    y, height, _ = peaks.modes(example)
    return y[[np.argmax(height)]]


def levels(case: Case) -> np.ndarray:
    """Probabilities `[L, B]`."""
    return np.broadcast_to(LEVELS[:, None], (len(LEVELS), len(case.examples)))


def _hdr(mixture: Mixture, case: Case) -> Any:
    found = mdn.hdr(mixture, as_mixture(levels(case), mixture))
    return padded(found.low), padded(found.high), found.log_density, found.num_pieces, found.size


def _true_hdr(case: Case) -> Any:
    rows = [[peaks.region(e, p) for e in case.examples] for p in LEVELS]
    low, high = (np.stack([np.stack([padded(part[i]) for part in row]) for row in rows]) for i in (0, 1))
    log_c = np.array([[part[2] for part in row] for row in rows])
    return low, high, log_c, np.sum(~np.isnan(low), -1), np.nansum(high - low, -1)


def _costly(name: Name) -> bool:
    """A family's own code for these is that of its marginal: the Gaussians' are one on a bounded support."""
    return distinct(name) and name.num_components == 3 and name != Name("student_t", "upper")


def _marginal_of_its_own(name: Name) -> bool:
    return _costly(name) and name.family not in ("isotropic", "low_rank")


CHECKS = [
    Check(
        "modes",
        "p' = 0 and p'' < 0; mass between minima",
        "roots of the derivative on a dense grid",
        _modes,
        _true_modes,
        _marginal_of_its_own,
        2e-3,
        1e-8,
    ),
    Check(
        "highest_mode",
        "argmax p",
        "roots of the derivative on a dense grid",
        lambda m, c: mdn.highest_mode(m),
        lambda c: c.each(_highest),
        lambda n: n.family in ("diagonal", "laplace") and n.support == "line" and _costly(n),
        2e-3,
        1e-8,
    ),
    Check("hdr", "{p >= c}, P(p(Y) >= c) = level", "brentq on c over brentq on the ends", _hdr, _true_hdr, _costly, 5e-3, 1e-8),
    Check(
        "hdr_mass",
        "P(p(Y) > p(y))",
        "brentq on the ends of {p >= p(y)}",
        lambda m, c: mdn.hdr_mass(m, y_of(m, c)),
        lambda c: c.each(peaks.hdr_mass, c.y),
        _marginal_of_its_own,
        1e-3,
        1e-9,
    ),
]
