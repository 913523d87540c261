"""The tables of a benchmark and their splits: a file, a folder in the layout of UCI_Datasets, or those of installed packages."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import reading
from experiments.command import UserError, import_extra
from experiments.uci.schema import Tables
from mdnjax.checkpoint import write_bytes
from mdnjax.config.data import Examples, Table
from mdnjax.config.nearest import nearest

RESEEDED = ("random", "grouped")  # ways to split that depend on the seed
FILE_KEYS = [key for key in Table.model_fields if key not in (*Examples.model_fields, "nested")]


class Problem(NamedTuple):
    """The name of a table, a function that returns its first splits, and notes on its values."""

    name: str
    first_splits: Callable[[int], list[Table]]
    notes: tuple[str, ...] = ()


def problems_of(section: Tables, folder: Path) -> list[Problem]:
    """Returns the tables of a benchmark; a table of a package is written to `folder` when its splits are requested.

    Raises: UserError if a file, folder or table does not exist, or a file cannot be trained on.
    """
    _check_keys(section)
    if section.path:
        return [_file_problem(section)]
    known = _package_tables(folder) if section.root is None else _folder_tables(Path(section.root))
    if not known:
        raise UserError(f"data.root: got {section.root!r}, expected a folder with NAME/data/data.txt in it")
    if unknown := next((name for name in section.sets if name not in known), None):
        raise UserError(f"data.sets: got {unknown!r}, expected one of {', '.join(known)}{nearest(unknown, list(known))}")
    return [Problem(name, known[name]) for name in section.sets or known]


def _check_keys(section: Tables) -> None:
    """Raises: UserError for keys of a file without a file, and for keys of many tables with one."""
    others = ("root", "sets") if section.path else FILE_KEYS
    given = [key for key in others if getattr(section, key) != Tables.model_fields[key].default]
    if given:
        expected = "no data.path beside it" if section.path else "data.path=FILE beside it"
        raise UserError(f"data.{given[0]}: got {getattr(section, given[0])!r}, expected {expected}")
    if len(section.target) > 1:
        raise UserError(f"data.target: got {len(section.target)} columns, expected one")


def _file_problem(section: Tables) -> Problem:
    """Reads the first split, so that mistakes are reported before anything is trained."""
    table = Table(**{key: getattr(section, key) for key in Table.model_fields if key != "name"})

    def first_splits(num: int) -> list[Table]:
        return [table.model_copy(update={"seed": seed}) for seed in range(num if section.split in RESEEDED else 1)]

    loaded = reading.read_table(table, 0)
    if (num := len(loaded.columns.targets)) > 1:  # an array with several columns, by one name
        raise UserError(f"data.target: got {num} columns, expected one")
    return Problem(loaded.path.stem, first_splits, tuple(loaded.notes))


def _folder_tables(root: Path) -> dict[str, Callable[[int], list[Table]]]:
    """Finds folders with data.txt, index_features.txt, index_target.txt, index_test_0.txt, ...; their name is the table's."""
    found = sorted(path.parent for path in root.glob("*/data/data.txt"))
    return {folder.parent.name: lambda num, folder=folder: _listed_splits(folder, num) for folder in found}


def _listed_splits(folder: Path, num_splits: int) -> list[Table]:
    features, target = (_numbers(folder / f"index_{name}.txt") for name in ("features", "target"))
    common: dict[str, Any] = {"path": str(folder / "data.txt"), "target": target, "features": features, "split": "rows"}
    paths = [folder / f"index_test_{split}.txt" for split in range(num_splits)]
    return [Table(**common, split_by=str(path)) for path in paths if path.exists()]


def _numbers(path: Path) -> tuple[str, ...]:
    try:
        return tuple(str(int(float(word))) for word in path.read_text().split())
    except (OSError, ValueError) as error:
        raise UserError(f"data.root: cannot read column numbers from {path}: {error}") from None


def _package_tables(folder: Path) -> dict[str, Callable[[int], list[Table]]]:
    """Returns tables of over a hundred rows whose target has many values; no default setting was selected on them."""
    sklearn, statsmodels = import_extra("sklearn.datasets"), import_extra("statsmodels.datasets")
    loads: dict[str, tuple[Callable[[], Any], str]] = {
        "diabetes": (lambda: sklearn.load_diabetes(as_frame=True, scaled=False).frame, "target"),
        "breast_cancer": (lambda: sklearn.load_breast_cancer(as_frame=True).data, "worst perimeter"),
        "wine": (lambda: sklearn.load_wine(as_frame=True).data, "alcohol"),
    }
    targets = {
        "anes96": "age",
        "cancer": "cancer",
        "engel": "foodexp",
        "grunfeld": "invest",
        "modechoice": "gc",
        "star98": "NABOVE",
    }
    loads |= {name: (lambda name=name: getattr(statsmodels, name).load_pandas().data, target) for name, target in targets.items()}
    return {
        name: lambda num, name=name, load=load, target=target: _random_splits(folder / f"{name}.npz", load, target, num)
        for name, (load, target) in loads.items()
    }


def _random_splits(path: Path, load: Callable[[], Any], target: str, num_splits: int) -> list[Table]:
    frame = load().dropna()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, **{str(name): column.to_numpy() for name, column in frame.select_dtypes("number").items()})
    write_bytes(path, content.getvalue())
    return [Table(path=str(path), target=(target,), seed=split) for split in range(num_splits)]
