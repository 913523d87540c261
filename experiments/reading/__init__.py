"""Reads tables, checks their values, and splits their rows into training, validation and test rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.reading.files import read_file, text_format_of
from experiments.reading.hints import check_printable, hint, notes_on_columns
from experiments.reading.on_disk import (
    ColumnsOfParts,
    Parts,
    examples_of,
    fits_in_memory,
    on_disk_notes,
    parts_of,
    paths_of,
    read_rows,
    scratch_folder,
    thinned,
)
from experiments.reading.splits import Rows, censoring_of, split_rows, weight_of, without_weight_0
from mdnjax.config.data import VALIDATION_ROWS_ON_DISK, Table
from mdnjax.data import Dataset, Splits, make_scaler
from mdnjax.data.columns import Columns, blocks, check_scaled_inputs, input_labels, to_inputs, to_targets
from mdnjax.data.dataset import select_rows
from mdnjax.data.kinds import fit_columns
from mdnjax.data.lattice import lattice_of
from mdnjax.data.notes import codes, notes_on, notes_on_atoms, notes_on_censoring, outliers
from mdnjax.data.scaler import MAX_SCALED, scaled_inputs
from mdnjax.data.stored import RowSource, dtype_of_rows
from mdnjax.data.training_units import support_and_atoms
from mdnjax.data.values import ROW, TableError, check_name

MIN_ROWS = 10
MAX_NUMBERS = 10_000_000  # of the rows by which columns and units are determined, if the table is on disk
MIN_ROWS_OF_STATISTICS = 20_000


class LoadedTable(NamedTuple):
    """A table that is ready for training: its columns, its parts, and notes on unusual values.

    If the rows are on disk, `source` has all of them, `sizes` are their numbers, and the parts may have fewer.
    """

    path: Path
    columns: Columns
    rows: Rows
    splits: Splits
    notes: list[str]
    source: RowSource | None = None
    sizes: tuple[int, ...] = ()


def read_table(section: Table, seed: int) -> LoadedTable:
    """Reads and splits the table of a configuration.

    Raises: UserError if a file or column does not exist, the values cannot be trained on, or the rows are to stay on disk.
    """
    paths, text_format = _located(section), text_format_of(section)
    if section.in_memory is False:
        raise UserError("data.in_memory: got false, which only experiments.tabular can do")
    path = Path(section.path)
    try:
        if len(paths) > 1:
            table = read_rows(parts_of(paths), text_format)
        else:
            table = read_file(path, text_format, (*section.categorical, *section.leave_out))
        rows = split_rows(section, table, _num_rows(section, table), seed)
        return _loaded(section, path, table, rows)
    except TableError as error:
        raise UserError(f"{path}: {error}{hint(error, path, text_format, 'data.')}") from None


def read_stored_table(section: Table, seed: int, folder: Path) -> LoadedTable:
    """Does the same as `read_table`, also for rows that do not fit in memory: columns and units then come from some of the rows.

    Of a table of up to ten million numbers these are all rows, else evenly spaced ones of each part.
    Args: `folder` is that of the file of all rows, if the section sets none.
    Raises: UserError as `read_table` does, or for a setting that needs all rows in memory.
    """
    parts = _parts_on_disk(section, _located(section))
    if parts is None:
        return read_table(section, seed)
    for key in ("weight", "event", "calibration_share"):
        if getattr(section, key):
            raise UserError(f"data.{key}: got {getattr(section, key)!r}, which needs all rows in memory (data.in_memory=true)")
    path, text_format = Path(section.path), text_format_of(section)
    if section.max_validation_rows is None:
        section = section.model_copy(update={"max_validation_rows": VALIDATION_ROWS_ON_DISK})
    some = np.zeros(0, int)
    try:
        reader = ColumnsOfParts(parts, text_format)
        rows = split_rows(section, reader, _num_rows(section, reader, parts.num_rows), seed)
        sizes = tuple(map(len, rows))
        order = np.concatenate(rows, dtype=dtype_of_rows(parts.num_rows))
        rows = Rows(*np.split(order, np.cumsum(sizes)[:-1]))
        of_parts = thinned(rows, max(MIN_ROWS_OF_STATISTICS, MAX_NUMBERS // len(parts.names)))
        some = np.sort(np.concatenate(of_parts))
        table = read_rows(parts, text_format, some)
        loaded = _loaded(section, path, table, Rows(*(np.searchsorted(some, part) for part in of_parts)), some)
    except TableError as error:
        raise UserError(f"{path}: {error.among(some) if len(some) else error}") from None
    notes = [*loaded.notes, *on_disk_notes(parts, rows, len(some))]
    folder = folder if section.scratch is None else scratch_folder(section.scratch, folder)
    chunks = functools.partial(examples_of, parts, text_format, loaded.columns)
    fingerprint = f"{parts.fingerprint} {text_format} {loaded.columns}"
    source = RowSource(parts.num_rows, order[: sizes[0] + sizes[1]], sizes[1], chunks, fingerprint, folder)
    return loaded._replace(rows=of_parts, notes=notes, source=source, sizes=sizes)


def _located(section: Table) -> tuple[Path, ...]:
    """Returns the files of a section."""
    if not section.path:
        raise UserError("data.path: got nothing, expected a file")
    if not section.target:
        raise UserError("data.target: got nothing, expected a column of the file")
    return paths_of(section.path)


def _parts_on_disk(section: Table, paths: tuple[Path, ...]) -> Parts | None:
    """Returns the files of a table whose rows are not to be held in memory, or None."""
    are_parquet = all(path.suffix.lower() == ".parquet" for path in paths)
    if section.in_memory is False and not are_parquet:
        raise UserError(f"data.in_memory: got false for {paths[0]}, expected Parquet files, of which parts can be read")
    if section.in_memory or not are_parquet or not all(path.is_file() for path in paths):
        return None
    parts = parts_of(paths)
    return parts if section.in_memory is False or not fits_in_memory(parts) else None


def _num_rows(section: Table, table: Mapping[str, Any], num: int | None = None) -> int:
    """Returns the number of rows of a table. Raises: TableError if it is too small, or lacks a target."""
    targets = _expanded(table, section.target)
    assert targets
    for name in targets:
        check_name(list(table), name)
    num = len(next(iter(table.values()))) if num is None else num
    if num < MIN_ROWS:
        raise TableError(f"got {num} row{'s' * (num != 1)}, expected at least {MIN_ROWS}")
    return num


def _loaded(section: Table, path: Path, table: Mapping[str, Any], rows: Rows, numbers: np.ndarray | None = None) -> LoadedTable:
    """Returns a table with its parts. Args: `numbers` are those of its rows in the file, if they are only some of these."""
    targets, features = (_expanded(table, names) for names in (section.target, section.features))
    assert targets
    weight = weight_of(section, table, (*targets, *(features or ())))
    if weight is not None:
        rows = without_weight_0(rows, weight)
    censoring = censoring_of(section, table, (*targets, *(features or ())), rows)
    in_training = np.concatenate(rows[:2])
    options: Any = {"categorical": section.categorical, "impute": section.missing == "impute"}
    leave_out = _left_out(section, table, targets, features)
    columns, notes = fit_columns(
        table, targets, features, leave_out=leave_out, rows=in_training, remedy="data.missing=impute", **options
    )
    check_printable(columns)
    whole = Dataset(to_inputs(columns, table), to_targets(columns, table), weight, censoring=censoring)
    splits = Splits(*(select_rows(whole, part) for part in rows))
    notes += notes_on_columns(columns)
    notes += check_values(section, columns, whole, rows.train, in_training, numbers)
    cells = section.lattice and lattice_of(section.rounding, whole.y[in_training]).exists
    atoms = support_and_atoms(section, select_rows(whole, in_training))[1]
    notes += notes_on(splits, _names(columns), cells or atoms is not None)
    notes += () if atoms is None else notes_on_atoms(columns.targets[0], atoms, whole.y)
    notes += () if censoring is None else notes_on_censoring(columns.targets[0], censoring)
    return LoadedTable(path, columns, rows, splits, notes)


def check_values(
    section: Table,
    columns: Columns,
    whole: Dataset,
    train: np.ndarray,
    in_training: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
) -> list[str]:
    """Returns notes on outliers and on codes for missing values among all rows of the file.

    Raises: TableError, with the row of the file, if a target is outside of its support, or a value is too large for float32.
    """
    names = _names(columns)
    try:
        support, atoms = support_and_atoms(section, select_rows(whole, train if in_training is None else in_training))
    except ValueError as error:
        raise UserError(str(error)) from None
    latent = whole.y if atoms is None else atoms.latent(whole.y)
    for target, (name, values) in enumerate(zip(columns.targets, latent.T, strict=True)):
        low, high = (support.low[target], support.high[target]) if support else (-np.inf, np.inf)
        if (outside := ~((values > low) & (values < high))).any():
            row = int(outside.argmax())
            expected = f"expected {low:g} < y < {high:g} (data.target_support), or an atom (data.atoms)"
            raise TableError(f"target {name!r}, row {ROW}: got {whole.y[row, target]:g}, {expected}", row)
    try:
        scaler = make_scaler(select_rows(whole, train), section.standardise, support, atoms)
    except ValueError as error:
        raise TableError(str(error)) from None
    check_scaled_inputs(columns, whole.x, scaled_inputs(scaler, whole.x), MAX_SCALED)
    kinds = zip(columns.inputs, blocks(columns), strict=True)
    plain = [block.start for column, (_, block) in kinds if column.categories is None and column.dates is None]
    of_numbers = Dataset(whole.x[:, plain], whole.y), [*(names[i] for i in plain), *columns.targets]
    return [*outliers(whole, names, rows=numbers), *codes(*of_numbers)]


def _names(columns: Columns) -> list[str]:
    """Returns the names of all inputs and then of the targets."""
    return [*input_labels(columns), *columns.targets]


def _left_out(section: Table, table: Mapping[str, Any], targets: tuple[str, ...], features: Any) -> tuple[str, ...]:
    """Returns the names of the columns that are not inputs.

    The column that splits the rows is an input only if `features` names it, since its values in new rows were never trained on.
    The columns of weights and of events are never inputs.
    """
    by = section.split_by
    of_rows = [name for name in (section.weight, section.event) if name is not None]
    names = tuple(dict.fromkeys([*(_expanded(table, section.leave_out) or ()), *of_rows]))
    splits = features is None and section.split not in ("random", "rows") and by not in (None, *targets)
    return (*names, str(by)) if splits and by not in names else names


def _expanded(table: Mapping[str, Any], names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Replaces the name of an array with several columns, as in NPZ files, by the names of its columns."""
    if names is None:
        return None
    found = []
    for name in names:
        parts = [column for column in table if column.startswith(f"{name}_") and column.removeprefix(f"{name}_").isdigit()]
        found += parts if name not in table and parts else [name]
    return tuple(found)
