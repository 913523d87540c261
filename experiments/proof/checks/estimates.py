"""Checks of the errors that estimates by quadrature state: the true error is never larger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mdnjax as mdn
from experiments.proof import one_target
from experiments.proof.cases import Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, Stated, each_example, each_point, points
from experiments.proof.checks.density import box_prob, true_box_prob
from experiments.proof.regimes import EVERY, OF_MIXTURES
from mdnjax import Mixture


def _covers_its_error(
    function: str,
    estimate: Callable[[Mixture, Case], Any],
    truth: Callable[[Case], Any],
    applies: Callable[[Name], bool],
    regimes: tuple[str, ...],
) -> Check:
    """Returns the check of an estimate; the oracle itself may have an error as large as the tolerances."""
    return Check(
        function,
        "by how much the error is above the stated one",
        "that of its value",
        lambda mixture, case: Stated(*estimate(mixture, case)),
        truth,
        applies,
        (1e-9, 1e-9),
        regimes=regimes,
    )


def _not_by_lattices(name: Name) -> bool:
    """Selects up to two targets; a check of its own compares the error of more targets, which is six standard errors."""
    return name.num_targets <= 2


CHECKS = [
    _covers_its_error("entropy", lambda m, c: mdn.entropy(m), each_example(one_target.entropy), select.distinct, OF_MIXTURES),
    _covers_its_error(
        "crps_by_quadrature",
        lambda m, c: mdn.crps_by_quadrature(m, points(m, c)),
        each_point(one_target.crps),
        lambda n: select.each_tail(n) or n == Name("diagonal", "box"),
        EVERY,
    ),
    _covers_its_error("box_prob", box_prob, true_box_prob, _not_by_lattices, EVERY),
]
