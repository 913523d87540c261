"""Settings that jax reads before it starts its devices: which devices there are, and where compiled programs are stored."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax

CACHE_WARNING = re.compile(r"Error (reading|writing) persistent compilation cache entry for '.*?': (.*)", re.DOTALL)


def cache_folder() -> Path:
    """Returns the user's folder for compiled programs: $XDG_CACHE_HOME/mdnjax, or ~/.cache/mdnjax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdnjax"


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_compile_cache(folder: str | Path | None = None) -> None:
    """Stores compiled programs in a folder for this and later processes; the default is the folder that the commands use.

    The folder in $JAX_COMPILATION_CACHE_DIR takes precedence. The cache changes compile time only. It also stores programs that
    compile in well under a second, because a training has many of them. If the folder is not writable, nothing is stored and a
    warning is given.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(folder or cache_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
    except OSError as error:
        warnings.warn(_cache_message(folder, error.strerror or str(error)), stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def one_cache_warning() -> Iterator[None]:
    """Replaces the warnings of jax, one for each program that it cannot read from or write to its cache, by a single warning."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        matches = [CACHE_WARNING.match(str(warning.message)) for warning in caught]
        for warning, match in zip(caught, matches, strict=True):
            if not match:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if reasons := [match[2] for match in matches if match]:
            folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
            warnings.warn(_cache_message(folder, " ".join(reasons[0].split())), stacklevel=3)


def _cache_message(folder: str | Path | None, reason: str) -> str:
    return f"compiled programs cannot be stored in {folder} ({reason}): they are compiled again in each process"


def setup(*, compile_cache: bool, all_cores: bool = False) -> None:
    """Configures how jax uses this machine. It must be called once, before any other use of jax.

    Environment variables of jax take precedence.
    Args: with `all_cores`, each core that this process may use is a separate device if there is no device but the CPU.
    Raises: RuntimeError if there is no device to run on.
    """
    set_by_user = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if all_cores and not set_by_user:
        jax.config.update("jax_num_cpu_devices", num_cores())
    if compile_cache:
        use_compile_cache()
    jax.devices()
