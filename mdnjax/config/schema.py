"""The sections of a configuration: every key with its type, range, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator

from mdnjax.config.data import Data, Examples
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.numbers import below, check_settings, with_numbers
from mdnjax.config.optimizer import Optimizer
from mdnjax.config.section import (
    Count,
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
Expert = Literal["boosted_trees", "extra_trees"]
Family = Literal["isotropic", "diagonal", "full", "low_rank", "laplace", "student_t"]


def _sorted_once(experts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(experts)))


class Network(Section, frozen=True):
    """The layers between inputs and outputs."""

    hidden_sizes: Annotated[tuple[Units, ...], Field(max_length=16)] = Field(
        default=(20,), description="number of units in each hidden layer"
    )
    activation: Activation = Field(default="tanh", description="nonlinearity of the hidden layers")


class Model(Network, frozen=True):
    """The mixture density network."""

    family: Family = Field(default="diagonal", description="family of the mixture components")
    rank: Units = Field(default=1, description="columns of the factor of the covariance (only for family low_rank)")
    num_components: NumComponents = Field(
        default=10,
        description="number of components; auto selects the smallest of selection.num_components whose validation NLL is within "
        "one standard error of the best",
    )
    scale_floor: Annotated[Scale, Traced()] = Field(
        default=0.02, description="smallest scale of a component (scale = floor + exp(raw)), in units of training"
    )
    line: bool = Field(
        default=False,
        description="add a linear function of the inputs to all locations, which is fitted by least squares before training and "
        "then fixed (only for train.init.name data)",
    )

    embedding: Literal["none", "piecewise_linear", "periodic"] = Field(
        default="none",
        description="inputs that are added to each input: piecewise_linear: its position in each of several bins; periodic: sine "
        "and cosine of several frequencies, which are trained",
    )
    embedding_size: Units = Field(default=16, description="number of bins or frequencies of each input (only with an embedding)")
    experts: Annotated[tuple[Expert, ...], AfterValidator(_sorted_once)] = Field(
        default=(),
        description="regression trees whose predictions are further inputs; networks learn from predictions for rows that "
        "the trees did not see: boosted_trees, extra_trees, or both",
    )

    @property
    def fixed_num_components(self) -> int:
        """The number of components.

        Raises: ValueError if it is auto.
        """
        return int(self.num_components)


class Init(Section, frozen=True):
    """The initialisation of the network."""

    name: Literal["glorot", "data"] = Field(
        default="glorot",
        description="glorot: random kernels; data: also sets the biases of the head to a mixture fitted to the targets, "
        "and puts the bends of the first hidden units where the inputs are",
    )
    slope: Annotated[Positive, Traced()] = Field(
        default=1.0, description="slope of the first hidden units, for inputs in units of training (only for data)"
    )
    head_scale: Annotated[Scale, Traced()] = Field(default=0.1, description="factor of the head's random kernel (only for data)")
    line: Annotated[Scale, Traced()] = Field(
        default=1.0, description="factor of the fitted slopes of model.line; 0 leaves the linear function out"
    )
    embedding: Annotated[Scale, Traced()] = Field(
        default=1.0, description="factor of the embedded inputs of model.embedding; 0 leaves them out (only for data)"
    )
    experts: Annotated[Scale, Traced()] = Field(
        default=1.0, description="factor of the predictions of model.experts; 0 leaves them out (only for data)"
    )


class Loop(Section, frozen=True):
    """The training loop, for any loss."""

    num_steps: Count = Field(default=4000, description="number of steps of the optimiser")
    report_every: Count = Field(default=100, description="steps between two reports, which compute the validation score")
    keep: Literal["last", "best"] = Field(
        default="last",
        description="parameters to use: those of the last step, or those with the best validation score of all reports",
    )
    patience: Count | None = Field(
        default=None, description="training stops after this number of reports without a better validation score (null: never)"
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="optimiser")


class NoisyLoop(Loop, frozen=True):
    """The training loop for a loss that changes from step to step."""

    @field_validator("optimizer")
    @classmethod
    def _refuse_lbfgs(cls, optimizer: Optimizer) -> Optimizer:
        if optimizer.name == "lbfgs":
            raise ValueError("name: got 'lbfgs', expected an optimiser of noisy losses, such as 'adam'")
        return optimizer


class Train(Loop, frozen=True):
    """Training of the mixture density network."""

    loss: Literal["nll", "nll_closed_form", "natural_em"] = Field(
        default="nll",
        description="loss to minimise; nll_closed_form is nll with Bishop's gradient instead of autodiff, "
        "natural_em divides the gradient by the components' Fisher information",
    )
    init: Init = Field(default=Init(), description="initialisation")
    batch_size: Count | None = Field(
        default=None, description="points per step; each point is used once before any is used again (null: all points)"
    )
    x_noise: Annotated[Noise, Traced(off=0.0)] = Field(
        default=0.07,
        description="sd of the noise on the inputs, drawn anew at every step, in units of training; "
        "rule_of_thumb is 1.06 N^(-1 / (4 + inputs + targets))",
    )
    y_noise: Annotated[Noise, Traced(off=0.0)] = Field(
        default=0.0, description="sd of the noise on the targets, drawn anew at every step, in units of training"
    )
    noise_copies: Units = Field(
        default=1,
        description="copies of each point in a step, each with different noise; lbfgs draws the noise once for all steps",
    )
    dropout: Annotated[Share, Traced(off=0.0)] = Field(
        default=0.0, description="share of the hidden units that are dropped, different ones at each step"
    )
    entropy_bonus: Annotated[Scale, Traced(off=0.0)] = Field(
        default=0.0, description="the loss is reduced by this factor x the entropy of the weights, so that components stay in use"
    )


def _check_lbfgs(train: Train) -> None:
    """Raises a ValueError if the loss changes from step to step, since a line search needs values and gradients of one loss."""
    for name, value, expected in (
        ("loss", "nll" if train.loss == "nll_closed_form" else train.loss, "nll"),
        ("batch_size", train.batch_size, None),
        ("dropout", train.dropout, 0.0),
    ):
        if value != expected:
            text = "null" if expected is None else repr(expected)
            reason = "the loss must be the same at every step"
            raise ValueError(f"{name}: got {value!r} with optimizer.name 'lbfgs', expected {text}: {reason}")


class Checked(Section, frozen=True):
    """A section with networks, whose own sections `model`, `train` and `selection` have to fit together."""

    @field_validator("train", check_fields=False)
    @classmethod
    def _check_combinations(cls, train: Train, info: Any) -> Train:
        family = info.data["model"].family if "model" in info.data else "diagonal"  # otherwise it is invalid and reported already
        if "model" in info.data and info.data["model"].line and train.init.name != "data":
            raise ValueError(f"init.name: got {train.init.name!r} with model.line true, expected 'data', which fits the line")
        if train.loss != "nll" and family != "diagonal":
            raise ValueError(
                f"loss: got {train.loss!r} with model.family {family!r}, expected 'nll' (the loss is defined only for 'diagonal')"
            )
        if train.optimizer.name == "lbfgs":
            _check_lbfgs(train)
        return train

    @field_validator("selection", check_fields=False)
    @classmethod
    def _check_settings(cls, selection: Selection, info: Any) -> Selection:
        if {"model", "train"} <= info.data.keys():
            check_settings({name: info.data[name] for name in ("model", "train")}, selection.settings)
        return selection


class Run(Checked, frozen=True):
    """One run: its data, model and training. Commands add keys of their own (`experiments.schemas`)."""

    seed: Seed = Field(default=0, description="seed of the data, the initialisation and all noise")
    data: Examples = Field(default=Examples(), description="data")
    model: Model = Field(default=Model(), description="mixture density network")
    train: Train = Field(default_factory=Train, description="training of the mixture density network")
    ensemble: Ensemble = Field(default=Ensemble(), description="several networks that are pooled")
    selection: Selection = Field(default=Selection(), description="what is selected with the validation rows")

    @property
    def data_seed(self) -> int:
        """The seed of the data."""
        return self.seed if self.data.seed is None else self.data.seed

    @property
    def num_runs(self) -> int:
        """The total number of trainings."""
        return self.selection.num_settings * self.ensemble.num_members * self.ensemble.num_restarts

    @property
    def networks_differ(self) -> bool:
        """Whether the networks may differ in their weights in the ensemble and in their scale floors."""
        return bool(self.selection.settings) or self.data.rounding != 0

    def with_setting(self: R, index: int) -> R:
        """Returns the run with the numbers of one of selection.settings; without settings it is unchanged."""
        if not self.selection.settings:
            return self
        setting = self.selection.settings[index]
        sections = {name: with_numbers(getattr(self, name), below(setting, name)) for name in ("model", "train")}
        return self.model_copy(update=sections)


class Config(Run, frozen=True):
    """A run on data that are drawn from a known density."""

    data: Data = Field(default=Data(), description="data")
