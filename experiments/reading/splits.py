"""Splits the rows of a table into training, validation and test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command import UserError
from mdnjax.config.data import Table
from mdnjax.data.censoring import sides_of
from mdnjax.data.content import content_of
from mdnjax.data.values import ROW, TableError, check_name, column_of, numbers_of

NESTED = 1  # second part of the seed of a nested split


class Rows(NamedTuple):
    """Row numbers, counted from 0, in the order in which they are used."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_rows(section: Table, table: Mapping[str, np.ndarray], num: int, seed: int) -> Rows:
    """Splits the rows as a section states.

    Rows of a group stay adjacent and times stay sorted, since the validation rows are the last ones of those not tested.
    """
    rows = _split(section, table, num, seed)
    if not section.nested:
        return _limited(rows, section)
    rest = np.concatenate(rows[:2])
    is_test = np.zeros(len(rest), bool)
    is_test[np.random.default_rng([seed, NESTED]).permutation(len(rest))[: len(rows.test)]] = True
    return _limited(_with_validation(rest[~is_test], rest[is_test], section), section)


def _limited(rows: Rows, section: Table) -> Rows:
    """Returns the rows with at most `max_validation_rows`, the last ones; if these have no name, the others are for training."""
    most = section.max_validation_rows
    if most is None or len(rows.validation) <= most:
        return rows
    others, validation = np.split(rows.validation, [len(rows.validation) - most])
    train = rows.train if section.split == "named" else np.concatenate([rows.train, others])
    return Rows(train, validation, rows.test)


def weight_of(section: Table, table: Mapping[str, np.ndarray], others: Sequence[str]) -> np.ndarray | None:
    """Returns the weights of all rows, or None if all count the same.

    Raises: TableError, with the row of the file, if a weight is not a number or is negative, or if all are 0; also if the column
    is one of the `others`, the targets and the inputs that are named.
    """
    name = section.weight
    if name is None:
        return None
    _check_separate("data.weight", name, table, others)
    weight = numbers_of(table, name)
    if (wrong := ~(weight >= 0)).any():
        row = int(wrong.argmax())
        got = "nothing" if np.isnan(weight[row]) else f"{weight[row]:g}"
        raise TableError(f"column {name!r}, row {ROW}: got {got}, expected a number that is not negative (data.weight)", row)
    if not weight.any():
        raise TableError(f"column {name!r}: got zero in every row, expected a positive number in some row (data.weight)")
    return weight


def censoring_of(section: Table, table: Mapping[str, np.ndarray], others: Sequence[str], rows: Rows) -> np.ndarray | None:
    """Returns on which side of its value the target of each row is (see `Dataset`), or None if all are observed.

    Raises: TableError, with the row of the file, if a value of the column means neither, or all rows of training or of testing
    are censored; also if the column is one of the `others`, the targets and the inputs that are named.
    """
    name = section.event
    if name is None:
        return None
    _check_separate("data.event", name, table, others)
    censoring = sides_of(f"column {name!r}", column_of(table, name), len(table[name]))
    for part, places in (("training", rows.train), ("test", rows.test)):
        if censoring is not None and (censoring[places] != 0).all():
            raise TableError(f"data.event: got a censored target in all {len(places)} {part} rows, expected an observed one")
    return censoring


def _check_separate(key: str, name: str, table: Mapping[str, np.ndarray], others: Sequence[str]) -> None:
    """Raises: TableError if a column is not in the table, or is one of the `others`."""
    check_name(list(table), name)
    if name in others:
        raise TableError(f"{key}: got {name!r}, which is a target or an input, expected another column")


def without_weight_0(rows: Rows, weight: np.ndarray) -> Rows:
    """Returns the rows that count. Raises: TableError if too few of a part are left."""
    left = Rows(*(part[weight[part] > 0] for part in rows))
    if len(left.train) < 2 or not len(left.validation) or not len(left.test):
        sizes = ", ".join(f"{len(part)} {name}" for name, part in left._asdict().items())
        raise TableError(f"data.weight: got a weight above 0 for {sizes} rows, expected at least 2, 1 and 1")
    return left


def _split(section: Table, table: Mapping[str, np.ndarray], num: int, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    order, by = generator.permutation(num), section.split_by
    if by is not None and section.split != "rows":
        check_name(list(table), by)
    num_test = max(1, round(section.test_share * num))
    if section.split == "rows":
        is_test = _listed(Path(by or ""), num)
        test, rest = np.flatnonzero(is_test), order[~is_test[order]]
    elif section.split == "named":
        return _named(np.array([str(value) for value in table[by or ""]]), order, section)
    elif section.split == "time":
        order = np.argsort(_sortable(table, by), kind="stable") if by else np.arange(num)
        rest, test = order[:-num_test], order[-num_test:]
    elif section.split == "grouped":
        test, rest = _grouped(np.array([str(value) for value in table[by or ""]]), order, num_test, generator)
    else:
        test, rest = order[:num_test], order[num_test:]
    return _with_validation(rest, test, section)


def _grouped(
    names: np.ndarray, order: np.ndarray, num_test: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of whole groups, enough of them to test, and the remaining rows group by group."""
    _, group = np.unique(names, return_inverse=True)
    shuffled = generator.permutation(group.max() + 1)
    if len(shuffled) < 3:
        raise TableError(f"data.split_by: got {len(shuffled)} groups, expected at least 3")
    size_before = np.concatenate([[0], np.cumsum(np.bincount(group)[shuffled])])
    num_groups = max(1, min(len(shuffled) - 2, int(np.searchsorted(size_before, num_test))))
    rank = np.argsort(shuffled)[group]
    order = order[np.argsort(rank[order], kind="stable")]
    return order[rank[order] < num_groups], order[rank[order] >= num_groups]


def _with_validation(rest: np.ndarray, test: np.ndarray, section: Table) -> Rows:
    num = max(1, round(section.validation_share * len(rest)))
    if len(rest) - num < 2 or not len(test):
        raise TableError(f"data.split: got {len(test)} test rows and {len(rest)} others, expected at least 1 and 3")
    return Rows(rest[:-num], rest[-num:], test)


def _named(names: np.ndarray, order: np.ndarray, section: Table) -> Rows:
    if unknown := sorted(set(names.tolist()) - {"train", "validation", "test"}):
        raise TableError(f"data.split_by: got {unknown[0]!r} in column {section.split_by!r}, expected train, validation or test")
    train, validation, test = (order[names[order] == name] for name in ("train", "validation", "test"))
    if len(validation) and len(train) > 1 and len(test):
        return Rows(train, validation, test)
    return _with_validation(np.concatenate([train, validation]), test, section)


def _listed(path: Path, num: int) -> np.ndarray:
    try:
        listed = np.array([float(word) for word in path.read_text().split()])
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data.split_by: cannot read row numbers from {path}: {reason}") from None
    wrong = listed[(listed != np.floor(listed)) | (listed < 0) | (listed >= num)]
    if len(wrong):
        raise UserError(f"data.split_by: {path}: got row {wrong[0]:g}, expected 0 to {num - 1}")
    is_test = np.zeros(num, bool)
    is_test[listed.astype(int)] = True
    return is_test


def _sortable(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns numbers in the order of the times in a column, which are numbers, dates or texts."""
    values = content_of(table, name).values
    missing = np.array([value is None for value in values]) if values.dtype == object else np.isnan(values)
    if missing.any():
        raise TableError(f"data.split_by: column {name!r}, row {ROW}: got nothing, expected a time", int(missing.argmax()))
    return np.unique(values.astype(str), return_inverse=True)[1] if values.dtype == object else values
