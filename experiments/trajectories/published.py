"""What is known of the scenes of ETH and UCY: rows of the table that are not computed here."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row: nats per step and displacements (average, final), means over the five scenes; None where it has none."""

    name: str
    nll: float | None = None
    likeliest: tuple[float, float] | None = None
    best: tuple[float, float] | None = None


# NLL: a Gaussian for each step along the heading, fitted on the other scenes, as the mixture without inputs is.
ROWS = (
    Published("a Gaussian per step, without inputs", nll=1.244),
    Published("five Gaussians per step, without inputs", nll=-0.23),
    Published("Social-STGCNN (Mohamed et al. 2020), best of 20", best=(0.44, 0.75)),
    Published("constant velocity, drawn angles (Schoeller et al. 2020), best of 20", best=(0.40, 0.85)),
)
