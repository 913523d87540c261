"""Makes the notebook of the study from its script, with all outputs: `python -m experiments.notebook`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from experiments.command import one_line_errors
from experiments.reading.files import need
from mdnjax.checkpoint import write_bytes

SCRIPT = Path(__file__).resolve().parent / "inverse_sine_story.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
SECONDS = 600  # of a cell, at most


def read_script() -> Any:
    """The cells of the script, as a notebook without outputs. Their names are those of their text: the same at every making."""
    notebook = need("jupytext", "notebook").read(SCRIPT, fmt="py:percent")
    for cell in notebook.cells:
        cell.id = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    return notebook


def execute(notebook: Any, scratch: Path) -> None:
    """Runs all cells in the folder of the script, by the interpreter that runs this, whatever kernels its user has."""
    need("ipykernel.kernelspec", "notebook").write_kernel_spec(scratch / "kernels" / "python3")
    folders = {"JUPYTER_PATH": scratch, "JUPYTER_RUNTIME_DIR": scratch / "runtime", "IPYTHONDIR": scratch / "ipython"}
    where = {"metadata": {"path": str(SCRIPT.parent)}}
    with mock.patch.dict(os.environ, {name: str(folder) for name, folder in folders.items()}):
        client = need("nbclient", "notebook").NotebookClient(notebook, kernel_name="python3", timeout=SECONDS, resources=where)
        client.record_timing, client.coalesce_streams = False, True  # the same outputs every time
        client.execute()


def make_notebook() -> None:
    """Writes the notebook beside the script."""
    notebook = read_script()
    with tempfile.TemporaryDirectory() as scratch:
        execute(notebook, Path(scratch))
    write_bytes(NOTEBOOK, (need("nbformat", "notebook").writes(notebook) + "\n").encode())
    print(f"results: {NOTEBOOK}")


if __name__ == "__main__":
    with one_line_errors():
        make_notebook()
