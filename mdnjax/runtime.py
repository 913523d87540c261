"""What must be settled before jax touches a device: where compiled programs are kept."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def cache_folder() -> Path:
    """The user's folder for compiled programs: $XDG_CACHE_HOME/mdnjax, or ~/.cache/mdnjax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdnjax"


def setup(*, compile_cache: bool) -> None:
    """Settles how jax uses this machine; to be called once, first of all. Environment variables of jax win.

    Raises: RuntimeError if there is no device to run on.
    The cache saves compile time only; programs of well under a second are kept too, since a study has many of them.
    """
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.devices()
