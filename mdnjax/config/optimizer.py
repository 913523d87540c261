"""The section of an optimiser; it uses the names of optax."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from mdnjax.config import optax_names
from mdnjax.config.section import Positive, Scale, Section, Traced


class Optimizer(Section, frozen=True):
    """An optimiser of optax and the schedule of its learning rate."""

    name: str = Field(default="adam", description="any optimiser of optax that takes a learning rate")
    learning_rate: Annotated[Positive, Traced()] = Field(default=0.02, description="learning rate (the peak of the schedule)")
    weight_decay: Annotated[Scale, Traced(off=0.0)] = Field(
        default=0.0,
        description="each step subtracts learning rate x weight_decay x kernel from each kernel, for every optimiser but lbfgs, "
        "for which weight_decay / 2 x the sum of the squared kernels is added to the loss",
    )
    clip_norm: Annotated[Scale, Traced(off=0.0)] = Field(
        default=0.0, description="largest norm of the gradient; a longer gradient is scaled to this norm (0: no limit)"
    )
    base_width: Annotated[Scale, Traced(off=0.0)] = Field(
        default=0.0,
        description="a kernel with n > base_width inputs has learning rate x base_width / n (0: all kernels have the same rate)",
    )
    schedule: str = Field(
        default="cosine_decay_schedule", description="any schedule of optax that takes one learning rate; its length is num_steps"
    )
    options: dict[str, Any] = Field(default={}, description="further arguments of the optimiser, with optax's names")
    schedule_options: dict[str, Any] = Field(
        default={}, validate_default=True, description="further arguments of the schedule, with optax's names"
    )

    @field_validator("name")
    @classmethod
    def _known_optimizer(cls, name: str) -> str:
        optax_names.check_name("an optimiser", name, optax_names.optimizers())
        return name

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        optax_names.check_name("a schedule", name, optax_names.schedules())
        return name

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, Any], info: Any) -> dict[str, Any]:
        if "name" in info.data:  # otherwise the name is invalid and reported already
            optax_names.check_optimizer_options(info.data["name"], options)
        return options

    @field_validator("schedule_options")
    @classmethod
    def _known_schedule_options(cls, options: dict[str, Any], info: Any) -> dict[str, Any]:
        if "schedule" in info.data:
            optax_names.check_schedule_options(info.data["schedule"], options)
        return options

    def static_fields(self) -> set[str]:
        """Returns the learning rate, if the schedule cannot take a traced one."""
        return {"learning_rate"} if self.schedule in optax_names.UNTRACEABLE_SCHEDULES else set()
