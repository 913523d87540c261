"""The README's own words: its examples run and give the numbers and pictures of the page, its links lead somewhere."""

import os
import re
import shlex
from pathlib import Path

import pytest

from experiments import command
from experiments.__main__ import commands
from experiments.members.plan import read
from experiments.pictures import difference_of
from mdnjax.config import keys
from tests.commands import TEST_CACHE, run, run_program

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in ROOT.rglob("README.md") if not any(part[0] == "." for part in path.relative_to(ROOT).parts))


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def printed_by(program, folder):
    """What a program prints in a folder of its own, compiled with little optimisation, since it trains for long."""
    flags = os.environ.get("XLA_FLAGS", "").replace("optimization_level=0", "optimization_level=1")
    done = run_program(program, folder, XLA_FLAGS=flags, MPLBACKEND="agg", **TEST_CACHE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers_after(words, text):
    """The lists of numbers in brackets after each of the words."""
    return [list(map(float, re.findall(rf"{word}: \[(.*?)\]", text)[0].split())) for word in words]


def test_the_examples_of_the_project_give_sensible_numbers(tmp_path):
    regressor, training, statistics = python_blocks("README.md")
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170
    assert len([line for line in training.splitlines() if line.strip()]) <= 15
    probabilities = 'print("probabilities:", mdn.interval_prob(mixture, jnp.zeros(1), jnp.ones(1)))\n'
    program = regressor + training + statistics.replace("print(", probabilities + "print(")
    printed, page = printed_by(program, tmp_path), (ROOT / "README.md").read_text()
    share, share_of_page = (float(re.findall(r"share of targets inside: ([\d.]+)", text)[-1]) for text in (printed, page))
    assert 0.8 <= share == pytest.approx(share_of_page, abs=0.1)  # 42 rows, intervals of 90 %
    # Another processor rounds otherwise, and trains slightly different networks.
    for name, tolerance in (("lower ends", 15), ("upper ends", 15), ("scales", 0.01), ("modes", 0.02)):
        (found,), (expected,) = (numbers_after([name], text) for text in (printed, page))
        assert found == pytest.approx(expected, abs=tolerance), name
    (found,), expected = numbers_after(["probabilities"], printed), re.findall(r"\| x\): (\S+) and (\S+)", page)[0]
    assert found == pytest.approx(list(map(float, expected)), abs=0.02)
    # The picture moved by five pixels differs by 0.02.
    assert difference_of(tmp_path / "intervals.png", ROOT / "experiments" / "regressor.png") < 0.012
    scales, modes = numbers_after(["scales", "modes"], printed)
    assert scales == pytest.approx([0.1, 0.1], rel=0.2)  # the noise of the data
    assert modes == pytest.approx([-0.8, 0.8], abs=0.05)
    assert "Estimate(value=" in printed
    assert float(printed.split()[-1].strip("[]")) == pytest.approx(3, abs=0.1)  # E[second | first = 3] of two separate clusters


def test_the_example_of_a_network_of_ones_own_runs(tmp_path):
    page = (ROOT / "mdnjax" / "README.md").read_text()
    exported, guaranteed, simulated, _, own_network = python_blocks("mdnjax/README.md")
    fewer = '"likelihood.train.num_steps": 600, "likelihood.num_particles": 500}'
    simulated = simulated.replace('"likelihood.train.num_steps": 2000}', fewer).replace("]], 2000)", "]], 500)")
    assert fewer in simulated
    printed = printed_by(exported + guaranteed + simulated + own_network, tmp_path)
    (found, sds), (expected, _) = (re.findall(r"mean and sd: \[(.*?)\] \+- \[(.*?)\]", text)[0] for text in (printed, page))
    assert [*map(float, found.split())] == pytest.approx([*map(float, expected.split())], abs=0.3)
    assert [*map(float, sds.split())] == pytest.approx([0.3, 0.3], abs=0.15)
    assert "(2, 2)" in printed
    assert "True" in printed
    assert "5 Diagonal components" in printed


def test_the_good_and_the_bad_fit_of_the_page_are_good_and_bad(tmp_path):
    block = next(block for block in python_blocks("mdnjax/README.md") if "fit.png" in block)
    printed = printed_by(block.replace("4000", "2000"), tmp_path)
    (good, good_share), (bad, bad_share) = re.findall(r"test NLL (\S+), (\d+) %", printed)
    nll_of_page, share_of_page = re.findall(r"`good: test NLL (\S+), (\d+) %", (ROOT / "mdnjax" / "README.md").read_text())[0]
    assert float(good) == pytest.approx(float(nll_of_page), abs=0.1)
    assert int(good_share) == pytest.approx(int(share_of_page), abs=4)
    assert float(good) < 0 < float(bad)
    assert 86 <= int(good_share) <= 95
    assert int(bad_share) < 80
    assert difference_of(tmp_path / "fit.png", ROOT / "mdnjax" / "fit.png") < 1  # of equal size; the curves differ by chance


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


WITHOUT_KEYS = ("notebook", "compare")  # commands that have arguments of their own
PLACEHOLDERS = ("NAME", "CONFIG.yaml", "[CONFIG.yaml]", "FILE.yaml", "...")


@pytest.fixture
def schemas(monkeypatch):
    """Makes every command end after it has read its arguments; the schemas of the commands that were called are collected."""
    schemas, main = {}, command.main

    def read_only(module, purpose, schema, default, run, *arguments, **options):
        schemas[module] = schema
        main(module, purpose, schema, default, lambda *_, **__: None, *arguments, **options)

    monkeypatch.setattr(command, "main", read_only)
    return schemas


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_that_are_shown_are_accepted(page, schemas):
    text = page.read_text()
    shown = re.findall(r"`python -m experiments\.([^`]+)`", text) + re.findall(r"^python -m experiments\.(.+)$", text, re.M)
    for name, *words in {tuple(shlex.split(line)) for line in shown}:
        if name not in WITHOUT_KEYS and not {name, *words} & {*PLACEHOLDERS}:
            done = run(name, *words)
            assert done.returncode == 0, (name, words, done.stderr)


def test_the_keys_that_are_named_exist(schemas):
    for name in {*dict(commands())} - {*WITHOUT_KEYS}:
        run(name)
    known = {key.name for schema in schemas.values() for key in keys(schema)}
    sections = {key.partition(".")[0] for key in known if "." in key}
    known |= {key.rpartition(".")[0] for key in known} | {"model.safetensors"}  # sections, and a file
    for page in PAGES:
        named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.]+)[`=:]", page.read_text())
        assert {*named} <= known, (page, {*named} - known)


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
