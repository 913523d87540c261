"""The configurations of the studies: the one of every run, and what is a study's own."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mdnjax.config.schema import Config, Optimizer, Regression
from mdnjax.config.section import Folder


class Density(Config, frozen=True):
    """A problem whose density is known."""

    output: Folder = Field(default=Path("results/density"), description="folder of the results")


class RobotArm(Config, frozen=True):
    """Two angles from a position."""

    output: Folder = Field(default=Path("results/robot_arm"), description="folder of the results")


class InverseSine(Config, frozen=True):
    """The inverted sinusoid, and the warm-up. Sweeps take its keys, for every problem."""

    output: Folder = Field(default=Path("results/inverse_sine"), description="folder of the results")
    regression: Regression = Field(
        default_factory=lambda: Regression(
            num_steps=3000,
            report_every=500,
            optimizer=Optimizer(name="rmsprop", learning_rate=0.01, schedule="constant_schedule", options={"decay": 0.99}),
        ),
        description="warm-up",
    )
