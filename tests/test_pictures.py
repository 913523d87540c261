"""The pictures of the pages: each is that of a command that is named, and the command that compares them finds differences."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from experiments import pictures
from experiments.pictures import ROOT, SOURCES
from tests.commands import assert_one_line_error, run

# Pictures that no command draws again: of a page in a browser, of the examples in Python, and of how fast a machine is.
OTHERS = {"experiments/report.png", "experiments/regressor.png", "mdnjax/fit.png"}
OTHERS |= {f"experiments/benchmark/{name}.png" for name in ("mixture", "quality", "speed")}


def test_every_picture_of_a_page_has_a_command():
    of_commands = {shown for source in SOURCES.values() for shown in source.pictures.values()}
    committed = {
        str(path.relative_to(ROOT)) for part in ("mdnjax", "experiments", "configs") for path in (ROOT / part).rglob("*.png")
    }
    assert of_commands | OTHERS == committed
    assert not of_commands & OTHERS


@pytest.fixture
def commands_that_copy(monkeypatch):
    """Replaces the new processes of commands by copies of the pictures of the pages; the names of the sources are returned."""
    names, run_process = [], subprocess.run

    def copy(command: Any, **options: Any) -> Any:
        if "-m" not in command:  # jax and platform ask for the processor
            return run_process(command, **options)
        folder: Any = Path(next(word for word in command if word.startswith("output=")).removeprefix("output="))
        names.append(folder.name)
        for made, shown in SOURCES[folder.name].pictures.items():
            (folder / made).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / shown, folder / made)
        if folder.name == "robot_arm":
            picture = matplotlib.image.imread(ROOT / "experiments" / "arm.png")
            matplotlib.image.imsave(folder / "figures" / "arm.png", picture[::-1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", copy)
    return names


def test_equal_pictures_pass_and_others_are_named(tmp_path, commands_that_copy):
    done = run("pictures", f"output={tmp_path / 'equal'}", "sources=[projectile,table]")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("0.0000") == 5
    assert commands_that_copy == ["projectile", "table"]
    assert (tmp_path / "equal" / "diabetes.csv").read_text().count("\n") == 443
    done = run("pictures", f"output={tmp_path / 'other'}", "sources=[robot_arm]")
    assert_one_line_error(done, "experiments/arm.png", status=1)
    assert "arm_errors" not in done.stderr
    assert_one_line_error(run("pictures", "sources=[robot_arms]"), "robot_arm")


def test_a_picture_that_is_not_drawn_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "run", lambda words: None)
    with pytest.raises(pictures.command.RunFailed, match=r"wrote no figures/angles\.png, which is experiments/angles\.png"):
        pictures.draw(pictures.Pictures(output=tmp_path, sources=("projectile",)), overwrite=True)


def test_a_command_that_fails_ends_the_comparison(tmp_path):
    with pytest.raises(pictures.command.RunFailed, match="exit status 2"):
        pictures.run("robot_arm seeed=3")
