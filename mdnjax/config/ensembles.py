"""The sections that define how many networks are trained, and what is selected with the validation rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mdnjax.config.section import Section, Units


class Ensemble(Section, frozen=True):
    """Several networks that are trained on the same data."""

    num_members: Units = Field(default=1, description="number of networks that are pooled to one mixture")
    num_restarts: Units = Field(
        default=1,
        description="trainings of each network from different random starts; the one with the best validation NLL is used",
    )
    rotate: bool = Field(
        default=False,
        description="each network uses a different part of the train and validation rows for validation, all of equal size",
    )


class Selection(Section, frozen=True):
    """What is selected with the validation rows."""

    num_components: Annotated[tuple[Units, ...], Field(min_length=1, max_length=100)] = Field(
        default=(1, 2, 3, 5, 8, 12, 16), description="numbers of components to choose from if model.num_components is auto"
    )
    settings: Annotated[tuple[dict[str, float], ...], Field(max_length=1000)] = Field(
        default=(),
        description="settings of model and train to try, such as {train.x_noise: 0.1, model.scale_floor: 0.02}; "
        "the networks of all settings are pooled with the weights that maximise the likelihood of the validation rows",
    )

    racing: bool = Field(
        default=False,
        description="end the trainings of a setting whose validation NLL is so far behind that of another setting that it would "
        "not come near it by the last step, even if it fell three times as fast as it does",
    )
    least_squares: bool = Field(
        default=False,
        description="pool the networks of selection.settings also with least squares and with a constant, both with Student's "
        "predictive distribution, if there are fewer than 200 rows and model.family is diagonal",
    )
    adjust_scales: bool = Field(
        default=False,
        description="multiply the scales of the pooled networks of selection.settings by a factor of at most 1, chosen by the "
        "validation rows, since a mixture of distributions is wider than they are (not where least squares is in the pool)",
    )

    @property
    def num_settings(self) -> int:
        """The number of settings to try; 1 if there is nothing to choose from."""
        return len(self.settings) or 1
