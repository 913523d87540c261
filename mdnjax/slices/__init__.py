"""Finds the slices of the inputs in which predictive distributions are wrong."""

from mdnjax.slices.report import RATE, Calibration, Slice, Slices
from mdnjax.slices.search import evaluate_slices, slices_of

__all__ = ["RATE", "Calibration", "Slice", "Slices", "evaluate_slices", "slices_of"]
