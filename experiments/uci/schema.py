"""The keys of the command for many tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.schemas import TabularRun
from mdnjax.config.data import LATTICE, NESTED, ROUNDING, Examples
from mdnjax.config.section import Count, Folder, Names, Rounding


class Tables(Examples, frozen=True):
    """Many tables, each of which is split several times."""

    name: Literal["tables"] = Field(default="tables", description="source of the data")
    rounding: Rounding = Field(default="auto", description=ROUNDING)
    lattice: bool = Field(default=True, description=LATTICE)
    root: str | None = Field(
        default=None,
        description="folder in the layout of UCI_Datasets (null: the tables that scikit-learn and statsmodels contain)",
    )
    sets: Names = Field(default=(), description="names of the tables to use (empty: all tables)")
    num_splits: Annotated[Count, Field(le=1000)] = Field(default=20, description="number of splits of each table")
    nested: bool = Field(default=False, description=NESTED)
    single_gaussian: bool = Field(
        default=False, description="also train the same configuration with one component, for comparison"
    )


class Benchmark(TabularRun, frozen=True):
    """A run with the same settings on each of many tables."""

    output: Folder = Field(default=Path("results/uci"), description="folder of the results")
    data: Tables = Field(default=Tables(), description="tables")  # pyright: ignore[reportIncompatibleVariableOverride]
