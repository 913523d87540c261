"""Locks by files, where locking is possible: the operating system unlocks a file that is closed or whose process ends."""

from __future__ import annotations

from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows, where files are not locked
    fcntl = None


class InUseError(Exception):
    """A file that another process, or another call in this one, has locked."""


def take_lock(path: Path) -> IO[str]:
    """Creates a file if there is none, and locks it until it is closed; a file system without locks locks nothing.

    Raises: InUseError if it is locked already.
    """
    file = open(path, "a")  # noqa: SIM115 (the caller closes it)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on network file systems
        file.close()
        raise InUseError(str(path)) from None
    except OSError:
        pass
    return file
