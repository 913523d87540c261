"""Sweeps with members that diverge, interrupted searches, and errors of the command line."""

import time

import pytest

from tests.commands import ROOT, UNSTABLE, assert_one_line_error, run
from tests.sweeps import SMALL, rows, start


def test_a_member_whose_scores_are_not_finite_is_not_the_best(tmp_path):
    """With two training rows and no floor a scale goes to 0, and so does the density everywhere else."""
    words = [
        *UNSTABLE,
        "seed=9",
        "data.num_train=2",
        "data.num_validation=50",
        "data.num_test=200",
        "train.num_steps=3000",
        "train.x_noise=0",
    ]
    words += ["train.report_every=300", "model.num_components=1", "train.optimizer.schedule=constant_schedule"]
    words += ["train.optimizer.learning_rate=0.3", "grid.model.scale_floor=[0, 0.3]"]
    # Compiled as for users, with XLA_FLAGS empty. Whether the loss overflows depends on the rounding of the processor: where it
    # does not, the scores are finite but bad. That a rate of 1e30 always diverges is tested with the small sweep.
    done = run("sweep", ROOT / "configs" / "inverse_sine.yaml", *words, f"output={tmp_path / 'odd'}", XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    without_floor, with_floor = rows(tmp_path / "odd")
    nll, nll_with_floor = (float(row["validation_nll"] or "inf") for row in (without_floor, with_floor))
    assert without_floor["status"] == "diverged" or nll > nll_with_floor + 1
    assert with_floor["status"] == "finished"
    assert rows(tmp_path / "odd", "summary.csv")[0]["model.scale_floor"] == "0.3"


def test_a_sweep_whose_members_all_diverged_fails(tmp_path):
    done = run(
        "sweep",
        *UNSTABLE,
        *("data.num_train=30", "data.num_test=50", "train.num_steps=40", "train.report_every=20", "model.num_components=2"),
        *("train.optimizer.name=sgd", "train.optimizer.learning_rate=1e30", "num_seeds=2", f"output={tmp_path / 'all'}"),
        ROOT / "configs" / "inverse_sine.yaml",
    )
    assert_one_line_error(done, "all 2 members diverged", status=1)
    assert {row["status"] for row in rows(tmp_path / "all")} == {"diverged"}


def test_a_search_continues_where_it_was_killed(tmp_path):
    pytest.importorskip("optuna")
    text = SMALL.split("grid:")[0].replace("num_seeds: 3", "num_seeds: 2")
    text += "search:\n  num_trials: 4\n  batch_size: 2\n  space:\n    model.scale_floor: {choice: [0.01, 0.1]}\n"
    text += "    train.optimizer.learning_rate: {log_uniform: [1.0e-4, 0.1]}\n"
    path = tmp_path / "search.yaml"
    path.write_text(text)
    whole = run("sweep", path, f"output={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    assert "8 members of 4 settings" in whole.stdout
    assert (tmp_path / "whole" / "search.journal").exists()
    process = start(path, f"output={tmp_path / 'killed'}")
    while len(list(tmp_path.glob("killed/parts/0*"))) < 6:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.communicate()
    min(tmp_path.glob("killed/parts/0*")).unlink()  # a part of a trial whose result Optuna has
    again = run("sweep", path, f"output={tmp_path / 'killed'}", "cluster.workers=1")  # with a worker, from the same proposals
    assert again.returncode == 0, again.stderr
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["got no sweep file", "configs/sweeps"]),
        (["nothing.yaml"], ["cannot read nothing.yaml"]),
        (["FILE", "train.optimizer.options.b1=much"], ["train.optimizer: optax"]),
        (["FILE", "grid.model.num_components=[0]"], ["model.num_components: got 0"]),
        (["FILE", "num_seeds"], ["expected num_seeds=VALUE"]),
        (["FILE", "--dryrun"], ["unrecognized arguments: --dryrun"]),
    ],
)
def test_invalid_input_is_a_one_line_error(words, expected, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(SMALL)
    done = run("sweep", *(file if word == "FILE" else word for word in words), f"output={tmp_path / 'never'}")
    assert_one_line_error(done, *expected)
    assert not (tmp_path / "never").exists()
