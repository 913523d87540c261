"""What may stand in a sweep file besides the keys of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from mdnjax.config.schema import Runtime
from mdnjax.config.section import Count, Folder, Section

Number = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Number, ...], Field(min_length=2, max_length=2)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]
Columns = dict[str, Values]
Points = tuple[dict[str, Any], ...]


class Distribution(Section, frozen=True):
    """Where a value is drawn from: one of the three."""

    uniform: Bounds | None = Field(default=None, description="[low, high]")
    log_uniform: Bounds | None = Field(default=None, description="[low, high], low > 0; uniform in the logarithm")
    choice: Values | None = Field(default=None, description="list of values")

    @model_validator(mode="after")
    def _one_of_them(self) -> Distribution:
        given = [name for name in ("uniform", "log_uniform", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"got {' and '.join(given) or 'none'}, expected one of uniform, log_uniform, choice")
        if bounds := self.uniform or self.log_uniform:
            if bounds[0] >= bounds[1]:
                raise ValueError(f"{given[0]}: got [{bounds[0]}, {bounds[1]}], expected [low, high]")
            if self.log_uniform and bounds[0] <= 0:
                raise ValueError(f"log_uniform: got a low of {bounds[0]}, expected a number > 0")
        return self


Space = Annotated[dict[str, Distribution], Field(min_length=1)]


class Random(Section, frozen=True):
    """Settings drawn at random."""

    num_settings: Count = Field(default=1, description="settings to draw")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="seed of the draws")
    space: Space = Field(default={}, validate_default=True, description="key: {uniform | log_uniform | choice: [...]}")


class Search(Section, frozen=True):
    """Settings proposed by Optuna from the validation NLL of those before."""

    method: Literal["tpe", "random"] = Field(default="tpe", description="sampler of Optuna")
    num_trials: Count = Field(default=1, description="settings to try")
    batch_size: Count = Field(default=8, description="settings that are proposed, and trained, at a time")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="seed of the sampler")
    space: Space = Field(default={}, validate_default=True, description="key: {uniform | log_uniform | choice: [...]}")


class Worker(Section, frozen=True):
    """One of several processes that share a sweep and its output folder."""

    index: Annotated[int, Field(ge=0)] = Field(default=0, description="which of them this is, from 0")
    num_workers: Count = Field(default=1, description="how many there are")

    @model_validator(mode="after")
    def _one_of_them(self) -> Worker:
        if self.index >= self.num_workers:
            raise ValueError(f"got index {self.index} of {self.num_workers} workers, expected 0 to {self.num_workers - 1}")
        return self


class Distributed(Section, frozen=True):
    """Processes of jax.distributed as workers."""

    start: bool = Field(default=False, description="start jax.distributed; what is not given below is found as jax finds it")
    coordinator: str | None = Field(default=None, description="host:port of process 0; starts jax.distributed")
    num_processes: Count | None = Field(default=None, description="how many processes there are")
    process_id: Annotated[int, Field(ge=0)] | None = Field(default=None, description="which of them this is, from 0")


class Sweep(Section, frozen=True):
    """Settings, seeds, and how they are spread over machines; all other keys are those of a run, for every member."""

    model_config = ConfigDict(populate_by_name=True)

    base: Path | None = Field(default=None, description="configuration of a run, relative to the sweep's file")
    output: Folder = Field(default=Path("results/sweep"), description="folder of the results (default: results/NAME-OF-THE-FILE)")
    num_seeds: Count = Field(default=1, description="members of each setting: seed, seed + 1, ...")
    grid: Columns = Field(default={}, description="key: [values]; every combination")
    zip: Columns = Field(default={}, description="key: [values]; first with first, second with second, ...")
    list: Points = Field(default=(), description="settings one by one: [{key: value, ...}, ...]")
    random: Random | None = Field(default=None, description="settings drawn at random")
    search: Search | None = Field(default=None, description="settings proposed by Optuna, instead of the four above")
    chunk_members: Count | None = Field(default=None, description="members trained between two saves (null: by memory and time)")
    worker: Worker = Field(default=Worker(), description="one of several processes")
    distributed: Distributed = Field(default=Distributed(), description="jax.distributed")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
    digest: str | None = Field(default=None, description="written with the results: sha256 of all members' configurations")
