"""The command that puts finished runs side by side."""

import numpy as np
import pytest

from tests.commands import SHORT, assert_one_line_error, run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs on the same test points, which differ in one setting, and one on other points."""
    folder = tmp_path_factory.mktemp("runs")
    words = {"first": [], "second": ["train.num_steps=20"], "other": ["data.seed=5"]}
    for name, more in words.items():
        done = run("density", *SHORT[:-3], "data.num_test=300", *SMALL, f"output={folder / name}", *more)
        assert done.returncode in (0, 1), done.stderr
    return folder


SMALL = ["model.num_components=2", "model.hidden_sizes=[4]", "train.optimizer.name=adam", "train.optimizer.learning_rate=0.01"]


def test_settings_scores_and_paired_differences_are_those_of_the_files(folders, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = run("compare", folders / "first", folders / "second")
    assert done.returncode == 0, done.stderr
    settings, scores, differences = (done.stdout.split(title)[1] for title in ("Settings that differ", "Scores", "Difference of"))
    assert "train.num_steps" in settings.split("Scores")[0]
    assert "seed" not in settings.split("Scores")[0]
    assert "test_nll" in scores
    first, second = (np.load(folders / name / "test_scores.npz")["nll"] for name in ("first", "second"))
    row = next(line for line in differences.splitlines() if "NLL" in line).replace("│", " ").split()
    assert float(row[2]) == pytest.approx(np.mean(second - first), rel=1e-3)
    assert float(row[3]) == pytest.approx(np.std(second - first, ddof=1) / 300**0.5, rel=1e-3)


def test_runs_on_other_rows_have_no_paired_difference(folders):
    done = run("compare", folders / "first", folders / "other")
    assert "Difference of" not in done.stdout
    assert "was tested on other rows" in done.stdout


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["first"], ["got one run, expected two or more"]),
        (["first", "first"], ["twice"]),
        (["first", "never"], ["not there", "expected the folder of a finished run"]),
        (["first", "first/metrics.json"], ["a file", "expected the folder of a finished run"]),
        (["first", "."], ["got no metrics.json"]),
    ],
)
def test_what_is_no_finished_run_is_one_line(folders, names, expected):
    assert_one_line_error(run("compare", *(folders / name for name in names)), *expected)
