"""Tables of a benchmark, printed and written; each says on which device it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.report import environment, write_csv, write_json
from mdnjax.checkpoint import write_bytes


def write_tables(folder: Path, name: str, tables: Sequence[list[list[str]]], notes: Sequence[str]) -> None:
    """Prints and writes tables (header and rows) as Markdown, the first one as CSV too, with the device and notes below."""
    about = environment()
    text = "\n\n".join(_markdown(table) for table in tables)
    device = f"Device {about['devices'][0]} x {len(about['devices'])} ({about['processor']}, {about['cpu_count']} cores)."
    text += "\n\n" + "\n".join([device, *notes]) + "\n"
    write_csv(folder / f"{name}.csv", tables[0][0], tables[0][1:])
    write_bytes(folder / f"{name}.md", text.encode())
    write_json(folder / "environment.json", about)
    print(text, end="")


def _markdown(table: list[list[str]]) -> str:
    header, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
