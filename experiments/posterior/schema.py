"""Configuration schema of the posterior command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.schemas import CommandRun
from mdnjax.config.data import Examples
from mdnjax.config.section import Count, Folder, Share
from mdnjax.config.simulated import Simulated

TaskName = Literal[
    "two_moons",
    "gaussian_mixture",
    "gaussian_linear",
    "gaussian_linear_uniform",
    "slcp",
    "bernoulli_glm",
    "bernoulli_glm_raw",
    "sir",
    "lotka_volterra",
]


class Simulations(Examples, frozen=True):
    """Source and numbers of simulations and observations."""

    name: Literal["simulations"] = Field(default="simulations", description="source of the data")
    task: TaskName | None = Field(
        default=None,
        description="task of the public benchmark that is simulated (null: two_moons, unless data.path is given); sir and "
        "lotka_volterra need diffrax",
    )
    path: str | None = Field(
        default=None,
        description="NPZ file with arrays theta[N, D] and x[N, X], one row per simulation, or x[N, T, X] with T independent "
        "trials each; data.target_support bounds theta (null: simulations of data.task)",
    )
    trials: Count | None = Field(
        default=None,
        description="how many independent trials the columns of x are, trial by trial; the likelihood of one is learnt "
        "(null: one; those of data.task, or of the file's x[N, T, X])",
    )
    prior: Literal["uniform", "normal", "log_normal", "multivariate_normal"] = Field(
        default="uniform",
        description="law of the file's theta, which the likelihood needs: uniform between the bounds of data.target_support; "
        "independent normal, or log_normal, with the means and sds of the simulations; or multivariate_normal, with their means "
        "and covariances",
    )
    observations: str | None = Field(
        default=None,
        description="NPZ file with an array x[M, X] of observations (null: the array x_observed of data.path if it has one, "
        "otherwise test simulations)",
    )
    missing: Literal["refuse", "drop"] = Field(
        default="refuse", description="treatment of simulations with missing numbers: refuse is an error, drop leaves them out"
    )
    root: str | None = Field(
        default=None,
        description="folder of the public benchmark or of one of its tasks, with num_observation_1 and so on, each of which has "
        "observation.csv and reference_posterior_samples.csv.bz2, for the simulations of data.path or data.task "
        "(null and no other file: both are drawn, if the task has an exact likelihood)",
    )
    num_simulations: Annotated[tuple[Annotated[Count, Field(ge=20)], ...], Field(max_length=20)] = Field(
        default=(),
        description="numbers of simulations; networks are trained separately for each number "
        "(empty: all simulations of a file; 1000, 10000 and 100000 of a task)",
    )
    num_rounds: Annotated[Count, Field(le=20)] = Field(
        default=1,
        description="rounds in which the same number of simulations of data.task is also drawn: the first part from the prior, "
        "each further one, for each observation, where its posterior is (1: from the prior alone)",
    )
    validation_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.1, description="share of these simulations that is used for validation, not for training"
    )
    num_test: Annotated[Count, Field(ge=2)] = Field(
        default=2000, description="further simulations for the test scores; at most a tenth of those in a file"
    )
    num_observations: Count = Field(default=10, description="number of observations, where none are given")


class Posterior(Simulated, CommandRun, frozen=True):
    """p(theta|x) from simulations: the parameters theta are the target, the observation x is the input."""

    output: Folder = Field(default=Path("results/posterior"), description="folder of the results")
    data: Simulations = Field(default=Simulations(), description="simulations")
    num_draws: Annotated[Count, Field(ge=10, le=10**6)] = Field(
        default=10_000, description="draws of theta for each observation, and of the exact posterior where references are drawn"
    )
    num_ranks: Annotated[Count, Field(ge=9, le=10**5)] = Field(
        default=999,
        description="draws among which the true theta of each test simulation is ranked; at most 199, of at most 500 "
        "simulations, by method likelihood",
    )
