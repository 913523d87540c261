"""Collects the results of all benchmarks in one folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from experiments.report import write_csv, write_json
from mdnjax.checkpoint import write_bytes

NAMES = ("train", "sweep", "mixture", "predict", "quality", "startup")
FILES = ("*.csv", "*.md", "*.png", "environment.json")


def gather(folder: Path) -> None:
    """Merges the results of the benchmarks that have run, each in a folder of its own: tables, environments and figures."""
    finished = [name for name in NAMES if (folder / name / "table.md").exists()]
    text = "\n".join(f"## {name}\n\n{(folder / name / 'table.md').read_text()}" for name in finished)
    write_bytes(folder / "table.md", text.encode())
    rows: list[dict[str, str]] = []
    for name in finished:
        with open(folder / name / "table.csv", newline="") as file:
            rows += [{"benchmark": name, **row} for row in csv.DictReader(file)]
        for picture in (folder / name).glob("*.png"):
            shutil.copyfile(picture, folder / picture.name)
    header = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(folder / "table.csv", header, [[row.get(key, "") for key in header] for row in rows])
    environments = {name: json.loads((folder / name / "environment.json").read_text()) for name in finished}
    write_json(folder / "environment.json", environments)
