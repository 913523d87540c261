"""The configuration of the projectile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, WrapValidator

from mdnjax.config.schema import Model, NoisyLoop, Runtime
from mdnjax.config.section import Count, Folder, Section, Seed


def _a_range(value: Any, validate: Any) -> Any:
    pair = validate(tuple(value) if isinstance(value, list) else value)
    if not pair[0] < pair[1]:
        raise ValueError(f"got {value!r}, expected [low, high]")
    return pair


Speed = Annotated[float, Field(ge=1, le=200)]
Wind = Annotated[float, Field(ge=-50, le=50)]
Question = tuple[Speed, Annotated[float, Field(gt=0, le=10_000)], Wind]


class Questions(Section, frozen=True):
    """What is asked in training and tests: uniform speeds and winds, distances as shares of the farthest that can be reached."""

    speed: Annotated[tuple[Speed, Speed], WrapValidator(_a_range)] = Field(default=(20.0, 40.0), description="m/s")
    wind: Annotated[tuple[Wind, Wind], WrapValidator(_a_range)] = Field(default=(-8.0, 8.0), description="m/s, from behind")
    share: Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=3)]], WrapValidator(_a_range)] = Field(
        default=(0.3, 1.1), description="distance over the farthest one; above 1 no angle hits"
    )
    num_train: Count = Field(default=5000, description="questions to train on: none of them has an answer with it")
    num_validation: Count = Field(default=500, description="questions that are watched")
    num_test: Count = Field(default=2000, description="questions for the final scores")


class Aim(NoisyLoop, frozen=True):
    """Training through the solver."""

    batch_size: Count = Field(default=128, description="questions of a step")
    num_noise: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="pairs of opposite draws from each component, for each question of a step"
    )
    tolerance: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.003, description="of a miss, as a share of the distance, at the end of training"
    )
    first_tolerance: Annotated[float, Field(gt=0, le=10)] = Field(
        default=0.3, description="the same at the first step: it shrinks by a factor a step over the first two thirds of training"
    )


class Projectile(Section, frozen=True):
    """Launch angles from speed, distance and wind."""

    seed: Seed = Field(default=0, description="seed of the questions, the initialisation and all noise")
    output: Folder = Field(default=Path("results/projectile"), description="folder of the results")
    questions: Questions = Field(default=Questions(), description="questions")
    model: Model = Field(
        default=Model(num_components=6, hidden_sizes=(64, 64, 64), activation="silu", scale_floor=1e-4),
        description="mixture density network over the angle, from 0 to 90 degrees",
    )
    train: Aim = Field(default_factory=Aim, description="training")
    asked: Annotated[tuple[Question, ...], Field(min_length=1, max_length=100)] = Field(
        default=((30.0, 45.0, 0.0), (30.0, 45.0, -6.0), (30.0, 45.0, 6.0), (38.0, 60.0, 3.0), (22.0, 45.0, 0.0)),
        description="questions [speed, distance, wind] that are answered in words, the first five in a picture",
    )
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
