"""The keys of the command for many tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.schemas import TabularRun
from mdnjax.config.data import Table
from mdnjax.config.section import Count, Folder, Names


class Tables(Table, frozen=True):
    """Tables that are split several times each: one file, or many tables."""

    name: Literal["tables"] = Field(default="tables", description="source of the data")  # pyright: ignore
    path: str = Field(default="", description="file with one table, as for experiments.tabular (empty: many tables, see root)")
    root: str | None = Field(
        default=None,
        description="folder in the layout of UCI_Datasets (null: the tables that scikit-learn and statsmodels contain)",
    )
    sets: Names = Field(default=(), description="names of the tables to use (empty: all tables)")
    num_splits: Annotated[Count, Field(le=1000)] = Field(
        default=20, description="number of splits of each table; those of a file are made with the seeds 0, 1, ..."
    )
    single_gaussian: bool = Field(
        default=False, description="also train the same configuration with one component, for comparison"
    )


class Benchmark(TabularRun, frozen=True):
    """A run with the same settings on each of many tables."""

    output: Folder = Field(default=Path("results/uci"), description="folder of the results")
    data: Tables = Field(default=Tables(), description="tables")
    networks: bool = Field(default=True, description="train the networks (false: only the peers)")
    peers: Names = Field(
        default=(),
        description="methods to fit on the same splits: catboost, lightgbm, quantile_forest, ngboost, treeffuser, xgboostlss",
    )
