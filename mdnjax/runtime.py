"""What must be settled before jax touches a device: which devices there are, and where compiled programs are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import jax


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


def setup(*, compile_cache: bool, all_cores: bool = False, processes: Processes | None = None) -> None:
    """Settles how jax uses this machine; to be called once, first of all. Environment variables of jax win.

    Args: with `all_cores`, each core that this process may use is a device of its own where there is no other device;
    with `processes`, jax.distributed is started: they wait for each other at the start and at the end.
    Raises: RuntimeError if there is no device to run on; ProcessesError.
    The cache saves compile time only; programs of well under a second are kept too, since a study has many of them.
    """
    said = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if all_cores and not said:
        jax.config.update("jax_num_cpu_devices", num_cores())
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if processes:
        week = 7 * 24 * 3600  # one may have finished long before another
        try:
            jax.distributed.initialize(*processes, shutdown_timeout_seconds=week)
        except (RuntimeError, ValueError) as error:
            raise ProcessesError(str(error)) from None
    jax.devices()
