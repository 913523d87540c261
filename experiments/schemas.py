"""The configurations of commands: the keys of a run, where its results go, and how the machine is used."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, model_validator

from mdnjax.config.schema import Config, Loop, Network, Optimizer, Run
from mdnjax.config.section import Count, Folder, Section
from mdnjax.config.tabular import Tabular

REPORT = "write report.html, a page about the run that a browser opens, with an explorer of its predictions"


class Runtime(Section, frozen=True):
    """The use of the machine; no result depends on it."""

    compile_cache: bool = Field(default=True, description="store compiled programs in the user's cache folder for later runs")


class Cluster(Section, frozen=True):
    """Workers of Dask, which share the work of a command; no result depends on them."""

    workers: Count | None = Field(default=None, description="processes of one core each to start on this machine")
    scheduler: str | None = Field(default=None, description="tcp://HOST:8786 of a Dask scheduler whose workers to use")

    @model_validator(mode="after")
    def _one_of_them(self) -> Cluster:
        if self.workers and self.scheduler is not None:
            raise ValueError("got both workers and scheduler, expected one of them")
        if self.scheduler is not None and not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d+", self.scheduler):
            raise ValueError(f"scheduler: got {self.scheduler!r}, expected an address such as tcp://HOST:8786")
        return self

    @property
    def is_used(self) -> bool:
        """Whether there are workers at all."""
        return self.workers is not None or self.scheduler is not None


class CommandRun(Run, frozen=True):
    """A run of a command."""

    output: Folder = Field(default=Path("results/run"), description="folder of the results")
    report: bool = Field(default=True, description=REPORT)
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


class Regression(Network, Loop, frozen=True):
    """A plain network, trained with the mean squared error in the units of the data."""


class Density(Config, CommandRun, frozen=True):
    """A problem with a known density."""

    output: Folder = Field(default=Path("results/density"), description="folder of the results")


class RobotArm(Config, CommandRun, frozen=True):
    """The angles of a robot arm, predicted from the position of its hand."""

    output: Folder = Field(default=Path("results/robot_arm"), description="folder of the results")


class InverseSine(Config, CommandRun, frozen=True):
    """The inverted sinusoid with its regression. Sweeps accept these keys for every problem."""

    output: Folder = Field(default=Path("results/inverse_sine"), description="folder of the results")
    regression: Regression = Field(
        default_factory=lambda: Regression(
            num_steps=3000,
            report_every=500,
            optimizer=Optimizer(name="rmsprop", learning_rate=0.01, schedule="constant_schedule", options={"decay": 0.99}),
        ),
        description="training of the plain network, by mean squared error",
    )


class TabularRun(Tabular, CommandRun, frozen=True):
    """A run on the rows of a file."""

    output: Folder = Field(default=Path("results/tabular"), description="folder of the results")
