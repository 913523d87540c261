"""The configuration of pen strokes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mdnjax.config.schema import NoisyLoop, Runtime
from mdnjax.config.section import Count, Folder, Positive, Scale, Section, Seed, Units


class Drawings(Section, frozen=True):
    """Where drawings come from."""

    path: str | None = Field(
        default=None,
        description="NPZ with {train,valid,test}_points [points, 3] (dx, dy, pen lifted) and {train,valid,test}_lengths "
        "[drawings] (null: letters of an alphabet of the project's own)",
    )
    num_train: Count = Field(default=2000, description="letters to train on (path null alone)")
    num_validation: Count = Field(default=200, description="letters that are watched, and chosen by (path null alone)")
    num_test: Count = Field(default=200, description="letters for the final scores (path null alone)")


class PenModel(Section, frozen=True):
    """The recurrent mixture density network: full Gaussians over the offset, lift and end of the pen."""

    cell: Literal["lstm", "gru"] = Field(default="lstm", description="cell of the recurrent layers")
    hidden_sizes: Annotated[tuple[Units, ...], Field(min_length=1, max_length=8)] = Field(
        default=(256,), description="units of each recurrent layer"
    )
    num_components: Units = Field(default=20, description="bivariate Gaussians")
    scale_floor: Scale = Field(default=0.01, description="smallest scale of a component, in units of the offsets' sd")


class PenTrain(NoisyLoop, frozen=True):
    """Training on rows of drawings."""

    batch_size: Count = Field(default=64, description="rows of a step; a row holds drawings up to the longest one's length")


class Sampling(Section, frozen=True):
    """What is drawn from the network."""

    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=6)] = Field(
        default=(0.2, 0.5, 1.0), description="of weights, scales (variances) and pen; 1 draws from the density that was learnt"
    )
    num_drawings: Annotated[Count, Field(le=64)] = Field(default=8, description="drawings of each temperature")
    num_begun: Annotated[Count, Field(le=8)] = Field(default=4, description="test drawings that are begun, and drawn on")
    begin: Count = Field(default=30, description="points of a test drawing that are given to be drawn on from")


class PenStrokes(Section, frozen=True):
    """Pen strokes: a recurrent mixture density network that predicts each point of a drawing from those before it."""

    seed: Seed = Field(default=0, description="seed of letters, initialisation, noise and samples")
    output: Folder = Field(default=Path("results/pen_strokes"), description="folder of the results")
    data: Drawings = Field(default=Drawings(), description="drawings")
    model: PenModel = Field(default=PenModel(), description="network")
    train: PenTrain = Field(default_factory=PenTrain, description="training")
    sampling: Sampling = Field(default=Sampling(), description="samples")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
