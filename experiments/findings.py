"""Findings of benchmark and proof: tables, notes and figures, printed and written together with the device they come from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.report import environment, markdown, write_csv, write_figure, write_json
from experiments.sentences import clear_progress, say
from mdnjax.checkpoint import write_bytes


class Findings(NamedTuple):
    """Tables (header and rows), the table with all numbers (`csv`, by default the first one), notes and figures."""

    tables: Sequence[list[list[str]]]
    notes: Sequence[str]
    csv: list[list[str]] | None = None
    figures: Mapping[str, Figure] = {}


def write(folder: Path, findings: Findings, name: str = "table") -> None:
    """Prints and writes the findings of one benchmark, with the device they come from."""
    about = environment()
    text = "\n\n".join(markdown(table) for table in findings.tables)
    device = f"Device {about['devices'][0]} x {len(about['devices'])} ({about['processor']}, {about['cpu_count']} cores)."
    sentences = [device, *findings.notes]
    header, *rows = findings.csv or findings.tables[0]
    write_csv(folder / f"{name}.csv", header, rows)
    write_bytes(folder / f"{name}.md", "\n".join([text, "", *sentences, ""]).encode())
    write_json(folder / "environment.json", about)
    for title, figure in findings.figures.items():
        write_figure(folder / f"{title}.png", figure)
    clear_progress(sys.stdout)
    print(text, end="\n\n")
    say(*sentences)
