"""Composite Gauss-Legendre quadrature in float64, for the exact properties of data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NUM_NODES = 10  # in each panel


def panels(edges: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights, with ten nodes between neighbouring edges; exact for polynomials of degree 19 between them."""
    node, weight = np.polynomial.legendre.leggauss(NUM_NODES)
    low, high = np.asarray(edges, float)[:-1, None], np.asarray(edges, float)[1:, None]
    half = (high - low) / 2
    return (low + half * (1 + node)).ravel(), (half * weight).ravel()


def equal_panels(low: float | np.floating, high: float | np.floating, num_panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of panels of equal length."""
    return panels(np.linspace(low, high, num_panels + 1))


def graded_panels(low: float | np.floating, high: float | np.floating, num_panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of panels that shrink towards both ends, for integrands like a square root there."""
    angle = np.linspace(0, np.pi, num_panels + 1)
    return panels(low + (high - low) * (1 - np.cos(angle)) / 2)
