"""The table of checks, a file for each kind of question."""

from experiments.proof.checks import defects, density, gradients, laws, numbers, regions, samples, scores, several
from experiments.proof.checks.check import Check, run

SUBJECTS = (density, numbers, regions, several, samples, scores, laws, gradients, defects)
CHECKS: list[Check] = [check for subject in SUBJECTS for check in subject.CHECKS]

__all__ = ["CHECKS", "Check", "run"]
