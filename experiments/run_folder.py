"""Whose folder it is: a run claims one before it computes, and never writes beside what is not its own."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from experiments import locks
from experiments.command import UserError
from mdnjax.checkpoint import write_bytes
from mdnjax.config import dump
from mdnjax.config.document import parse
from mdnjax.config.section import Section

FREE_KEYS = ("output", "runtime", "worker", "distributed", "chunk_members")  # do not change the results
JOIN_ATTEMPTS = 5
ELSEWHERE = "choose another with output=DIR"


def create_run_folder(
    config: Section | Mapping[str, Any], folder: Path, files: Sequence[str], overwrite: bool, shared: bool = False
) -> Path:
    """Makes a folder this configuration's own, before anything is computed, and writes config.yaml into it.

    The folder is held until the command ends. Args: `files` are patterns of all that the run writes; of another configuration's
    results only these are removed. `shared` is for runs that work together on one configuration.
    Raises: UserError if the folder cannot be written, is held by another run, holds something else, or another configuration's
    results and no overwrite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # found out now, and not after the training
            pass
        lock = _hold(config, folder, shared)
        found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."]
        if found:
            _check_ours(config, folder, found, files, overwrite)
        if not shared or _what_counts(folder / "config.yaml") != _what_counts(dump(config)):
            write_bytes(folder / "config.yaml", dump(config).encode())
        if shared:
            locks.share(lock)
    except OSError as error:
        raise UserError(f"output: cannot write {folder}: {error.strerror or error}") from None
    return folder


def _hold(config: Section | Mapping[str, Any], folder: Path, shared: bool) -> IO[str] | None:
    """Takes the folder alone, or joins those that share it for the same configuration."""
    for attempt in range(JOIN_ATTEMPTS):
        with contextlib.suppress(locks.FolderInUseError):
            return locks.acquire(folder, shared=False)
        if not shared:
            break
        with contextlib.suppress(locks.FolderInUseError):
            lock = locks.acquire(folder, shared=True)
            if _what_counts(folder / "config.yaml") == _what_counts(dump(config)):
                return lock
            break
        time.sleep(0.1 * (attempt + 1))  # another run is just claiming it
    raise UserError(f"output: another run is at work in {folder}; wait for its end, or {ELSEWHERE}")


def _check_ours(
    config: Section | Mapping[str, Any], folder: Path, found: Sequence[Path], files: Sequence[str], overwrite: bool
) -> None:
    old, new = _what_counts(folder / "config.yaml"), _what_counts(dump(config))
    strangers = [path for path in found if not any(fnmatch(str(path), pattern) for pattern in ("config.yaml", *files))]
    if strangers or old.keys() != new.keys():
        stranger = strangers[0] if strangers else found[0]
        raise UserError(f"output: {folder} holds {str(stranger)!r}, which is not of a run of this command; {ELSEWHERE}")
    if old == new:
        return
    if not overwrite:
        changed = ", ".join(_differing_keys(old, new)[:4])
        raise UserError(
            f"output: {folder} holds the results of another configuration (other: {changed}); "
            f"{ELSEWHERE}, or replace them with --overwrite"
        )
    for path in found:
        (folder / path).unlink()


def _what_counts(source: Path | str) -> dict[str, Any]:
    if isinstance(source, Path):
        source = source.read_text(encoding="utf-8", errors="replace") if source.is_file() else ""
    tree = parse(source).tree
    return {key: value for key, value in tree.items() if key not in FREE_KEYS} if isinstance(tree, dict) else {}


def _differing_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [prefix.rstrip(".")]
    return [key for name in sorted({*old, *new}) for key in _differing_keys(old.get(name), new.get(name), f"{prefix}{name}.")]
