"""The study as a story: its script runs as a notebook, and the notebook that is kept is the script with its outputs."""

import re

import nbformat

from experiments.notebook import NOTEBOOK, SCRIPT, execute, read_script
from tests.commands import SHORT, keep_programs

NUM_FIGURES = 12


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def assert_whole(notebook):
    """Every cell ran, once and in order, without a complaint, and all figures are there."""
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == NUM_FIGURES


def numbers_after(words, notebook):
    printed = "".join(output.text for cell in code_cells(notebook) for output in cell.outputs if "text" in output)
    return [float(number) for number in re.findall(rf"{words} (\S+?)[,;\s]", printed)]


def test_the_notebook_is_the_script():
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    script = read_script()
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [(cell.cell_type, cell.source) for cell in script.cells]
    assert_whole(kept)
    assert NOTEBOOK.stat().st_size < 1.2e6
    assert numbers_after("excess", kept)[0] < 0.1


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    notebook = read_script()
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    first, *others = settings.source.splitlines()
    assert first.endswith("= []")
    settings.source = "\n".join([f"words = {[*SHORT, 'seed=3']}", *others])
    before = {*SCRIPT.parent.iterdir()}
    keep_programs(monkeypatch)
    execute(notebook, tmp_path)
    assert {*SCRIPT.parent.iterdir()} - {SCRIPT.parent / "__pycache__"} <= before  # it writes no files
    assert_whole(notebook)
    assert numbers_after("exact entropy", notebook) == [1.28801]
    assert numbers_after("best possible", notebook) == [1.0, 21.3075]
    (excess,) = numbers_after("excess", notebook)
    assert -1 < excess < 10
