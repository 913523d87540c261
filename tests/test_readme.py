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


def test_the_examples_run(tmp_path, monkeypatch):
    training, questions, trunk, regressor = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in training.splitlines() if line.strip()]) <= 15
    use_test_cache(monkeypatch)
    program, environment = training + questions + trunk + regressor, os.environ | {"PYTHONPATH": str(ROOT)}
    flags = os.environ.get("XLA_FLAGS", "").replace("optimization_level=0", "optimization_level=1")  # it trains for long
    environment["XLA_FLAGS"] = flags
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    assert "(1000, 2, 1)" in done.stdout
    assert "Estimate(value=" in done.stdout
    assert len([line for line in trunk.splitlines() if line.strip()]) <= 10
    assert float(re.findall(r"own trunk: (\S+)", done.stdout)[0]) < -0.5
    assert float(done.stdout.split()[0]) < -0.5  # an untrained network starts above 0
    assert "(42,) (42, 2) (42, 3)" in done.stdout
    assert (tmp_path / "regressor.safetensors").exists()


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
