"""Saves pytrees of arrays in one safetensors file, written whole or not at all, and verifies their sha256 when reading."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from mdnjax.whole_file import writing

FORMAT = "mdnjax-3"
T = TypeVar("T")


class CheckpointError(ValueError):
    """Raised for a file that is damaged or has unexpected contents; the message is one line."""


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, which appears whole."""
    with writing(path) as file:
        file.write(content)


def save(path: Path, tree: Any, metadata: Mapping[str, str] = {}) -> None:
    """Saves a pytree of arrays, named by their paths in the tree, with texts as metadata."""
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in _named_leaves(tree)}
    texts = {"format": FORMAT, **metadata}
    write_bytes(path, to_bytes(arrays, {**texts, "sha256": _digest(arrays, texts)}))


def read_metadata(path: Path, formats: Collection[str] = (FORMAT,)) -> dict[str, str]:
    """Returns the metadata of a file.

    Raises: CheckpointError if the file is missing, truncated, not written by mdnjax, or of a format that is not in `formats`.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.safetensors"))
        raise CheckpointError(f"{path}: got a folder, expected a file{f', such as {inside[0]}' if inside else ''}")
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if (got := metadata.get("format")) not in formats:
        writer = f", written by mdnjax {_writer(metadata)}" if got else ""
        raise CheckpointError(f"{path}: got format {got!r}{writer}, expected {' or '.join(map(repr, formats))}")
    return metadata


def read(path: Path, formats: Collection[str] = (FORMAT,)) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of a file by name, and its metadata.

    Raises: CheckpointError as `read_metadata` does, or if the contents do not match their sha256.
    """
    metadata = read_metadata(path, formats)
    with _opened(path) as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if metadata.pop("sha256", None) != _digest(arrays, metadata):
        raise CheckpointError(f"{path}: damaged, its contents do not match their sha256")
    return arrays, metadata


def restore(path: Path, arrays: Mapping[str, np.ndarray], like: T) -> T:
    """Returns the arrays of a file in the structure of `like`, a pytree of arrays or of anything with shape and dtype.

    Raises: CheckpointError if their names, shapes or dtypes are not those of `like`.
    """
    names = [(name, leaf.shape, leaf.dtype) for name, leaf in _named_leaves(like)]
    for name, shape, dtype in names:
        got = (arrays[name].shape, arrays[name].dtype) if name in arrays else "nothing"
        if got != (shape, dtype):
            raise CheckpointError(f"{path}: {name}: got {got}, expected {(shape, dtype)}")
    if extra := arrays.keys() - {name for name, _, _ in names}:
        raise CheckpointError(f"{path}: got unexpected array {min(extra)!r}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name, _, _ in names])


def load(path: Path, like: T) -> T:
    """Returns the saved tree, in the structure of `like`.

    Raises: CheckpointError if the file is unreadable or damaged, or its arrays are not those of `like`.
    """
    return restore(path, read(path)[0], like)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "numpy") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def _writer(metadata: Mapping[str, str]) -> str:
    """Returns the version of mdnjax that wrote a file."""
    try:
        return str(json.loads(metadata["versions"])["mdnjax"])[:40]
    except (KeyError, ValueError, TypeError):
        return "of another version"


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _digest(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
