"""What all benchmarks have found so far, together in one folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from experiments.report import write_csv, write_json
from mdnjax.checkpoint import write_bytes

NAMES = ("train", "sweep", "mixture", "quality", "startup")
FILES = ("*.csv", "*.md", "*.png", "environment.json")


def gather(folder: Path) -> None:
    """Puts what all benchmarks found so far, each in its own folder, into one: a table to read, one with all numbers, figures."""
    there = [name for name in NAMES if (folder / name / "table.md").exists()]
    text = "\n".join(f"## {name}\n\n{(folder / name / 'table.md').read_text()}" for name in there)
    write_bytes(folder / "table.md", text.encode())
    rows: list[dict[str, str]] = []
    for name in there:
        with open(folder / name / "table.csv", newline="") as file:
            rows += [{"benchmark": name, **row} for row in csv.DictReader(file)]
        for picture in (folder / name).glob("*.png"):
            shutil.copyfile(picture, folder / picture.name)
    header = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(folder / "table.csv", header, [[row.get(key, "") for key in header] for row in rows])
    about = {name: json.loads((folder / name / "environment.json").read_text()) for name in there}
    write_json(folder / "environment.json", about)
