"""Configuration schema of the trajectories command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.schemas import CommandRun
from mdnjax.config.data import Examples
from mdnjax.config.schema import Model
from mdnjax.config.section import Count, Folder, Names


class Paths(Examples, frozen=True):
    """Source of the paths."""

    name: Literal["paths"] = Field(default="paths", description="source of the data")
    root: str | None = Field(
        default=None,
        description="folder of the ETH and UCY files (frame, pedestrian, x, y in metres) with SPLITS.txt "
        "(null: crossings are simulated)",
    )
    scenes: Names = Field(default=(), description="names of the scenes to test on; each is left out of its training (empty: all)")
    num_groups: Annotated[Count, Field(ge=5)] = Field(default=150, description="groups of pedestrians in each simulated crossing")
    standardise: bool = Field(
        default=False, description="standardise inputs and targets to mean 0 and sd 1; if false, the scale floor is in metres"
    )
    mirror: bool = Field(default=True, description="train on every path and its mirror image")


class Trajectories(CommandRun, frozen=True):
    """Paths: a mixture over the next 12 steps given 8 observed ones, tested on a scene left out of training."""

    output: Folder = Field(default=Path("results/trajectories"), description="folder of the results")
    data: Paths = Field(default=Paths(), description="paths")
    model: Model = Field(
        default=Model(family="low_rank", rank=3, num_components=8, hidden_sizes=(64, 64, 64), scale_floor=0.01),
        description="mixture density network",
    )
    num_samples: Annotated[Count, Field(le=1000)] = Field(
        default=20, description="sampled paths of each window; the nearest to the true path is scored"
    )
