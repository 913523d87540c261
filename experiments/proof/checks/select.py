"""Selections of the cases that checks apply to."""

from __future__ import annotations

from experiments.proof.cases import Name


def every(name: Name) -> bool:
    """Selects all cases."""
    return True


def single(name: Name) -> bool:
    """Selects cases of one target."""
    return name.num_targets == 1


def several(name: Name) -> bool:
    """Selects cases of several targets."""
    return name.num_targets > 1


def two(name: Name) -> bool:
    """Selects cases of two targets."""
    return name.num_targets == 2


def two_on_the_line(name: Name) -> bool:
    """Selects cases of two targets without bounds."""
    return two(name) and name.support == "line"


def three_components(name: Name) -> bool:
    """Selects cases of one target and three components."""
    return single(name) and name.num_components == 3


def distinct(name: Name) -> bool:
    """Selects one target where families differ in code: on a bounded support, Gaussians of one target are all diagonal."""
    return single(name) and (name.support == "line" or name.family in ("diagonal", "laplace", "student_t"))


def each_tail(name: Name) -> bool:
    """Selects one case without bounds for each kind of tail."""
    return name in (Name("diagonal"), Name("laplace"), Name("student_t"))


def simplest(name: Name) -> bool:
    """Selects the case of three Gaussian components, one target and no bounds."""
    return name == Name("diagonal")
