"""Writes result files, each of which appears complete or not at all, and prints tables."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import itertools
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from experiments.progress import Clock
from experiments.sentences import clear_progress, say
from mdnjax.checkpoint import write_bytes
from mdnjax.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "matplotlib", "pydantic", "safetensors")
MAX_WIDTH = 250  # of a printed table whose first column alone is wider than the terminal


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes JSON that every parser accepts: a number that is not finite becomes null."""
    write_bytes(path, (json.dumps(_finite(tree), indent=2) + "\n").encode())


def write_history(path: Path, history: History, score: str = "validation_nll") -> None:
    """Writes one row per report: the step, its loss, and the validation score after it in the column `score`."""
    losses = [float(history.loss[min(step, len(history.loss)) - 1]) for step in history.report_steps]
    rows = zip(history.report_steps.tolist(), losses, history.validation_scores.tolist(), strict=True)
    write_csv(path, ["step", "loss", score], rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table with all digits of its numbers."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_bytes(path, text.getvalue().encode())


def write_figure(path: Path, figure: Figure) -> None:
    """Writes a figure as PNG or SVG; equal figures give equal bytes."""
    import matplotlib as mpl  # here, since the commands that draw nothing would wait for it
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": path.stem}):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a note says so once
        if path.suffix == ".png":
            FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})  # `savefig` would draw it twice
        else:
            figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(path, content.getvalue())


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, content.getvalue())


def write_figures(folder: Path, figures: Iterable[tuple[str, Figure]]) -> None:
    """Writes named figures as PNG."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures:
        write_figure(folder / f"{name}.png", figure)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Returns a table, whose first row is the header, as Markdown."""
    header, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def write_table(folder: Path, table: Sequence[Sequence[str]]) -> None:
    """Writes a table, whose first row is the header, as table.csv and table.md."""
    write_csv(folder / "table.csv", table[0], table[1:])
    write_bytes(folder / "table.md", f"{markdown(table)}\n".encode())


def write_run(folder: Path, clock: Clock, metrics: Mapping[str, Any]) -> None:
    """Writes environment.json, timing.json and at last metrics.json, whose presence shows that the run is complete."""
    write_json(folder / "environment.json", environment())
    write_json(folder / "timing.json", clock.seconds)
    write_json(folder / "metrics.json", metrics)


def figures(number: float | None) -> str:
    """Returns a number with four figures; nothing for None and for what is not finite."""
    return "" if number is None or not math.isfinite(number) else f"{number:#.4g}".rstrip(".")


def print_table(title: str | None, table: Sequence[Sequence[str]], left: Collection[str] = ("",)) -> None:
    """Prints a table, whose first row is the header; columns with a heading in `left` are aligned to the left.

    A table that is wider than the terminal (or than COLUMNS, or 80 if neither is known) is printed in parts below each other.
    """
    clear_progress(sys.stdout)
    width = shutil.get_terminal_size().columns
    print(*textwrap.wrap(title or "", width), sep="\n", end="\n" * bool(title))
    for part in _parts(table, left, width):
        shown = Table(show_edge=False)
        for j in part:
            shown.add_column(table[0][j], justify="left" if table[0][j] in left else "right", overflow="fold")
        for row in table[1:]:
            shown.add_row(*(row[j] for j in part))
        Console(width=Console(width=MAX_WIDTH).measure(shown).maximum, highlight=False, markup=False, emoji=False).print(shown)


def _parts(table: Sequence[Sequence[str]], left: Collection[str], width: int) -> Iterator[list[int]]:
    """Yields the columns of each part: in all the first one and those on the left after it, and as many others as fit."""
    sizes = [max(cell_len(line) for row in table for line in row[j].split("\n")) + 3 for j in range(len(table[0]))]
    names = [0, *itertools.takewhile(lambda j: table[0][j] in left, range(1, len(sizes)))]
    while len(names) > 1 and sum(sizes[j] for j in names) > width / 2:
        names.pop()
    part = list(names)
    for j in range(len(names), len(sizes)):
        if len(part) > len(names) and sum(sizes[i] for i in (*part, j)) > width + 1:  # the last column has no line after it
            yield part
            part = list(names)
        part.append(j)
    yield part


def print_end(notes: Iterable[str], clock: Clock, folder: Path) -> None:
    """Prints, after the table of a run, its notes, its times and its results folder."""
    say(*(f"note: {note}" for note in notes), str(clock), f"results: {folder}")


def environment() -> dict[str, Any]:
    """Returns the versions, devices and commit of this run."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.devices()],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    """Returns the commit of the checkout, with '+changes' if files differ from it; None outside of a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head, changes = (
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changes else "")


def _finite(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _finite(value) for key, value in tree.items()}
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
