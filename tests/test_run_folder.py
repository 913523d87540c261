"""Run folders: only one run at a time uses a folder, and no files of another run are lost."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments import locks
from experiments.command import UserError
from experiments.run_folder import create_run_folder

FILES = ("metrics.json",)


@pytest.fixture(autouse=True)
def unlocked():
    with locks.released():
        yield


def reserves(folder, seed):
    """Returns whether a run with this seed can reserve the folder."""
    try:
        create_run_folder({"seed": seed}, folder, FILES, overwrite=True)
    except UserError as error:
        return "another run is using" not in str(error)
    return True


@pytest.mark.parametrize("attempt", range(5))
def test_only_one_of_many_runs_reserves_a_new_folder(tmp_path, attempt):
    with ThreadPoolExecutor(16) as pool:
        reserved = list(pool.map(lambda seed: reserves(tmp_path / "run", seed), range(16)))
    assert sum(reserved) == 1
    assert (tmp_path / "run" / "config.yaml").read_text() == f"seed: {reserved.index(True)}\n"


def test_a_folder_stays_locked_until_the_command_ends(tmp_path):
    with locks.released():
        assert reserves(tmp_path, 1)
        (tmp_path / "metrics.json").write_text("{}")
        assert not reserves(tmp_path, 2)
        assert not reserves(tmp_path, 1)
        assert (tmp_path / "metrics.json").exists()
    assert reserves(tmp_path, 2)
    assert not (tmp_path / "metrics.json").exists()
