"""The notebook of the study: its script runs, and the saved notebook is that script with outputs."""

import re

import nbformat
import pytest

from experiments.notebook import NOTEBOOK, SCRIPT, execute, read_script
from tests.commands import SHORT, use_test_cache

NUM_FIGURES = 12


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def assert_complete(notebook):
    """Checks that all cells ran once, in order, without errors or warnings, and that no figure is missing."""
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == NUM_FIGURES


def numbers_after(words, notebook):
    printed = "".join(output.text for cell in code_cells(notebook) for output in cell.outputs if "text" in output)
    return [float(number) for number in re.findall(rf"{words} (\S+?)[,;\s]", printed)]


def test_the_notebook_is_the_script():
    saved = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(saved)
    script = read_script()
    assert [(cell.cell_type, cell.source) for cell in saved.cells] == [(cell.cell_type, cell.source) for cell in script.cells]
    assert_complete(saved)
    assert NOTEBOOK.stat().st_size < 1.2e6
    assert numbers_after("excess", saved)[0] < 0.1


def test_the_table_of_the_study_in_the_readme_has_the_numbers_of_the_notebook():
    """Both are of the full study with seed 0, which no test trains."""
    saved, page = nbformat.read(NOTEBOOK, as_version=4), (SCRIPT.parent.parent / "README.md").read_text()
    rows = {
        name: list(map(float, re.findall(r"-?\d+\.\d+", cells))) for name, cells in re.findall(r"^ (.+?) +│(.*)$", page, re.M)
    }
    (train, inverse_train), (test, inverse_test) = (numbers_after(f"{part}", saved)[:2] for part in ("error: train", ", test"))
    best, inverse_best = numbers_after("best possible", saved)
    assert rows["regression, mean squared error"] == pytest.approx([train, test, best], rel=1e-3)
    assert rows["inverse regression, mean squared error"] == pytest.approx([inverse_train, inverse_test, inverse_best], rel=1e-3)
    nll, excess, entropy = (numbers_after(words, saved)[0] for words in ("NLL: mixture", "excess", "exact entropy"))
    assert rows["mixture, NLL (nats)"][1:] == pytest.approx([nll, entropy], abs=1e-3)
    assert rows["excess over the truth"][1] == pytest.approx(excess, abs=1e-3)


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    notebook = read_script()
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    first, *others = settings.source.splitlines()
    assert first.endswith("= []")
    settings.source = "\n".join([f"overrides = {[*SHORT, 'seed=3']}", *others])
    before = {*SCRIPT.parent.iterdir()}
    use_test_cache(monkeypatch)
    execute(notebook, tmp_path)
    assert {*SCRIPT.parent.iterdir()} - {SCRIPT.parent / "__pycache__"} <= before  # it writes no files
    assert_complete(notebook)
    assert numbers_after("exact entropy", notebook) == [1.28801]
    assert numbers_after("best possible", notebook) == [1.0, 21.3075]
    (excess,) = numbers_after("excess", notebook)
    assert -1 < excess < 10
