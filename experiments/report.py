"""The only code that writes a run folder: files appear whole or not at all, and never beside another run's configuration."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from matplotlib.figure import Figure

from experiments.command import UserError
from mdnjax.checkpoint import write_bytes
from mdnjax.config import Config, dump
from mdnjax.config.document import parse
from mdnjax.train import History

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "matplotlib", "pydantic", "safetensors")
FREE_KEYS = ("output", "runtime")  # do not change the results


def claim(config: Config, overwrite: bool, suffix: str = "") -> Path:
    """Makes the output folder (and its suffix) this run's own, before anything is computed.

    Raises: UserError if it cannot be written, or holds something else and overwrite is off.
    """
    folder = make_folder(config.output.with_name(config.output.name + suffix))
    _check_ours(folder, config, overwrite)
    make_folder(folder / "figures")
    write_bytes(folder / "config.yaml", dump(config).encode())
    return folder


def make_folder(folder: Path) -> Path:
    """Makes a folder that can be written.

    Raises: UserError if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise UserError(f"output: cannot write {folder}: {error.strerror or error}") from None
    return folder


def _check_ours(folder: Path, config: Config, overwrite: bool) -> None:
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not found or found == ["figures"]:
        return
    if "config.yaml" not in found:
        raise UserError(
            f"output: {folder} holds {found[0]!r} and no config.yaml, so it is no run folder; choose another with output=DIR"
        )
    old = _what_counts((folder / "config.yaml").read_text(encoding="utf-8", errors="replace"))
    new = _what_counts(dump(config))
    if old == new:
        return
    if not overwrite:
        changed = ", ".join(_differing_keys(old, new)[:4])
        raise UserError(
            f"output: {folder} holds the results of another configuration ({changed} differ); "
            "choose another with output=DIR, or replace them with --overwrite"
        )
    for pattern in ("*.json", "*.csv", "*.safetensors", "figures/*.png"):
        for stale in folder.glob(pattern):
            stale.unlink()


def _what_counts(text: str) -> dict[str, Any]:
    tree = parse(text).tree
    return {key: value for key, value in tree.items() if key not in FREE_KEYS} if isinstance(tree, dict) else {}


def _differing_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [prefix.rstrip(".")]
    return [key for name in sorted({*old, *new}) for key in _differing_keys(old.get(name), new.get(name), f"{prefix}{name}.")]


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes JSON that every reader takes: a number that is not finite becomes null."""
    write_bytes(path, (json.dumps(_finite(tree), indent=2) + "\n").encode())


def write_history(path: Path, history: History) -> None:
    """Writes one row a report: the step, the loss of the step before it, the held-out score after it."""
    losses = [float(history.loss[min(step, len(history.loss)) - 1]) for step in history.report_steps]
    rows = zip(history.report_steps.tolist(), losses, history.held_out.tolist(), strict=True)
    write_csv(path, ["step", "loss", "validation_nll"], rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table; numbers keep all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_bytes(path, text.getvalue().encode())


def write_figure(path: Path, figure: Figure) -> None:
    """Writes a figure as PNG."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(path, picture.getvalue())


def environment() -> dict[str, Any]:
    """Versions, device and commit of this run."""
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
    """The commit of the checkout, with '+changes' where files differ from it; None outside a checkout."""
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
