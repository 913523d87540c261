"""Makes the notebook of the study from its script, with all outputs: `python -m experiments.notebook`."""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from experiments.command import import_extra, one_line_errors
from experiments.sentences import say
from mdnjax.checkpoint import write_bytes

SCRIPT = Path(__file__).resolve().parent / "inverse_sine_story.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
MAX_CELL_SECONDS = 600


def read_script() -> Any:
    """Returns the script as a notebook without outputs; the id of a cell is a hash of its text, so that it is reproducible."""
    notebook = import_extra("jupytext", "notebook").read(SCRIPT, fmt="py:percent")
    for cell in notebook.cells:
        cell.id = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    return notebook


def execute(notebook: Any, scratch: Path) -> None:
    """Runs all cells in the folder of the script, by this interpreter, whatever kernels are installed."""
    import_extra("ipykernel.kernelspec", "notebook").write_kernel_spec(scratch / "kernels" / "python3")
    folders = {"JUPYTER_PATH": scratch, "JUPYTER_RUNTIME_DIR": scratch / "runtime", "IPYTHONDIR": scratch / "ipython"}
    resources = {"metadata": {"path": str(SCRIPT.parent)}}
    with mock.patch.dict(os.environ, {name: str(folder) for name, folder in folders.items()}):
        make_client = import_extra("nbclient", "notebook").NotebookClient
        client = make_client(notebook, kernel_name="python3", timeout=MAX_CELL_SECONDS, resources=resources)
        client.record_timing, client.coalesce_streams = False, True  # so that equal runs have equal outputs
        client.execute()


def make_notebook() -> None:
    """Writes the notebook into the folder of the script."""
    notebook = read_script()
    with tempfile.TemporaryDirectory() as scratch:
        execute(notebook, Path(scratch))
    write_bytes(NOTEBOOK, (import_extra("nbformat", "notebook").writes(notebook) + "\n").encode())
    say(f"results: {NOTEBOOK}")


if __name__ == "__main__":
    with one_line_errors():
        argparse.ArgumentParser(prog="python -m experiments.notebook", description=__doc__).parse_args()
        make_notebook()
