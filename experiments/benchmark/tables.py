"""What a benchmark writes: its tables, figures and device; and all of them together, as far as they are there."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.report import environment, markdown, write_csv, write_figure, write_json
from mdnjax.checkpoint import write_bytes

NAMES = ("train", "sweep", "mixture", "quality", "startup")
FILES = ("*.csv", "*.md", "*.png", "environment.json")


class Findings(NamedTuple):
    """Tables (header and rows) to read, the same with all numbers (`csv`; the first table if there is none), notes, figures."""

    tables: Sequence[list[list[str]]]
    notes: Sequence[str]
    csv: list[list[str]] | None = None
    figures: Mapping[str, Figure] = {}


def write(folder: Path, findings: Findings, name: str = "table") -> None:
    """Prints and writes what one benchmark found, with the device it was found on."""
    about = environment()
    text = "\n\n".join(markdown(table) for table in findings.tables)
    device = f"Device {about['devices'][0]} x {len(about['devices'])} ({about['processor']}, {about['cpu_count']} cores)."
    text += "\n\n" + "\n".join([device, *findings.notes]) + "\n"
    header, *rows = findings.csv or findings.tables[0]
    write_csv(folder / f"{name}.csv", header, rows)
    write_bytes(folder / f"{name}.md", text.encode())
    write_json(folder / "environment.json", about)
    for title, figure in findings.figures.items():
        write_figure(folder / f"{title}.png", figure)
    print(text, end="", flush=True)


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
