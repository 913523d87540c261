"""The sweep command: workers and interrupted runs all write the table of an uninterrupted sweep."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

import mdnjax as mdn
from mdnjax.data import sinusoid
from tests.commands import assert_not_blank, assert_one_line_error, run
from tests.sweeps import SMALL, rows, start

KEYS = ("model.scale_floor", "train.optimizer.learning_rate")
NAMES = [
    "members.csv",
    "summary.csv",
    "best.yaml",
    "best.safetensors",
    "environment.json",
    "config.yaml",
    "figures",
    "parts",
    "report.html",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "s.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def sweep(file):
    def run_sweep(*words, **environment):
        return run("sweep", file, *words, **environment)

    return run_sweep


@pytest.fixture(scope="module")
def done(sweep, file):
    folder = file.parent / "whole"
    return folder, sweep(f"output={folder}", "report=true")


def test_it_runs_and_prints_its_folder(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert "18 members of 6 settings" in process.stdout
    assert f"results: {folder}" in process.stdout
    assert "sweep: 18/18 members" in process.stderr
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_every_member_has_a_row_with_its_settings(done):
    table = rows(done[0])
    assert [int(row["member"]) for row in table] == list(range(18))
    assert [row["seed"] for row in table[:4]] == ["0", "1", "2", "0"]
    assert {row["model.scale_floor"] for row in table} == {"0.01", "0.1"}
    assert {row["train.optimizer.learning_rate"] for row in table} == {"0.01", "0.02", "1e+30"}
    for row in table:
        assert float(row["excess_nll"]) == float(row["test_nll"]) - float(row["truth_nll"])
        assert (row["status"] == "finished") == (row["steps"] == "60")


def test_members_that_diverge_are_marked_and_do_not_affect_others(done):
    table = rows(done[0])
    diverged = [row for row in table if row["status"] == "diverged"]
    assert diverged
    assert {row["train.optimizer.learning_rate"] for row in diverged} == {"1e+30"}
    assert all(np.isfinite(float(row["test_nll"])) for row in table)


def test_summary_is_of_the_members_and_ranked_by_validation(done):
    summary, table = rows(done[0], "summary.csv"), rows(done[0])
    ranked = [float(row["validation_nll_mean"]) for row in summary if row["validation_nll_mean"]]
    assert ranked == sorted(ranked)
    assert [int(row["rank"]) for row in summary] == list(range(1, 7))
    for row in summary:
        of_setting = [member for member in table if all(member[key] == row[key] for key in KEYS)]
        finished = [float(member["test_nll"]) for member in of_setting if member["status"] == "finished"]
        assert (int(row["num_members"]), int(row["num_diverged"])) == (3, 3 - len(finished))
        if len(finished) == 3:
            expected = {"mean": np.mean(finished), "sd": np.std(finished, ddof=1), "min": min(finished), "max": max(finished)}
            expected |= {"median": np.median(finished), "se": np.std(finished, ddof=1) / np.sqrt(3)}
            for name, value in expected.items():
                assert float(row[f"test_nll_{name}"]) == pytest.approx(value, rel=1e-12)


def test_a_member_equals_its_run_alone_and_the_best_can_be_run_again(done, tmp_path):
    """The study's command with best.yaml gives the same numbers to the last digit, and the same network."""
    folder, _ = done
    again = run("inverse_sine", folder / "best.yaml", f"output={tmp_path / 'best'}", "regression.num_steps=5")
    assert again.returncode == 0, again.stderr
    alone = json.loads((tmp_path / "best" / "metrics.json").read_text())
    best = rows(folder, "summary.csv")[0]
    of_setting = [row for row in rows(folder) if all(row[key] == best[key] for key in KEYS)]
    (row,) = [row for row in of_setting if row["seed"] == str(alone["seed"])]
    for name in ("train_nll", "validation_nll", "test_nll", "truth_nll", "truth_train_nll", "excess_nll"):
        assert float(row[name]) == alone["mdn"][name]
    models = (tmp_path / "best" / "model.safetensors", folder / "best.safetensors")
    x = np.linspace(-5, 5, 7, dtype=np.float32)[:, None]
    a, b = (mdn.load(path)(x) for path in models)
    np.testing.assert_array_equal(a.logits, b.logits)
    test = sinusoid.make_splits(alone["seed"], num_train=60, num_validation=20, num_test=200).test
    assert float(np.mean(mdn.nll(mdn.load(models[1])(test.x), test.y))) == pytest.approx(float(row["test_nll"]), rel=1e-5)


@pytest.mark.parametrize("name", ["by_model.scale_floor", "by_train.optimizer.learning_rate", "map", "learning_curves"])
def test_figures_are_not_blank(done, name):
    assert_not_blank(done[0] / "figures" / f"{name}.png")


def test_a_finished_sweep_is_not_trained_again(done, sweep):
    folder, first = done
    before = {path: path.stat().st_mtime_ns for path in (folder / "parts").iterdir()}
    again = sweep(f"output={folder}")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "parts").iterdir()} == before


def test_other_chunks_and_other_devices_give_the_same_table(done, sweep, tmp_path):
    other = sweep(f"output={tmp_path / 'other'}", "chunk_members=9", JAX_NUM_CPU_DEVICES="1")
    assert other.returncode == 0, other.stderr
    assert rows(tmp_path / "other") == rows(done[0])


def test_workers_of_which_one_is_killed_give_the_same_table(done, sweep, tmp_path):
    folder = tmp_path / "workers"
    parts = folder / "parts"

    def kill_worker_after_first_part():
        until = time.time() + 100
        while not (parts.is_dir() and [*parts.iterdir()]) and time.time() < until:
            time.sleep(0.01)
        children = psutil.Process().children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        workers[0].kill()
        return len(workers)

    with ThreadPoolExecutor(1) as thread:
        num_workers = thread.submit(kill_worker_after_first_part)
        process = sweep(f"output={folder}", "cluster.workers=2")
    assert process.returncode == 0, process.stderr
    assert num_workers.result() == 2
    assert "18/18 members" in process.stderr
    assert rows(folder) == rows(done[0])
    assert {path.name for path in folder.iterdir()} == set(NAMES) - {"report.html"}


def test_a_sweep_that_was_killed_and_started_again_gives_the_same_table(done, sweep, file, tmp_path):
    folder = tmp_path / "killed"
    finished = 0
    for _ in range(2):
        process = start(file, f"output={folder}")
        until = time.time() + 100
        while len(list(folder.glob("parts/0*"))) <= finished and time.time() < until:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (folder / "members.csv").exists()
        finished = len(list(folder.glob("parts/0*")))
    damaged, *others = sorted(folder.glob("parts/0*"))
    damaged.write_bytes(damaged.read_bytes()[:-50])
    parts = {path.name: path.stat().st_mtime_ns for path in others}
    again = sweep(f"output={folder}")
    assert again.returncode == 0, again.stderr
    assert f"ignored a damaged file of finished members: cannot read {damaged}" in again.stderr
    assert rows(folder) == rows(done[0])
    assert {name: (folder / "parts" / name).stat().st_mtime_ns for name in parts} == parts


def test_another_sweeps_folder_is_refused(done, sweep):
    folder, _ = done
    before = rows(folder)
    assert_one_line_error(sweep(f"output={folder}", "num_seeds=4"), "another configuration", "num_seeds", "--overwrite")
    assert rows(folder) == before


def test_a_dry_run_prints_the_plan_and_trains_nothing(sweep, tmp_path):
    process = sweep(f"output={tmp_path / 'never'}", "grid.model.num_components=[2, 3]", "--dry-run")
    assert process.returncode == 0, process.stderr
    assert "36 members: 12 settings x 3 seeds, in 2 groups" in process.stdout
    assert "s in total" in process.stdout
    assert not (tmp_path / "never").exists()
