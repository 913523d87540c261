"""The table of checks, with one file for each kind of function."""

from experiments.proof.checks import (
    counts,
    defects,
    density,
    estimates,
    gradients,
    laws,
    numbers,
    regions,
    samples,
    scores,
    several,
    slopes,
)
from experiments.proof.checks.check import Check, largest_error

SUBJECTS = (density, numbers, regions, counts, several, samples, scores, estimates, laws, gradients, slopes, defects)
CHECKS: list[Check] = [check for subject in SUBJECTS for check in subject.CHECKS]

__all__ = ["CHECKS", "Check", "largest_error"]
