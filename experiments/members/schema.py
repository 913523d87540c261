"""The keys of a sweep file, besides those of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from experiments.schemas import REPORT, Cluster, Runtime
from mdnjax.config.section import Count, Folder, Section

Number = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Number, ...], Field(min_length=2, max_length=2)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]
Columns = dict[str, Values]
Points = tuple[dict[str, Any], ...]


class Distribution(Section, frozen=True):
    """The distribution from which a value is drawn: exactly one of the three."""

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
    """Settings proposed by Optuna from the validation NLL of earlier ones."""

    method: Literal["tpe", "random"] = Field(default="tpe", description="Optuna's sampler")
    num_trials: Count = Field(default=1, description="settings to try")
    batch_size: Count = Field(default=8, description="settings proposed and trained at a time")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="seed of the sampler")
    space: Space = Field(default={}, validate_default=True, description="key: {uniform | log_uniform | choice: [...]}")


class Sweep(Section, frozen=True):
    """Settings, seeds, and the workers that train them; all other keys are those of a run and hold for every member."""

    model_config = ConfigDict(populate_by_name=True)

    base: Path | None = Field(default=None, description="configuration of a run, beside the sweep file or in the current folder")
    output: Folder = Field(default=Path("results/sweep"), description="folder of results (default: results/NAME-OF-THE-FILE)")
    num_seeds: Count = Field(default=1, description="members of each setting: seed, seed + 1, ...")
    grid: Columns = Field(default={}, description="key: [values]; every combination of them")
    zip: Columns = Field(default={}, description="key: [values]; first with first, second with second, ...")
    list: Points = Field(default=(), description="settings one by one: [{key: value, ...}, ...]")
    random: Random | None = Field(default=None, description="settings drawn at random")
    search: Search | None = Field(default=None, description="settings proposed by Optuna, instead of the four blocks above")
    chunk_members: Count | None = Field(default=None, description="members trained between two saves (null: by memory and time)")
    cluster: Cluster = Field(default=Cluster(), description="workers of Dask (pip install -e '.[cluster]')")
    report: bool = Field(default=True, description=REPORT)
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")
    digest: str | None = Field(default=None, description="written with the results: sha256 of all configurations")
