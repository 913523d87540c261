"""The sections of a configuration: every key with its type, range, default and meaning, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from mdnjax.config import optax_names
from mdnjax.config.data import Data, Examples
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.numbers import below, changed, check_settings
from mdnjax.config.section import (
    Count,
    Folder,
    Noise,
    NumComponents,
    Positive,
    Rides,
    Scale,
    Section,
    Seed,
    Share,
    Units,
)

R = TypeVar("R", bound="Run")
Activation = Literal["tanh", "relu", "gelu", "silu", "elu", "softplus", "sigmoid"]
Family = Literal["isotropic", "diagonal", "full", "low_rank", "laplace", "student_t"]


class Network(Section, frozen=True):
    """The layers between input and output."""

    hidden_sizes: Annotated[tuple[Units, ...], Field(max_length=16)] = Field(
        default=(20,), description="units of each hidden layer"
    )
    activation: Activation = Field(default="tanh", description="nonlinearity of the hidden layers")


class Model(Network, frozen=True):
    """The mixture density network."""

    family: Family = Field(default="diagonal", description="components of the mixture")
    rank: Units = Field(default=1, description="columns of the factor that the targets share (family low_rank alone)")
    num_components: NumComponents = Field(
        default=10,
        description="components per input; auto takes the smallest of selection.num_components that does as well as any",
    )
    scale_floor: Annotated[Scale, Rides()] = Field(
        default=0.02, description="smallest scale of a component (scale = floor + exp(raw)), in units of the trained targets"
    )

    @property
    def settled_components(self) -> int:
        """The number of components, once it is one.

        Raises: ValueError if it is still auto.
        """
        return int(self.num_components)


class Optimizer(Section, frozen=True):
    """An optimiser of optax and the schedule of its learning rate."""

    name: str = Field(default="adam", description="any optimiser of optax that takes a learning rate")
    learning_rate: Annotated[Positive, Rides()] = Field(default=0.02, description="learning rate (the peak of the schedule)")
    weight_decay: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0,
        description="a step takes learning rate x weight_decay x kernel off each kernel, whatever the optimiser; "
        "for lbfgs weight_decay / 2 x the kernels' squares are added to the loss",
    )
    clip_norm: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0, description="a gradient longer than this is cut to it (0: none is)"
    )
    base_width: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0,
        description="a kernel of n inputs, n more than this, learns at learning rate x base_width / n (0: all learn at one rate)",
    )
    schedule: str = Field(default="cosine_decay_schedule", description="any schedule of optax; its length is num_steps")
    options: dict[str, Any] = Field(default={}, description="further arguments of the optimiser, by optax's names")
    schedule_options: dict[str, Any] = Field(
        default={}, validate_default=True, description="further arguments of the schedule, by optax's names"
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
        if "name" in info.data:  # else its own fault has been said
            optax_names.check_optimizer_options(info.data["name"], options)
        return options

    @field_validator("schedule_options")
    @classmethod
    def _known_schedule_options(cls, options: dict[str, Any], info: Any) -> dict[str, Any]:
        if "schedule" in info.data:
            optax_names.check_schedule_options(info.data["schedule"], options)
        return options

    def shaping(self) -> set[str]:
        """The rate, where the schedule cannot take a traced one."""
        return {"learning_rate"} if self.schedule in optax_names.NEEDS_A_NUMBER else set()


class Init(Section, frozen=True):
    """Where training starts."""

    name: Literal["glorot", "data"] = Field(
        default="glorot",
        description="glorot: random kernels; data: also biases of the head at the targets' own mixture, "
        "and first hidden units that bend where the inputs are",
    )
    slope: Annotated[Positive, Rides()] = Field(
        default=1.0, description="of the first hidden units, in units of the trained inputs (data alone)"
    )
    head_scale: Annotated[Scale, Rides()] = Field(default=0.1, description="factor of the head's random kernel (data alone)")


class Loop(Section, frozen=True):
    """A training run, whatever it minimises."""

    num_steps: Count = Field(default=4000, description="steps of the optimiser")
    report_every: Count = Field(default=100, description="steps between two looks at the validation points")
    keep: Literal["last", "best"] = Field(
        default="last",
        description="network that is scored and saved: the last, or that with the best validation score of all reports",
    )
    patience: Count | None = Field(
        default=None, description="reports without a better validation score after which training ends (null: never)"
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="optimiser")


class Train(Loop, frozen=True):
    """Training of the mixture density network."""

    loss: Literal["nll", "nll_closed_form", "natural_em"] = Field(
        default="nll",
        description="what is minimised; nll_closed_form is nll with Bishop's gradient instead of autodiff, "
        "natural_em divides it by the components' Fisher information",
    )
    init: Init = Field(default=Init(), description="start")
    batch_size: Count | None = Field(
        default=None, description="points of a step, all of which are passed before one comes again (null: all points)"
    )
    x_noise: Annotated[Noise, Rides(off=0.0)] = Field(
        default=0.07,
        description="sd of the noise on the inputs, drawn afresh at every step, in units of the trained inputs; "
        "rule_of_thumb is 1.06 N^(-1 / (4 + inputs + targets))",
    )
    y_noise: Annotated[Noise, Rides(off=0.0)] = Field(
        default=0.0, description="sd of the noise on the targets, drawn afresh at every step, in units of the trained targets"
    )
    noise_copies: Units = Field(
        default=1,
        description="copies of each point in a step, each with its own noise; lbfgs draws the noise of all steps once",
    )
    dropout: Annotated[Share, Rides(off=0.0)] = Field(
        default=0.0, description="share of hidden units left out, others at each step"
    )
    entropy_bonus: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0, description="times the entropy of the weights is taken off the loss: components stay in use"
    )


class Regression(Network, Loop, frozen=True):
    """The warm-up: a plain network trained by mean squared error, in the data's own units."""


class Runtime(Section, frozen=True):
    """How the machine is used; no result depends on it."""

    compile_cache: bool = Field(default=True, description="keep compiled programs in the user's cache folder for the next start")


def _check_steady(train: Train) -> None:
    """A line search compares values and gradients of one loss: raises ValueError where it would be another at every step."""
    for name, value, expected in (
        ("loss", "nll" if train.loss == "nll_closed_form" else train.loss, "nll"),
        ("batch_size", train.batch_size, None),
        ("dropout", train.dropout, 0.0),
    ):
        if value != expected:
            word = "null" if expected is None else repr(expected)
            raise ValueError(f"{name}: got {value!r} with optimizer.name 'lbfgs', expected {word}: its loss must stay the same")


class Run(Section, frozen=True):
    """One run: data, model, training, and where the results go."""

    seed: Seed = Field(default=0, description="seed of the data, the initialisation and all noise")
    output: Folder = Field(default=Path("results/run"), description="folder of the results")
    data: Examples = Field(default=Examples(), description="data")
    model: Model = Field(default=Model(), description="mixture density network")
    train: Train = Field(default_factory=Train, description="training of the mixture density network")
    ensemble: Ensemble = Field(default=Ensemble(), description="several trainings")
    selection: Selection = Field(default=Selection(), description="choice of the number of components")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")

    @field_validator("train")
    @classmethod
    def _what_goes_together(cls, train: Train, info: Any) -> Train:
        family = info.data["model"].family if "model" in info.data else "diagonal"  # else its own fault has been said
        if train.loss != "nll" and family != "diagonal":
            raise ValueError(f"loss: got {train.loss!r} with model.family {family!r}, expected 'nll' (it is of 'diagonal' alone)")
        if train.optimizer.name == "lbfgs":
            _check_steady(train)
        return train

    @field_validator("selection")
    @classmethod
    def _share_a_program(cls, selection: Selection, info: Any) -> Selection:
        if {"model", "train"} <= info.data.keys():
            check_settings({name: info.data[name] for name in ("model", "train")}, selection.settings)
        return selection

    @property
    def data_seed(self) -> int:
        """The seed of the data."""
        return self.seed if self.data.seed is None else self.data.seed

    @property
    def num_runs(self) -> int:
        """Trainings in all."""
        return self.selection.num_settings * self.ensemble.num_members * self.ensemble.num_restarts

    @property
    def networks_differ(self) -> bool:
        """Whether networks have parts of the mixture and scale floors of their own."""
        return bool(self.selection.settings) or self.data.rounding != 0

    def with_setting(self: R, number: int) -> R:
        """The same with the numbers of one of the settings to choose from; any number is that of no choice."""
        if not self.selection.settings:
            return self
        setting = self.selection.settings[number]
        sections = {name: changed(getattr(self, name), below(setting, name)) for name in ("model", "train")}
        return self.model_copy(update=sections)


class Config(Run, frozen=True):
    """A run on data that are drawn."""

    data: Data = Field(default=Data(), description="data")
