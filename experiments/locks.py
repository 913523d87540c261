"""Folders that a command holds for as long as it runs: others find them taken, and a command that dies leaves them free."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows there is no such lock, and nothing is held
    fcntl = None

_held: list[IO[str]] = []


class FolderInUseError(Exception):
    """A folder that another command holds."""


def acquire(folder: Path, shared: bool) -> IO[str] | None:
    """Takes a folder, alone or with others that share it, by a file beside it; `released` gives it back.

    Raises: TakenError if another command holds it.
    """
    if fcntl is None or not os.access(folder.parent, os.W_OK):
        return None
    file = open(folder.resolve().with_name(f".{folder.name}.lock"), "w")  # noqa: SIM115 (open for as long as the command runs)
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise FolderInUseError(str(folder)) from None
    _held.append(file)
    return file


def share(file: IO[str] | None) -> None:
    """From now on others may share what is held."""
    if fcntl is not None and file is not None:
        fcntl.flock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Gives back everything that was taken inside of the block."""
    before = len(_held)
    try:
        yield
    finally:
        while len(_held) > before:
            _held.pop().close()
