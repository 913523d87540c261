"""The README's own words: its example runs, its links lead somewhere, its commands are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.members.plan import read
from tests.commands import use_test_cache

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in ROOT.rglob("README.md") if not any(part[0] == "." for part in path.relative_to(ROOT).parts))


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def printed_by(program, folder, monkeypatch):
    """What a program prints in a folder of its own, compiled with little optimisation, since it trains for long."""
    use_test_cache(monkeypatch)
    flags = os.environ.get("XLA_FLAGS", "").replace("optimization_level=0", "optimization_level=1")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_of_the_project_give_sensible_numbers(tmp_path, monkeypatch):
    regressor, training, statistics = python_blocks("README.md")
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170
    assert len([line for line in training.splitlines() if line.strip()]) <= 15
    printed = printed_by(regressor + training + statistics, tmp_path, monkeypatch)
    assert 0.8 <= float(re.findall(r"share of targets inside: (\S+)", printed)[0]) <= 1  # 42 rows, intervals of 90 %
    assert (tmp_path / "intervals.png").exists()
    scales, modes = (list(map(float, text.split())) for text in re.findall(r"(?:scales|modes): \[(.*?)\]", printed))
    assert scales == pytest.approx([0.1, 0.1], rel=0.2)  # the noise of the data
    assert modes == pytest.approx([-0.8, 0.8], abs=0.05)
    assert "Estimate(value=" in printed
    assert float(printed.split()[-1].strip("[]")) == pytest.approx(3, abs=0.1)  # E[second | first = 3] of two separate clusters


def test_the_example_of_a_network_of_ones_own_runs(tmp_path, monkeypatch):
    exported, _, own_network = python_blocks("mdnjax/README.md")
    printed = printed_by(exported + own_network, tmp_path, monkeypatch)
    assert "(2, 2)" in printed
    assert "5 Diagonal components" in printed


def test_the_good_and_the_bad_fit_of_the_page_are_good_and_bad(tmp_path, monkeypatch):
    block = next(block for block in python_blocks("mdnjax/README.md") if "fit.png" in block)
    printed = printed_by(block.replace("4000", "2000"), tmp_path, monkeypatch)
    (good, good_share), (bad, bad_share) = re.findall(r"test NLL (\S+), (\d+) %", printed)
    assert float(good) < 0 < float(bad)
    assert 86 <= int(good_share) <= 95
    assert int(bad_share) < 80
    assert (tmp_path / "fit.png").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_configurations_exist(page):
    text = page.read_text()
    for module in re.findall(r"python -m (experiments\.[a-z_]+)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    for path in re.findall(r"configs/\S+?\.yaml", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sweeps_that_are_shown_can_be_run(page, tmp_path, monkeypatch):
    """Every YAML block of a page is a sweep file, of as many settings as the page says."""
    monkeypatch.chdir(ROOT)
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
        (tmp_path / f"{number}.yaml").write_text(block)
        planned = read(tmp_path / f"{number}.yaml", ())
        assert planned.configs
        if "search" not in block:
            assert len(planned.settings) in (24, 320)
