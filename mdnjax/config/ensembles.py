"""The sections that say how many networks are trained, and what is left to the validation points."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mdnjax.config.section import Section, Units


class Ensemble(Section, frozen=True):
    """Several trainings on the same data."""

    num_members: Units = Field(default=1, description="networks that are pooled to one mixture")
    num_restarts: Units = Field(default=1, description="trainings of each of them; that with the best validation NLL is used")
    rotate: bool = Field(
        default=False,
        description="each network holds out another part of the train and validation rows, as large as the validation part",
    )


class Selection(Section, frozen=True):
    """What is left to the validation points."""

    num_components: Annotated[tuple[Units, ...], Field(min_length=1, max_length=100)] = Field(
        default=(1, 2, 3, 5, 8, 12, 16), description="numbers to choose from where model.num_components is auto"
    )
    settings: Annotated[tuple[dict[str, float], ...], Field(max_length=1000)] = Field(
        default=(),
        description="numbers of model and train to choose from, as {train.x_noise: 0.1, model.scale_floor: 0.02}; "
        "their networks are pooled, in parts that give the validation rows the highest likelihood",
    )

    @property
    def num_settings(self) -> int:
        """Settings that are tried; one if there is no choice."""
        return len(self.settings) or 1
