"""Reads the plain arrays of an NPZ file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np


class ArraysError(ValueError):
    """Raised for a file that is no NPZ file of plain arrays; the message is one line."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an NPZ file by name. Raises: OSError if it cannot be read, ArraysError if it holds anything else."""
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError) as error:
        reason = " ".join(str(error).split())[:120]
        if "pickle" in reason:  # numpy's words advise to load Python objects, which may run any code
            reason = "it holds Python objects, or is another kind of file"
        raise ArraysError(f"not an NPZ file of plain arrays: {reason}") from None
    if other := next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None):
        raise ArraysError(f"not an NPZ file of plain arrays: it holds {other[:60]!r}, which is no array")
    return arrays
