"""Tables of rows and columns: read, and cut into the parts that are trained on, watched and tested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.reading.files import TAB, read_file
from experiments.reading.splits import Rows, split_rows
from mdnjax.config.data import Table
from mdnjax.data import Dataset, Splits, make_scaler, make_support
from mdnjax.data.columns import Columns, check_reach, fit_columns, input_name, to_inputs, to_targets
from mdnjax.data.dataset import outlier_notes
from mdnjax.data.scaler import MAX_SCALED, scaled_inputs
from mdnjax.data.values import ROW, TableError, check_name

MIN_ROWS = 10


class Read(NamedTuple):
    """A table that is ready to be trained on: its columns, its parts, and what was noticed."""

    path: Path
    columns: Columns
    rows: Rows
    splits: Splits
    notes: list[str]


def read(section: Table, seed: int) -> Read:
    """Reads the file of a configuration.

    Raises: UserError if there is no such file or column, or it cannot be trained on.
    """
    if not section.path:
        raise UserError("data.path: got nothing, expected a file")
    if not section.target:
        raise UserError("data.target: got nothing, expected a column of the file")
    path = Path(section.path)
    try:
        table = read_file(path, section.delimiter, section.categorical)
        targets, features = (_spelt_out(table, names) for names in (section.target, section.features))
        assert targets
        for name in targets:
            check_name(list(table), name)
        num = len(next(iter(table.values())))
        if num < MIN_ROWS:
            raise TableError(f"got {num} rows, expected at least {MIN_ROWS}")
        rows = split_rows(section, table, num, seed)
        in_training = np.concatenate(rows[:2])
        options: Any = {"categorical": section.categorical, "impute": section.missing == "impute"}
        columns, notes = fit_columns(table, targets, _without(section, table, targets, features), rows=in_training, **options)
        x, y = to_inputs(columns, table), to_targets(columns, table)
        notes += check_values(section, columns, Dataset(x, y), rows.train)
    except TableError as error:
        raise UserError(f"{path}: {error}{_hint(error, section)}") from None
    return Read(path, columns, rows, Splits(*(Dataset(x[own], y[own]) for own in rows)), notes)


def check_values(section: Table, columns: Columns, whole: Dataset, train: np.ndarray) -> list[str]:
    """Sentences about values that are far out, of all rows of the file.

    Raises: TableError if a target is outside of its support, or a value too far out for float32, with its row of the file.
    """
    names = [input_name(columns, i) for i in range(whole.x.shape[1])] + list(columns.targets)
    try:
        support = make_support(section.target_support, whole.y.shape[1])
    except ValueError as error:
        raise UserError(f"data.target_support: {error}") from None
    for target, (name, values) in enumerate(zip(columns.targets, whole.y.T, strict=True)):
        low, high = (support.low[target], support.high[target]) if support else (-np.inf, np.inf)
        if (outside := ~((values > low) & (values < high))).any():
            row = int(outside.argmax())
            expected = f"expected {low:g} < y < {high:g} (data.target_support)"
            raise TableError(f"target {name!r}, row {ROW}: got {values[row]:g}, {expected}", row)
    try:
        scaler = make_scaler(Dataset(whole.x[train], whole.y[train]), section.standardise, support)
    except ValueError as error:
        raise TableError(str(error)) from None
    check_reach(columns, whole.x, scaled_inputs(scaler, whole.x), MAX_SCALED)
    return list(outlier_notes(whole, names))


def _without(section: Table, table: Mapping[str, Any], targets: tuple[str, ...], features: Any) -> Any:
    """All columns but the targets and the one that splits, which must be asked for: what it says of new rows is new."""
    if features is not None or section.split in ("random", "rows") or section.split_by is None:
        return features
    return tuple(name for name in table if name not in (*targets, section.split_by))


def _spelt_out(table: Mapping[str, Any], names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """An array of several columns, as NPZ files have them, by the names of its columns."""
    if names is None:
        return None
    found = []
    for name in names:
        inside = [one for one in table if one.startswith(f"{name}_") and one.removeprefix(f"{name}_").isdigit()]
        found += inside if name not in table and inside else [name]
    return tuple(found)


def _hint(error: TableError, section: Table) -> str:
    """Where a text file has but one column, what may be between its fields."""
    text = str(error)
    several = ", " in text.partition("expected one of ")[2]
    if Path(section.path).suffix not in (".csv", ".tsv") or not text.startswith("got column") or several:
        return ""
    found = next((mark for mark in (";", "\t", "|", ",") if mark in _first_line(Path(section.path))), None)
    if found is None:
        return ""
    word = TAB if found == "\t" else found
    return f" (the header is one name; if its fields are between {word!r}: data.delimiter={word!r})"


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(10_000)
