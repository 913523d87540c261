"""Run folders: a run reserves its folder before it computes, and never writes into a folder that holds other files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from experiments import locks
from experiments.command import UserError
from mdnjax.checkpoint import write_bytes
from mdnjax.config import dump
from mdnjax.config.document import parse
from mdnjax.config.section import Section

KEYS_WITHOUT_EFFECT = ("output", "report", "runtime", "cluster", "chunk_members")  # on the results
KEYS_WITHOUT_EFFECT += ("worker", "distributed")  # in folders of sweeps until November 2026
KEYS_WITHOUT_EFFECT += ("networks", "peers")  # on the results of each other: they select which of them a table shows
OTHER_FOLDER = "choose another folder with output=DIR"


def create_run_folder(config: Section | Mapping[str, Any], folder: Path, files: Sequence[str], overwrite: bool) -> Path:
    """Reserves a folder for this configuration, before anything is computed, and writes config.yaml into it.

    The folder stays locked until the command ends. Args: `files` are patterns of all files that the run writes; only such files
    are ever removed.
    Raises: UserError if the folder cannot be written, is in use by another run, holds other files, or holds the results of
    another configuration and `overwrite` is false.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # a folder that cannot be written fails here, not after the training
            pass
        _lock(folder)
        found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."]
        if found:
            _check_contents(config, folder, found, files, overwrite)
        write_bytes(folder / "config.yaml", dump(config).encode())
    except OSError as error:
        raise UserError(f"output: cannot write {folder}: {error.strerror or error}") from None
    return folder


def _lock(folder: Path) -> None:
    try:
        locks.acquire(folder)
    except locks.FolderInUseError:
        raise UserError(f"output: another run is using {folder}; wait until it ends, or {OTHER_FOLDER}") from None


def _check_contents(
    config: Section | Mapping[str, Any], folder: Path, found: Sequence[Path], files: Sequence[str], overwrite: bool
) -> None:
    old, new = _effective_keys(folder / "config.yaml"), _effective_keys(dump(config))
    foreign = [path for path in found if not any(fnmatch(str(path), pattern) for pattern in ("config.yaml", *files))]
    if foreign or old.keys() != new.keys():
        file = str((foreign or found)[0])
        raise UserError(f"output: {folder} holds {file!r}, which is not from a run of this command; {OTHER_FOLDER}")
    if old == new:
        return
    if not overwrite:
        changed = ", ".join(_differing_keys(old, new)[:4])
        raise UserError(
            f"output: {folder} holds the results of another configuration (different: {changed}); "
            f"{OTHER_FOLDER}, or replace them with --overwrite"
        )
    for path in found:
        (folder / path).unlink()


def _effective_keys(source: Path | str) -> dict[str, Any]:
    """Returns the part of a configuration that its results depend on; empty if the text is no mapping."""
    if isinstance(source, Path):
        source = source.read_text(encoding="utf-8", errors="replace") if source.is_file() else ""
    tree = parse(source).tree
    return {key: value for key, value in tree.items() if key not in KEYS_WITHOUT_EFFECT} if isinstance(tree, dict) else {}


def _differing_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [prefix.rstrip(".")]
    return [key for name in sorted({*old, *new}) for key in _differing_keys(old.get(name), new.get(name), f"{prefix}{name}.")]


def flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Returns the values of nested sections by dotted key."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return values
