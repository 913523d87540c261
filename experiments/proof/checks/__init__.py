"""The table of checks, with one file for each kind of function."""

from experiments.proof.checks import defects, density, gradients, laws, numbers, regions, samples, scores, several
from experiments.proof.checks.check import Check, largest_error

SUBJECTS = (density, numbers, regions, several, samples, scores, laws, gradients, defects)
CHECKS: list[Check] = [check for subject in SUBJECTS for check in subject.CHECKS]

__all__ = ["CHECKS", "Check", "largest_error"]
