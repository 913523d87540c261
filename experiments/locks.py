"""Locks on folders: a command keeps a folder locked while it runs, and the operating system unlocks it if the command dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mdnjax.file_lock import InUseError, take_lock

try:
    import fcntl
except ImportError:  # on Windows, where folders are not locked
    fcntl = None

_open_locks: list[IO[str]] = []


class FolderInUseError(Exception):
    """A folder that another command has locked."""


def acquire(folder: Path) -> None:
    """Locks a folder for this command, where locking is possible, until `released` unlocks it; the lock file is next to it.

    Raises: FolderInUseError if another command has locked it.
    """
    if fcntl is None or not os.access(folder.parent, os.W_OK):
        return
    try:
        _open_locks.append(take_lock(folder.resolve().with_name(f".{folder.name}.lock")))
    except InUseError:
        raise FolderInUseError(str(folder)) from None


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Unlocks, at the end of the block, all folders that were locked inside it."""
    before = len(_open_locks)
    try:
        yield
    finally:
        while len(_open_locks) > before:
            _open_locks.pop().close()


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[None]:
    """Creates a file and locks it in the block, so that `remove_abandoned` keeps it, and deletes it at the end if it is there."""
    try:
        with open(path, "wb") as file:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    finally:
        path.unlink(missing_ok=True)


def remove_abandoned(path: Path, pid: int) -> None:
    """Removes a temporary file of a process that was killed: no such process runs here, and none elsewhere has it locked."""
    if fcntl is None:
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # it runs, and belongs to another user
        pass
