"""Configuration schema of the projectile command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, WrapValidator

from experiments.schemas import REPORT, Runtime
from mdnjax.config.schema import Model, NoisyLoop
from mdnjax.config.section import Count, Folder, Section, Seed


def _increasing(value: Any, validate: Any) -> Any:
    pair = validate(tuple(value) if isinstance(value, list) else value)
    if not pair[0] < pair[1]:
        raise ValueError(f"got {value!r}, expected [low, high]")
    return pair


Speed = Annotated[float, Field(ge=1, le=200)]
Wind = Annotated[float, Field(ge=-50, le=50)]
Distance = Annotated[float, Field(gt=0, le=10_000)]


class InputRanges(Section, frozen=True):
    """Ranges and numbers of the inputs (speed, distance, wind) of training and tests, which are drawn uniformly."""

    speed: Annotated[tuple[Speed, Speed], WrapValidator(_increasing)] = Field(
        default=(20.0, 40.0), description="range of the launch speed, m/s"
    )
    wind: Annotated[tuple[Wind, Wind], WrapValidator(_increasing)] = Field(
        default=(-8.0, 8.0), description="range of the wind, m/s; positive from behind"
    )
    share: Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=3)]], WrapValidator(_increasing)] = Field(
        default=(0.3, 1.1), description="range of the distance as a share of the farthest landing; above 1 no angle hits"
    )
    num_train: Count = Field(default=5000, description="inputs to train on; their angles are not given")
    num_validation: Count = Field(default=500, description="inputs for validation")
    num_test: Count = Field(default=2000, description="inputs for the test scores")


class SolverTrain(NoisyLoop, frozen=True):
    """Training through the solver."""

    batch_size: Count = Field(default=128, description="inputs of a step")
    num_noise: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="pairs of opposite draws from each component, for each input of a step"
    )
    tolerance: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.003, description="scale of misses in the loss at the end of training, as a share of the distance"
    )
    first_tolerance: Annotated[float, Field(gt=0, le=10)] = Field(
        default=0.3,
        description="tolerance at the first step; it decreases by a constant factor per step in the first two thirds of training",
    )


class Projectile(Section, frozen=True):
    """Launch angles from speed, distance and wind."""

    renamed: ClassVar[Mapping[str, str]] = {"questions": "data", "asked": "shots"}
    seed: Seed = Field(default=0, description="seed of the inputs, the initialisation and all noise")
    output: Folder = Field(default=Path("results/projectile"), description="folder of the results")
    data: InputRanges = Field(default=InputRanges(), description="inputs (speed, distance, wind) of training and tests")
    model: Model = Field(
        default=Model(num_components=6, hidden_sizes=(64, 64, 64), activation="silu", scale_floor=1e-4),
        description="mixture density network over the launch angle, from 0 to 90 degrees",
    )
    train: SolverTrain = Field(default_factory=SolverTrain, description="training")
    shots: Annotated[tuple[tuple[Speed, Distance, Wind], ...], Field(min_length=1, max_length=100)] = Field(
        default=((30.0, 45.0, 0.0), (30.0, 45.0, -6.0), (30.0, 45.0, 6.0), (38.0, 60.0, 3.0), (22.0, 45.0, 0.0)),
        description="inputs [speed, distance, wind] whose launch angles are printed; the first five are plotted",
    )
    report: bool = Field(default=True, description=REPORT)
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
