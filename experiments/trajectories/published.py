"""Published results on the scenes of ETH and UCY: rows of the table that are not computed here."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Means over the five scenes: nats per step, and displacements (average, final) in metres; None where not published."""

    name: str
    nll: float | None = None
    likeliest: tuple[float, float] | None = None
    best: tuple[float, float] | None = None


# Both rows with an NLL fit each step on the other scenes, relative to the heading, as our mixture without inputs does.
ROWS = (
    Published("a Gaussian per step, without inputs", nll=1.244),
    Published("five Gaussians per step, without inputs", nll=-0.23),
    Published("Social-STGCNN (Mohamed et al. 2020), best of 20", best=(0.44, 0.75)),
    Published("constant velocity, drawn angles (Schoeller et al. 2020), best of 20", best=(0.40, 0.85)),
)
