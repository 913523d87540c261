"""What a newcomer meets first: the public names, the version, and the list of commands."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import mdnjax as mdn
from experiments.__main__ import commands, main

ROOT = Path(__file__).resolve().parent.parent


def test_completion_shows_the_public_names_and_no_others():
    names = [name for name in dir(mdn) if not name.startswith("__")]
    assert names == sorted(mdn.__all__)
    assert {"MDNRegressor", "plots", "fit", "Mixture"} <= set(names)
    assert all(getattr(mdn, name) is not None for name in names)


def test_plots_are_imported_on_first_use():
    code = "import sys, mdnjax; print('mdnjax.plots' in sys.modules, mdnjax.plots.ribbon.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "ribbon"]


def test_the_version_and_the_licence_are_those_of_the_package():
    assert mdn.__version__ == importlib.metadata.version("mdnjax")
    folder = Path(mdn.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "LICENSE").read_text().startswith("MIT License")


def test_all_commands_are_listed_with_a_sentence(capsys):
    listed = dict(commands())
    assert {"inverse_sine", "tabular", "predict", "posterior", "sweep", "benchmark"} <= set(listed)
    assert all(sentence.endswith((".", "`.")) for sentence in listed.values())
    assert main([]) == 0
    assert all(name in capsys.readouterr().out for name in ["tabular"])
    assert main(["tabular"]) == 2
    assert "python -m experiments.tabular" in capsys.readouterr().err
