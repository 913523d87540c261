"""Configuration schema of the pen strokes command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.schemas import REPORT, Runtime
from mdnjax.config.schema import NoisyLoop
from mdnjax.config.section import Count, Folder, Positive, Scale, Section, Seed, Units


class Drawings(Section, frozen=True):
    """Source and numbers of drawings."""

    path: str | None = Field(
        default=None,
        description="NPZ with {train,valid,test}_points [points, 3] (dx, dy, pen lifted) and {train,valid,test}_lengths "
        "[drawings] (null: letters of a generated alphabet)",
    )
    num_train: Count = Field(default=2000, description="letters to train on (only if path is null)")
    num_validation: Count = Field(default=200, description="letters for validation (only if path is null)")
    num_test: Count = Field(default=200, description="letters for the test scores (only if path is null)")


class PenModel(Section, frozen=True):
    """Recurrent mixture density network: full-covariance Gaussians over the offset, probabilities of lift and end."""

    cell: Literal["lstm", "gru"] = Field(default="lstm", description="type of the recurrent layers")
    hidden_sizes: Annotated[tuple[Units, ...], Field(min_length=1, max_length=8)] = Field(
        default=(256,), description="units of each recurrent layer"
    )
    num_components: Units = Field(default=20, description="number of bivariate Gaussians")
    scale_floor: Scale = Field(default=0.01, description="smallest scale of a component, in units of the offsets' sd")


class PenTrain(NoisyLoop, frozen=True):
    """Training on rows of drawings."""

    batch_size: Count = Field(
        default=64, description="rows of a step; a row holds one or several drawings and is as long as the longest drawing"
    )


class Sampling(Section, frozen=True):
    """Drawings that are sampled from the network."""

    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=6)] = Field(
        default=(0.2, 0.5, 1.0),
        description="temperatures of sampling, applied to weights, variances, lift and end; 1 samples the learnt distribution",
    )
    num_drawings: Annotated[Count, Field(le=64)] = Field(default=8, description="drawings for each temperature")
    num_begun: Annotated[Count, Field(le=8)] = Field(default=4, description="test drawings whose beginning is continued")
    begin: Count = Field(default=30, description="points of a test drawing that are given as its beginning")


class PenStrokes(Section, frozen=True):
    """Pen strokes: a recurrent mixture density network that predicts each point of a drawing from those before it."""

    seed: Seed = Field(default=0, description="seed of letters, initialisation, noise and samples")
    output: Folder = Field(default=Path("results/pen_strokes"), description="folder of the results")
    data: Drawings = Field(default=Drawings(), description="drawings")
    model: PenModel = Field(default=PenModel(), description="network")
    train: PenTrain = Field(default_factory=PenTrain, description="training")
    sampling: Sampling = Field(default=Sampling(), description="samples")
    report: bool = Field(default=True, description=REPORT)
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
