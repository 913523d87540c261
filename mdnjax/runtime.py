"""What must be settled before jax touches a device: which devices there are, and where compiled programs are kept."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

CACHE_TROUBLE = re.compile(r"Error (reading|writing) persistent compilation cache entry for '.*?': (.*)", re.DOTALL)


def cache_folder() -> Path:
    """The user's folder for compiled programs: $XDG_CACHE_HOME/mdnjax, or ~/.cache/mdnjax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdnjax"


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes(NamedTuple):
    """Where jax.distributed finds its processes; what is None is found as jax finds it (Slurm, MPI, environment variables)."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


class ProcessesError(Exception):
    """Processes that did not find together."""


def use_compile_cache(folder: str | Path | None = None) -> None:
    """Keeps compiled programs in a folder, where this and later processes find them: by default the one of the commands.

    A folder that $JAX_COMPILATION_CACHE_DIR names wins. The cache saves compile time only; programs of well under a second are
    kept too, since a training has many of them. In a folder that cannot be written nothing is kept, and a warning says so.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(folder or cache_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"a program")
    except OSError as error:
        warnings.warn(_no_cache(folder, error.strerror or str(error)), stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def one_cache_warning() -> Iterator[None]:
    """Makes one warning of those that jax gives for each program that it cannot read from its cache or write to it."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        troubles = [CACHE_TROUBLE.match(str(warning.message)) for warning in caught]
        for warning, trouble in zip(caught, troubles, strict=True):
            if not trouble:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if reasons := [trouble[2] for trouble in troubles if trouble]:
            folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
            warnings.warn(_no_cache(folder, " ".join(reasons[0].split())), stacklevel=3)


def _no_cache(folder: str | Path | None, reason: str) -> str:
    return f"compiled programs cannot be kept in {folder} ({reason}): they are compiled anew"


def setup(*, compile_cache: bool, all_cores: bool = False, processes: Processes | None = None) -> None:
    """Settles how jax uses this machine; to be called once, first of all. Environment variables of jax win.

    Args: with `all_cores`, each core that this process may use is a device of its own where there is no other device;
    with `processes`, jax.distributed is started: they wait for each other at the start and at the end.
    Raises: RuntimeError if there is no device to run on; ProcessesError.
    """
    said = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if all_cores and not said:
        jax.config.update("jax_num_cpu_devices", num_cores())
    if compile_cache:
        use_compile_cache()
    if processes:
        week = 7 * 24 * 3600  # one may have finished long before another
        try:
            jax.distributed.initialize(*processes, shutdown_timeout_seconds=week)
        except (RuntimeError, ValueError) as error:
            raise ProcessesError(str(error)) from None
    jax.devices()
