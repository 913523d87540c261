"""Trees of arrays in one safetensors file: written whole or not at all, and checked against their sha256 when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

FORMAT = "mdnjax-2"
T = TypeVar("T")


class CheckpointError(ValueError):
    """A file that is damaged, or not what was expected; its text is one line."""


def write_bytes(path: Path, content: bytes) -> None:
    """Writes to a temporary name beside the file and replaces it: a reader sees the old file or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save(path: Path, tree: Any, metadata: Mapping[str, str] = {}) -> None:
    """Saves a pytree of arrays under the names of its paths, with text beside it."""
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in _named_leaves(tree)}
    texts = {"format": FORMAT, **metadata}
    write_bytes(path, to_bytes(arrays, {**texts, "sha256": _digest(arrays, texts)}))


def read_metadata(path: Path) -> dict[str, str]:
    """The text beside the arrays.

    Raises: CheckpointError if the file is missing, cut off, or no file of mdnjax.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got format {metadata.get('format')!r}, expected {FORMAT!r}")
    return metadata


def load(path: Path, like: T) -> T:
    """The saved tree, in the structure of `like` (arrays or anything with shape and dtype).

    Raises: CheckpointError if the file is unreadable, damaged, or holds other arrays than `like`.
    """
    metadata = read_metadata(path)
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if metadata.pop("sha256", None) != _digest(arrays, metadata):
        raise CheckpointError(f"{path}: damaged, its contents do not match their sha256")
    names = [(name, leaf.shape, leaf.dtype) for name, leaf in _named_leaves(like)]
    for name, shape, dtype in names:
        got = (arrays[name].shape, arrays[name].dtype) if name in arrays else "nothing"
        if got != (shape, dtype):
            raise CheckpointError(f"{path}: {name}: got {got}, expected {(shape, dtype)}")
    if extra := arrays.keys() - {name for name, _, _ in names}:
        raise CheckpointError(f"{path}: got unexpected array {min(extra)!r}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name, _, _ in names])


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _digest(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
