"""The tables of a benchmark and their splits: a folder in the layout of UCI_Datasets, or what installed packages bring."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError
from experiments.reading.files import need
from mdnjax.checkpoint import write_bytes
from mdnjax.config.data import Table, Tables
from mdnjax.config.optax_names import nearest


class Problem(NamedTuple):
    """A table by name, and what gives its first splits."""

    name: str
    first_splits: Callable[[int], list[Table]]


def problems_of(section: Tables, folder: Path) -> list[Problem]:
    """The tables of a benchmark; those that packages bring are written to a folder when their splits are asked for.

    Raises: UserError if there is no such folder or table.
    """
    known = _of_packages(folder) if section.root is None else _of_folder(Path(section.root))
    if not known:
        raise UserError(f"data.root: got {section.root!r}, expected a folder with NAME/data/data.txt in it")
    if unknown := next((name for name in section.sets if name not in known), None):
        raise UserError(f"data.sets: got {unknown!r}, expected one of {', '.join(known)}{nearest(unknown, list(known))}")
    return [Problem(name, known[name]) for name in section.sets or known]


def _of_folder(root: Path) -> dict[str, Callable[[int], list[Table]]]:
    """Each folder of the layout by its name: data.txt, index_features.txt, index_target.txt, index_test_0.txt, ..."""
    found = sorted(path.parent for path in root.glob("*/data/data.txt"))
    return {folder.parent.name: lambda num, folder=folder: _listed_splits(folder, num) for folder in found}


def _listed_splits(folder: Path, num_splits: int) -> list[Table]:
    features, target = (_numbers(folder / f"index_{name}.txt") for name in ("features", "target"))
    common: dict[str, Any] = {"path": str(folder / "data.txt"), "target": target, "features": features, "split": "rows"}
    there = [folder / f"index_test_{split}.txt" for split in range(num_splits)]
    return [Table(**common, split_by=str(path)) for path in there if path.exists()]


def _numbers(path: Path) -> tuple[str, ...]:
    try:
        return tuple(str(int(float(word))) for word in path.read_text().split())
    except (OSError, ValueError) as error:
        raise UserError(f"data.root: cannot read column numbers from {path}: {error}") from None


def _of_packages(folder: Path) -> dict[str, Callable[[int], list[Table]]]:
    """Tables of more than a hundred rows with a target that is no class or count of a few; no setting was chosen by them."""
    sklearn, statsmodels = need("sklearn.datasets"), need("statsmodels.datasets")
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
        name: lambda num, name=name, own=own: _random_splits(folder / f"{name}.npz", *own, num) for name, own in loads.items()
    }


def _random_splits(path: Path, load: Callable[[], Any], target: str, num_splits: int) -> list[Table]:
    frame = load().dropna()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, **{str(name): column.to_numpy() for name, column in frame.select_dtypes("number").items()})
    write_bytes(path, content.getvalue())
    return [Table(path=str(path), target=(target,), seed=split) for split in range(num_splits)]
