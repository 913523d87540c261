"""Folders of runs: one run at a time in each, whoever comes first, and nothing of another run is lost."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments import locks
from experiments.command import UserError
from experiments.run_folder import create_run_folder

FILES = ("metrics.json",)


@pytest.fixture(autouse=True)
def given_back():
    with locks.released():
        yield


def wins(folder, number, **options):
    """Whether a run with this seed gets the folder."""
    try:
        create_run_folder({"seed": number}, folder, FILES, overwrite=True, **options)
    except UserError as error:
        return "another run is at work in" not in str(error)
    return True


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_runs_that_claim_a_fresh_folder_one_gets_it(tmp_path, attempt):
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: wins(tmp_path / "run", number), range(16)))
    assert sum(won) == 1
    assert (tmp_path / "run" / "config.yaml").read_text() == f"seed: {won.index(True)}\n"


def test_a_folder_is_held_until_the_command_ends(tmp_path):
    with locks.released():
        assert wins(tmp_path, 1)
        (tmp_path / "metrics.json").write_text("{}")
        assert not wins(tmp_path, 2)
        assert not wins(tmp_path, 1)
        assert (tmp_path / "metrics.json").exists()
    assert wins(tmp_path, 2)
    assert not (tmp_path / "metrics.json").exists()


def test_runs_of_one_configuration_may_share_a_folder(tmp_path):
    with locks.released():
        assert wins(tmp_path, 1, shared=True)
        assert wins(tmp_path, 1, shared=True)
        assert not wins(tmp_path, 2, shared=True)
        assert not wins(tmp_path, 1)
    assert wins(tmp_path, 2, shared=True)
