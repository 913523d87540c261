"""The sections of a configuration: every key with its type, range, default and meaning, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator, field_validator

from mdnjax.config import optax_names

Activation = Literal["tanh", "relu", "gelu", "silu", "elu", "softplus", "sigmoid"]
Family = Literal["isotropic", "diagonal", "full", "low_rank", "laplace", "student_t"]
Count = Annotated[int, Field(ge=1, le=10**9)]
Units = Annotated[int, Field(ge=1, le=10**5)]
Positive = Annotated[float, Field(gt=0, le=1e30)]  # beyond 1e30 nothing is left of float32
Scale = Annotated[float, Field(ge=0, le=1e15)]  # whose square is still a float32


def _a_folder(path: Path) -> Path:
    if not path.name or "\0" in str(path):
        raise ValueError(f"got {str(path)!r}, expected a folder below this one, or another")
    return path


def _a_support(value: Any, validate: Any) -> Any:
    try:
        # a list is no tuple to strict pydantic, once it has come through here
        support = validate(tuple(value) if isinstance(value, list) else value)
    except ValidationError:
        support = None
    if support is None or (isinstance(support, tuple) and not support[0] < support[1]):
        raise ValueError(f"got {value!r}, expected real, positive or [low, high]")
    return support


Folder = Annotated[Path, AfterValidator(_a_folder)]


class Rides(NamedTuple):
    """Marks a field that is a plain number inside a compiled program, or before it: changing it compiles nothing anew.

    Where a value switches something off altogether (`off`), the program without it is a program of its own.
    """

    off: float | None = None


class Section(BaseModel, frozen=True):
    """A frozen, strict part of a configuration; hashable, so that it can key a compiled program."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(repr(self))

    def shaping(self) -> set[str]:
        """Names of fields that shape the program after all, with the other fields as they are."""
        return set()


class Data(Section, frozen=True):
    """Where the examples come from."""

    name: Literal["sinusoid"] = Field(default="sinusoid", description="source of the data")
    num_train: Annotated[Count, Field(ge=2)] = Field(default=900, description="points to train on")
    num_validation: Count = Field(default=100, description="held-out points that are watched during training")
    num_test: Count = Field(default=20_000, description="fresh points for the final scores")
    target_support: Annotated[Literal["real", "positive"] | tuple[float, float], WrapValidator(_a_support)] = Field(
        default="real",
        description="values that targets can take; positive ones are modelled by their log, those of [low, high] by their logit",
    )
    standardise: Annotated[bool, Rides()] = Field(
        default=True, description="train on inputs and targets of mean 0 and sd 1 (taken from train)"
    )


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
    num_components: Units = Field(default=10, description="components per input")
    scale_floor: Annotated[Scale, Rides()] = Field(
        default=0.02, description="smallest scale of a component (scale = floor + exp(raw)), in units of the trained targets"
    )


class Optimizer(Section, frozen=True):
    """An optimiser of optax and the schedule of its learning rate."""

    name: str = Field(default="adam", description="any optimiser of optax that takes a learning rate")
    learning_rate: Annotated[Positive, Rides()] = Field(default=0.02, description="learning rate (the peak of the schedule)")
    weight_decay: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0,
        description="a step takes learning rate x weight_decay x kernel off each kernel, whatever the optimiser",
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


class Loop(Section, frozen=True):
    """A training run, whatever it minimises."""

    num_steps: Count = Field(default=4000, description="steps of the optimiser, each on all training points")
    report_every: Count = Field(default=100, description="steps between two looks at the validation points")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="optimiser")


class Train(Loop, frozen=True):
    """Training of the mixture density network."""

    loss: Literal["nll", "nll_closed_form"] = Field(
        default="nll", description="what is minimised; nll_closed_form is nll with Bishop's gradient instead of autodiff"
    )
    x_noise: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.07, description="sd of the noise on the inputs, drawn afresh at every step, in units of the trained inputs"
    )
    y_noise: Annotated[Scale, Rides(off=0.0)] = Field(
        default=0.0, description="sd of the noise on the targets, drawn afresh at every step, in units of the trained targets"
    )


class Regression(Network, Loop, frozen=True):
    """The warm-up: a plain network trained by mean squared error, in the data's own units."""


class Runtime(Section, frozen=True):
    """How the machine is used; no result depends on it."""

    compile_cache: bool = Field(default=True, description="keep compiled programs in the user's cache folder for the next start")


class Config(Section, frozen=True):
    """One run: data, model, training, and where the results go."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0, description="seed of the data, the initialisation and all noise"
    )
    output: Folder = Field(default=Path("results/run"), description="folder of the results")
    data: Data = Field(default=Data(), description="data")
    model: Model = Field(default=Model(), description="mixture density network")
    train: Train = Field(default_factory=Train, description="training of the mixture density network")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")

    @field_validator("train")
    @classmethod
    def _loss_of_the_family(cls, train: Train, info: Any) -> Train:
        family = info.data["model"].family if "model" in info.data else "diagonal"  # else its own fault has been said
        if train.loss == "nll_closed_form" and family != "diagonal":
            raise ValueError(
                f"loss: got 'nll_closed_form' with model.family {family!r}, expected 'nll' (it is of 'diagonal' alone)"
            )
        return train
