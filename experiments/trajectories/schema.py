"""The configuration of trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mdnjax.config.data import Examples
from mdnjax.config.schema import Model, Run
from mdnjax.config.section import Count, Folder, Names


class Paths(Examples, frozen=True):
    """Where paths come from."""

    name: Literal["paths"] = Field(default="paths", description="source of the data")
    root: str | None = Field(
        default=None,
        description="folder of the ETH and UCY files (frame, pedestrian, x, y in metres) with SPLITS.txt "
        "(null: crossings that are made up)",
    )
    scenes: Names = Field(default=(), description="scenes to leave out and test on, by name (empty: each in turn)")
    num_groups: Annotated[Count, Field(ge=5)] = Field(default=150, description="groups of walkers of each made-up crossing")
    standardise: bool = Field(
        default=False, description="train on inputs and targets of mean 0 and sd 1, and not on metres: the scale floor is in them"
    )
    mirror: bool = Field(default=True, description="train on every path and its mirror image")


class Trajectories(Run, frozen=True):
    """Paths: 8 observed steps to a mixture over the next 12, one scene left out."""

    output: Folder = Field(default=Path("results/trajectories"), description="folder of the results")
    data: Paths = Field(default=Paths(), description="paths")
    model: Model = Field(
        default=Model(family="low_rank", rank=3, num_components=8, hidden_sizes=(64, 64, 64), scale_floor=0.01),
        description="mixture density network",
    )
    num_samples: Annotated[Count, Field(le=1000)] = Field(
        default=20, description="paths that are drawn, the best of which counts"
    )
