"""The configuration of posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mdnjax.config.data import Examples
from mdnjax.config.schema import Run
from mdnjax.config.section import Count, Folder, Share


class Simulations(Examples, frozen=True):
    """Where simulations and observations come from."""

    name: Literal["simulations"] = Field(default="simulations", description="source of the data")
    path: str | None = Field(
        default=None,
        description="NPZ file with arrays theta[N, D] and x[N, X], a row a simulation; data.target_support is the box of theta "
        "(null: two moons, which are simulated here)",
    )
    observations: str | None = Field(
        default=None,
        description="NPZ file with an array x[M, X] of what was observed (null: the array x_observed of data.path, "
        "or else simulations that were held out)",
    )
    root: str | None = Field(
        default=None,
        description="folder with num_observation_1 and so on, each with observation.csv and reference_posterior_samples.csv.bz2 "
        "(null: two moons draws both itself)",
    )
    num_simulations: Annotated[tuple[Annotated[Count, Field(ge=20)], ...], Field(max_length=20)] = Field(
        default=(),
        description="simulations to learn from, each number by itself "
        "(empty: all of a file; 1000, 10000 and 100000 of two moons)",
    )
    validation_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.1, description="share of these simulations that is held out of training, and chosen by"
    )
    num_test: Annotated[Count, Field(ge=2)] = Field(
        default=2000, description="further simulations for the scores; of a file at most a tenth"
    )
    num_observations: Count = Field(default=10, description="observations, where none are given")

    @property
    def of_file(self) -> bool:
        """Whether simulations are read, and not made."""
        return self.path is not None


class Posterior(Run, frozen=True):
    """p(theta|x) from simulations: theta is the target, what was observed the input."""

    output: Folder = Field(default=Path("results/posterior"), description="folder of the results")
    data: Simulations = Field(default=Simulations(), description="simulations")
    num_draws: Annotated[Count, Field(ge=10, le=10**6)] = Field(
        default=10_000, description="draws of theta for each observation, and of each reference that is drawn"
    )
    num_ranks: Annotated[Count, Field(ge=9, le=10**5)] = Field(
        default=999, description="draws among which the true theta of each test simulation is ranked"
    )
