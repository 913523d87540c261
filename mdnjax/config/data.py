"""The sections that say where examples come from: drawn from a known density, or read from a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mdnjax.config.section import Count, Names, Rounding, Section, Seed, Share, TargetSupport, Traced

Source = Literal["sinusoid", "bishop_curve", "robot_arm", "econ_density", "arma_jump", "skew_normal", "two_moons"]


ROUNDING = "step that targets are rounded to: no scale is below step / sqrt(12), the sd that rounding takes away; "
ROUNDING += "auto is their smallest step, where each value stands ten times in the mean"
NESTED = (
    "leave the test rows out, and test on as many of the others: settings can be chosen by that without a look at the test rows"
)


class Examples(Section, frozen=True):
    """What is asked of all data."""

    name: str = Field(default="", description="source of the data")
    seed: Seed | None = Field(default=None, description="seed of the data alone (null: that of the run)")
    target_support: TargetSupport = Field(
        default="real",
        description="values that targets can take: real, positive (modelled by their log), [low, high] (by their logit), "
        "or a pair for each target",
    )
    standardise: Annotated[bool, Traced()] = Field(
        default=True, description="train on inputs and targets of mean 0 and sd 1 (taken from train)"
    )
    rounding: Rounding = Field(default=0.0, description=ROUNDING)


class Data(Examples, frozen=True):
    """Examples that are drawn, as many as one likes."""

    name: Source = Field(default="sinusoid", description="source of the data")
    num_train: Annotated[Count, Field(ge=2)] = Field(default=900, description="points to train on")
    num_validation: Count = Field(default=100, description="held-out points that are watched, and chosen by")
    num_test: Count = Field(default=20_000, description="fresh points for the final scores")


class Table(Examples, frozen=True):
    """Examples that are rows of a file."""

    name: Literal["table"] = Field(default="table", description="source of the data")
    rounding: Rounding = Field(default="auto", description=ROUNDING)
    path: str = Field(
        default="", description="file: .csv, .tsv, .parquet, .npz, or .txt (columns of numbers between blanks, no header)"
    )
    delimiter: str | None = Field(default=None, description="between the columns of a text file, or tab (null: by its name)")
    target: Names = Field(default=(), description="column to be predicted, or a list of them")
    features: Names | None = Field(default=None, description="columns to predict from (null: all others but the one that splits)")
    categorical: Names = Field(default=(), description="columns of numbers that are names of categories")
    missing: Literal["refuse", "impute"] = Field(
        default="refuse",
        description="an input that is missing: an error, or the column's median and one more input that says so",
    )
    split: Literal["random", "grouped", "time", "named", "rows"] = Field(
        default="random",
        description="which rows are tested: any; whole groups; the last in time; "
        "those called 'test' in a column; those whose numbers, from 0, are in a file",
    )
    split_by: str | None = Field(
        default=None, description="column of the groups, times (null: rows are in order) or names, or the file of row numbers"
    )
    test_share: Annotated[Share, Field(gt=0)] = Field(default=0.1, description="share of the rows that are tested")
    nested: bool = Field(default=False, description=NESTED)
    validation_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.1, description="share of the other rows that are held out of training, and chosen by"
    )

    @field_validator("split_by")
    @classmethod
    def _needed(cls, split_by: str | None, info: Any) -> str | None:
        needs = {"grouped": "the column of the groups", "named": "the column that says test", "rows": "a file of row numbers"}
        split = info.data.get("split")
        if split_by is None and split in needs:
            raise ValueError(f"got null with split {split!r}, expected {needs[split]}")
        if split_by is not None and split == "random":
            raise ValueError(f"got {split_by!r} with split 'random', expected null, or another split")
        return split_by


class Tables(Examples, frozen=True):
    """Many tables, each with its splits."""

    name: Literal["tables"] = Field(default="tables", description="source of the data")
    rounding: Rounding = Field(default="auto", description=ROUNDING)
    root: str | None = Field(
        default=None,
        description="folder in the layout of UCI_Datasets (null: the tables that scikit-learn and statsmodels bring)",
    )
    sets: Names = Field(default=(), description="tables to run, by name (empty: all that are there)")
    num_splits: Annotated[Count, Field(le=1000)] = Field(default=20, description="splits of each table")
    nested: bool = Field(default=False, description=NESTED)
    single_gaussian: bool = Field(default=False, description="train the same with one component too, to compare")
