"""Tables of a benchmark, printed and written; each says on which device it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.report import environment, markdown, write_csv, write_json
from mdnjax.checkpoint import write_bytes


def write_tables(
    folder: Path, name: str, tables: Sequence[list[list[str]]], notes: Sequence[str], csv: list[list[str]] | None = None
) -> None:
    """Prints and writes tables (header and rows) as Markdown, with device and notes below; the first one, or `csv`, as CSV."""
    about = environment()
    text = "\n\n".join(markdown(table) for table in tables)
    device = f"Device {about['devices'][0]} x {len(about['devices'])} ({about['processor']}, {about['cpu_count']} cores)."
    text += "\n\n" + "\n".join([device, *notes]) + "\n"
    header, *rows = csv or tables[0]
    write_csv(folder / f"{name}.csv", header, rows)
    write_bytes(folder / f"{name}.md", text.encode())
    write_json(folder / "environment.json", about)
    print(text, end="")
