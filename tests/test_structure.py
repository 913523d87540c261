"""The house: modules import only downward, files stay short, and importing has no side effects."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mdnjax.components import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
# From the cellar to the roof; a module may import from those before it.
ORDER = [
    "types",
    "deprecated",
    "whole_file",
    "file_lock",
    "config",
    "runtime",
    "compilation",
    "batching",
    "parallel",
    "quadrature",
    "components",
    "mixture",
]
ORDER += [
    "to_numpyro",
    "statistics",
    "scores",
    "diagnostics",
    "data",
    "cells",
    "mixed",
    "recalibration",
    "observed",
    "density_sets",
    "conformity",
    "least_squares",
    "embedding",
    "trees",
    "networks",
    "recurrent",
    "model",
    "ensemble",
    "known_rows",
    "checkpoint",
]
ORDER += ["sequences", "training", "progress", "predictor", "model_file", "baselines", "evaluation", "slices"]
ORDER += ["table_of_predictions", "guarantees", "outside", "c2st"]
ORDER += ["fitting", "calibration", "fit_examples", "sklearn_values", "estimator", "export", "plots", "posteriors"]
ORDER_OF_POSTERIORS = ["law", "priors", "proposals", "simulations", "ranks", "maxima", "tempering", "success", "joint"]
ORDER_OF_POSTERIORS += ["posterior", "direct", "likelihood", "file", "fit", "checks"]
ORDER_OF_TRAINING = ["losses", "optimizers", "steps", "noise", "minibatches", "initialise", "placement", "budget", "history"]
ORDER_OF_TRAINING += ["part_file", "chunks", "population", "threads", "racing", "selection", "spread"]
ORDER_OF_TRAINING += ["functions", "feed", "train", "experts", "inputs", "stacking", "tasks", "training_file"]
ORDERS_WITHIN = {"training": ["__init__", *ORDER_OF_TRAINING], "posteriors": ["__init__", *ORDER_OF_POSTERIORS]}
MODULES = sorted((ROOT / "mdnjax").rglob("*.py"))


def floor_of(parts):
    """The place of a module among all; the modules of two packages are in an order of their own."""
    within = ORDERS_WITHIN[parts[0]].index(parts[1]) if parts[0] in ORDERS_WITHIN and parts[1:] not in ([], ()) else -1
    return ORDER.index(parts[0]), within


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_import_only_downward(path):
    parts = path.relative_to(ROOT / "mdnjax").with_suffix("").parts
    if parts == ("__init__",):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("mdnjax", "experiments"):
            assert node.module.split(".")[0] == "mdnjax"
            named = node.module.split(".")[1:] or [node.names[0].name]
            if named in (["training"], ["posteriors"]):
                named = [*named, node.names[0].name]
            same_package = named[0] == parts[0] and named[0] not in ORDERS_WITHIN
            assert same_package or floor_of(named) < floor_of(parts), f"{path.name} imports {node.module}"


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "experiments").rglob("*.py"))], ids=lambda path: path.name)
def test_files_stay_short_and_open_with_a_sentence(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 260
    assert ast.get_docstring(ast.parse(text))


NEEDS_SCIKIT_LEARN = {"mdnjax/estimator.py", "mdnjax/sklearn_values.py"}  # imported when `MDNRegressor` is used
OTHER_NAMES = {"yaml": "pyyaml", "annotated_types": "pydantic"}  # packages that a dependency contains or installs


def test_modules_import_packages_of_an_extra_only_where_they_use_them():
    """Otherwise a command without the extra ends in a traceback instead of a line that names it, even for its --help."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    known = {*sys.stdlib_module_names, "mdnjax", "experiments"} | {re.split("[>=]", name)[0] for name in dependencies}
    for path in {*MODULES, *(ROOT / "experiments").rglob("*.py")}:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            packages = {OTHER_NAMES.get(name.split(".")[0], name.split(".")[0]) for name in names}
            place = str(path.relative_to(ROOT))
            assert packages <= known or place in NEEDS_SCIKIT_LEARN, f"{place} imports {packages - known}"


def test_the_configuration_knows_nothing_of_jax():
    package = f"p = types.ModuleType('mdnjax'); p.__path__ = [{str(ROOT / 'mdnjax')!r}]; sys.modules['mdnjax'] = p"
    code = f"import sys, types; {package}; import mdnjax.config.load; print([m for m in ('jax', 'optax') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_importing_the_library_starts_no_device():
    """Nor does it import the statistics of scipy, which takes a quarter of its time."""
    code = "import sys, mdnjax, jax; from jax._src import xla_bridge; "
    code += "print(xla_bridge.backends_are_initialized() or 'scipy.stats' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
        == "False"
    )


def test_no_command_imports_another_one():
    """What two commands share stands in a module of its own; only the benchmark of start-up runs another command, to time it."""
    folder = ROOT / "experiments"
    commands = {path.parent.name for path in folder.glob("*/__main__.py")}
    commands |= {path.stem for path in folder.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()}
    for path in {*folder.rglob("*.py")} - {folder / "benchmark" / "startup.py"}:
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "experiments":
                imported = {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
                assert not (imported & commands) - {own}, f"{path.relative_to(folder)} imports {imported}"


def test_the_page_of_the_library_names_every_module_and_no_other():
    """The picture of the flow and the tables in mdnjax/README.md."""
    page, library = (ROOT / "mdnjax" / "README.md").read_text(), ROOT / "mdnjax"
    picture = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert picture
    for name in re.findall(r"[a-z_]+(?:\.py|/)", picture[1]):
        assert (library / name).exists() or (library / "training" / name).exists(), name
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith(("| `", "| [`"))]
    named = {name.strip("/") for row in rows for name in re.findall(r"`([a-z_0-9]+/?)`", row)}
    folders_of_modules = (library, *(library / name for name in ORDERS_WITHIN))
    modules = {path.stem for folder in folders_of_modules for path in folder.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in library.glob("*/__init__.py")}
    assert named & (modules | folders) == modules | folders, (modules | folders) - named
    families = set(FAMILIES)
    assert named - modules - folders <= families, named - modules - folders - families
