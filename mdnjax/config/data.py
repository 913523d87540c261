"""The sections that define where examples come from: draws from a known density, or rows of a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mdnjax.config.section import (
    AtomValues,
    Bounds,
    Count,
    Decimal,
    Encoding,
    Names,
    Rounding,
    Section,
    Seed,
    Share,
    TargetSupport,
    Traced,
)

Source = Literal["sinusoid", "bishop_curve", "robot_arm", "econ_density", "arma_jump", "skew_normal", "two_moons"]

ROUNDING = "step to which the targets were rounded: the scale floor is at least step / sqrt(12), the sd of the rounding error; "
ROUNDING += "auto uses the smallest step between the values if each value occurs ten times on average"
LATTICE = "whether targets that are multiples of a step (see rounding) are trained and scored by the probabilities of the step's "
LATTICE += "cells, log((F(y + step / 2) - F(y - step / 2)) / step), instead of densities; there rounding sets no scale floor"
ATOMS = "values of a single target that have probabilities of their own, such as [0] for rain, beside a density of all others; "
ATOMS += "auto finds those that a tenth of the rows or more have, if no other value is frequent"
CENSORED = "lower and upper bound, such as [null, 50], at or beyond which a single target is only known to be there; predictions "
CENSORED += "are those of the target without such bounds"
EVENT = "column that says which values of a single target are observed, as in tables of survival times: 1, true or observed; 0, "
EVENT += "false or right (censored: the true value is at least as large); left (at most as large). It is no input; null: all are"
IN_MEMORY = "whether all rows of Parquet files are held in memory; false stores them in units of training in a file, from which "
IN_MEMORY += "minibatches are read (null: false if their numbers have more than a fortieth of the machine's memory)"
SCRATCH = "folder of that file, which takes 4 bytes a number while training runs (null: the folder of the results)"
VALIDATION_ROWS_ON_DISK = 20_000
MAX_KNOWN_ROWS = 1000
KNOWN_ROWS = (
    "largest number of training rows, and of validation rows, whose inputs the model contains; by them it finds new rows "
)
KNOWN_ROWS += "that are unlike those of training (0: the model contains none, as for data that others may not see)"
NESTED = (
    "leave out the test rows, and use as many of the other rows for testing: settings can then be compared without the test rows"
)


class Examples(Section, frozen=True):
    """The keys that all kinds of data have."""

    name: str = Field(default="", description="source of the data")
    seed: Seed | None = Field(default=None, description="seed of the data (null: the seed of the run)")
    target_support: TargetSupport = Field(
        default="real",
        description="values that the targets can take: real, positive (the log is modelled), [low, high] (the logit is "
        "modelled), or a list with one pair per target",
    )
    standardise: Annotated[bool, Traced()] = Field(
        default=True, description="scale inputs and targets to mean 0 and sd 1 of the training rows"
    )
    rounding: Rounding = Field(default=0.0, description=ROUNDING)
    lattice: bool = Field(default=False, description=LATTICE)
    atoms: AtomValues = Field(default=(), description=ATOMS)
    censored: Bounds = Field(default=(None, None), description=CENSORED)


class Data(Examples, frozen=True):
    """Examples that are drawn from a known density."""

    name: Source = Field(default="sinusoid", description="source of the data")
    num_train: Annotated[Count, Field(ge=2)] = Field(default=900, description="number of training points")
    num_validation: Count = Field(
        default=100, description="number of validation points, used to stop training and to select networks"
    )
    num_test: Count = Field(default=20_000, description="number of test points, used for the final scores")


class Table(Examples, frozen=True):
    """Examples that are the rows of a file."""

    name: Literal["table"] = Field(default="table", description="source of the data")
    rounding: Rounding = Field(default="auto", description=ROUNDING)
    lattice: bool = Field(default=True, description=LATTICE)
    atoms: AtomValues = Field(default="auto", description=ATOMS)
    path: str = Field(
        default="",
        description="file: .csv, .tsv, .parquet, .npz, or .txt (columns of numbers separated by blanks, no header); or a pattern "
        "of Parquet files with the same columns, such as train/*.parquet",
    )
    in_memory: bool | None = Field(default=None, description=IN_MEMORY)
    scratch: str | None = Field(default=None, description=SCRATCH)
    delimiter: str | None = Field(
        default=None, description="character between the columns of a text file, or tab (null: chosen by the file's suffix)"
    )
    decimal: Decimal = Field(default=".", description="character before the decimals of the numbers in a text file")
    encoding: Encoding = Field(default="utf-8", description="encoding of a text file, such as utf-8, latin-1 or cp1252")
    missing_values: Names = Field(
        default=(), description="texts and numbers that mean a missing value, such as [NA, 999]; an empty field always does"
    )
    target: Names = Field(default=(), description="column to predict, or a list of columns")
    features: Names | None = Field(
        default=None, description="input columns (null: all but the targets, leave_out, weight, event and split_by)"
    )
    leave_out: Names = Field(default=(), description="columns that are not inputs, such as [id, name]")
    weight: str | None = Field(
        default=None,
        description="column that says how much each row counts in training and in scores: 2 as two equal rows, 0 not at all "
        "(null: all rows count the same); it is no input",
    )
    event: str | None = Field(default=None, description=EVENT)
    categorical: Names = Field(default=(), description="columns whose numbers are names of categories")
    missing: Literal["refuse", "impute"] = Field(
        default="refuse",
        description="treatment of missing inputs: refuse is an error; impute uses the column's median and adds an input "
        "that marks missing values",
    )
    split: Literal["random", "grouped", "time", "named", "rows"] = Field(
        default="random",
        description="test rows: random rows; whole groups; the last rows in time; rows with 'test' in a column (named); "
        "rows whose numbers, counted from 0, are listed in a file",
    )
    split_by: str | None = Field(
        default=None,
        description="column with the groups, times (null: the rows are in order) or names, or the file of row numbers",
    )
    test_share: Annotated[Share, Field(gt=0)] = Field(default=0.1, description="share of the rows that are test rows")
    calibration_share: Share = Field(
        default=0.0,
        description="share of the rows for training that are used for the guarantee of intervals and for recalibration alone, "
        "such as 0.2",
    )
    recalibrate: bool = Field(
        default=False,
        description="whether the rows of calibration_share also give a monotone map of the PIT; it is used if it lowers the NLL",
    )
    calibration_group: str | None = Field(
        default=None,
        description="input column with categories, within each of which the guarantee of intervals holds (null: over all rows)",
    )
    known_rows: Annotated[int, Field(ge=0, le=MAX_KNOWN_ROWS)] = Field(default=MAX_KNOWN_ROWS, description=KNOWN_ROWS)
    nested: bool = Field(default=False, description=NESTED)
    validation_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.1, description="share of the other rows that are validation rows"
    )
    max_validation_rows: Count | None = Field(
        default=None,
        description="largest number of validation rows; what is more is used for training (null: no limit for rows in memory, "
        f"{VALIDATION_ROWS_ON_DISK} for rows on disk)",
    )

    @field_validator("calibration_group", "recalibrate")
    @classmethod
    def _check_calibration(cls, value: Any, info: Any) -> Any:
        if value and not info.data.get("calibration_share"):
            raise ValueError(f"got {value!r} with data.calibration_share 0, expected a share of the rows, such as 0.2")
        return value

    @field_validator("split_by")
    @classmethod
    def _check_split_by(cls, split_by: str | None, info: Any) -> str | None:
        required = {
            "grouped": "the column of the groups",
            "named": "the column that contains 'test'",
            "rows": "a file of row numbers",
        }
        split = info.data.get("split")
        if split_by is None and split in required:
            raise ValueError(f"got null with split {split!r}, expected {required[split]}")
        if split_by is not None and split == "random":
            raise ValueError(f"got {split_by!r} with split 'random', expected null, or a split other than random")
        return split_by
