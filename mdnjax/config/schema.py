"""The sections of a configuration: every key with its type, range, default and meaning, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from mdnjax.config.data import Data, Examples
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.numbers import below, changed, check_settings
from mdnjax.config.optimizer import Optimizer
from mdnjax.config.section import (
    Count,
    Folder,
    Noise,
    NumComponents,
    Positive,
    Scale,
    Section,
    Seed,
    Share,
    Traced,
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
    scale_floor: Annotated[Scale, Traced()] = Field(
        default=0.02, description="smallest scale of a component (scale = floor + exp(raw)), in units of the trained targets"
    )
    line: bool = Field(
        default=False,
        description="what the network gives is added, in all locations, to a line fitted by least squares before training "
        "(train.init.name data alone)",
    )

    @property
    def fixed_num_components(self) -> int:
        """The number of components, once it is one.

        Raises: ValueError if it is still auto.
        """
        return int(self.num_components)


class Init(Section, frozen=True):
    """Where training starts."""

    name: Literal["glorot", "data"] = Field(
        default="glorot",
        description="glorot: random kernels; data: also biases of the head at the targets' own mixture, "
        "and first hidden units that bend where the inputs are",
    )
    slope: Annotated[Positive, Traced()] = Field(
        default=1.0, description="of the first hidden units, in units of the trained inputs (data alone)"
    )
    head_scale: Annotated[Scale, Traced()] = Field(default=0.1, description="factor of the head's random kernel (data alone)")
    line: Annotated[Scale, Traced()] = Field(default=1.0, description="factor of the line of model.line; 0 leaves it out")


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


class NoisyLoop(Loop, frozen=True):
    """A training run whose loss is another at every step."""

    @field_validator("optimizer")
    @classmethod
    def _of_noisy_losses(cls, optimizer: Optimizer) -> Optimizer:
        if optimizer.name == "lbfgs":
            raise ValueError("name: got 'lbfgs', expected an optimiser of noisy losses, as 'adam' is")
        return optimizer


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
    x_noise: Annotated[Noise, Traced(off=0.0)] = Field(
        default=0.07,
        description="sd of the noise on the inputs, drawn afresh at every step, in units of the trained inputs; "
        "rule_of_thumb is 1.06 N^(-1 / (4 + inputs + targets))",
    )
    y_noise: Annotated[Noise, Traced(off=0.0)] = Field(
        default=0.0, description="sd of the noise on the targets, drawn afresh at every step, in units of the trained targets"
    )
    noise_copies: Units = Field(
        default=1,
        description="copies of each point in a step, each with its own noise; lbfgs draws the noise of all steps once",
    )
    dropout: Annotated[Share, Traced(off=0.0)] = Field(
        default=0.0, description="share of hidden units left out, others at each step"
    )
    entropy_bonus: Annotated[Scale, Traced(off=0.0)] = Field(
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
        if "model" in info.data and info.data["model"].line and train.init.name != "data":
            raise ValueError(f"init.name: got {train.init.name!r} with model.line true, expected 'data', which fits the line")
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
