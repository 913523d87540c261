"""Runs the commands for problems with a known density on shortened configurations."""

import csv
import json

import numpy as np
import pytest

import mdnjax as mdn
from experiments import density, robot_arm
from mdnjax.data import SOURCES
from tests.commands import assert_not_blank, assert_one_line_error, run

SMALL = ["data.num_train=60", "data.num_validation=20", "data.num_test=100", "train.num_steps=20", "train.report_every=10"]
SMALL += ["model.hidden_sizes=[5]"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Trains an ensemble whose number of components is selected from the data."""
    folder = tmp_path_factory.mktemp("density") / "run"
    words = ["selection.num_components=[1,3]", "ensemble.num_members=2", "ensemble.num_restarts=2"]
    return folder, run("density", *SMALL, *words, "data.name=skew_normal", f"output={folder}")


def test_a_density_is_estimated_and_scored(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert "Number of components" in process.stdout
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["mdn"]["entropy"] == pytest.approx(-1.61640, abs=1e-5)
    assert metrics["mdn"]["num_components"] in (1, 3)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == {*density.FILES, "config.yaml"}
    for path in (folder / "figures").iterdir():
        assert_not_blank(path)


def test_the_model_file_holds_the_pooled_mixture(done):
    folder, _ = done
    metrics = json.loads((folder / "metrics.json").read_text())
    test = SOURCES["skew_normal"][0](0, num_train=60, num_validation=20, num_test=100).test
    mixture = mdn.load(folder / "model.safetensors")(test.x)
    assert mixture.logits.shape == (100, 2 * metrics["mdn"]["num_components"])
    assert np.mean(mdn.nll(mixture, test.y)) == pytest.approx(metrics["mdn"]["test_nll"], rel=1e-5)


def test_a_sweep_gives_the_same_model_to_the_last_bit(done, tmp_path):
    """A sweep selects the same number of components and pools the same networks; its best model equals that of the run."""
    folder, _ = done
    swept = run("sweep", folder / "config.yaml", f"output={tmp_path / 'sweep'}")
    assert swept.returncode == 0, swept.stderr
    assert "trying 3 components (2 of 2)" in swept.stderr
    with open(tmp_path / "sweep" / "members.csv") as file:
        (row,) = csv.DictReader(file)
    mdn_metrics = json.loads((folder / "metrics.json").read_text())["mdn"]
    assert int(row["num_components"]) == mdn_metrics["num_components"]
    for name in ("train_nll", "validation_nll", "test_nll", "excess_nll"):
        assert float(row[name]) == pytest.approx(mdn_metrics[name], rel=1e-6), name
    x = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]
    a, b = (mdn.load(path)(x) for path in (tmp_path / "sweep" / "best.safetensors", folder / "model.safetensors"))
    np.testing.assert_array_equal(a.logits, b.logits)
    planned = run("sweep", folder / "config.yaml", f"output={tmp_path / 'other'}", "--dry-run")
    assert "num_components: auto for 1 member;" in planned.stdout


def test_the_arm_has_both_solutions(tmp_path):
    """A short training is enough here; the README has the full command."""
    words = ["data.num_train=200", "data.num_validation=20", "data.num_test=60", "train.num_steps=300", "train.report_every=300"]
    done = run("robot_arm", *words, "model.hidden_sizes=[16]", f"output={tmp_path / 'arm'}")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "arm" / "metrics.json").read_text())["robot_arm"]
    assert found["rms_most_probable_mode"] < found["rms_conditional_mean"]
    assert found["share_both_found"] > 0.5
    assert {str(path.relative_to(tmp_path / "arm")) for path in (tmp_path / "arm").rglob("*.*")} == {
        *robot_arm.FILES,
        "config.yaml",
    }
    for path in (tmp_path / "arm" / "figures").iterdir():
        assert_not_blank(path)


@pytest.mark.parametrize(
    ("module", "words", "expected"),
    [
        ("density", ["data.name=robot_arm"], ["data.name", "a known density"]),
        ("density", ["data.name=econ_densty"], ["did you mean 'econ_density'?"]),
        ("density", ["model.num_components=some"], ["got 'some', expected a whole number from 1 to 100000, or auto"]),
        ("density", ["train.x_noise=silverman"], ["expected a number from 0 to 1e15, or rule_of_thumb"]),
        ("density", ["train.dropout=1.0"], ["train.dropout", "got 1.0"]),
        ("density", ["train.patience=0"], ["train.patience", "a number >= 1"]),
        ("density", ["train.batch_size=10"], ["train: batch_size: got 10 with optimizer.name 'lbfgs', expected null"]),
        ("density", ["train.loss=natural_em"], ["train: loss: got 'natural_em'", "expected 'nll'"]),
        (
            "density",
            ["model.line=true", "train.init.name=glorot"],
            ["init.name: got 'glorot' with model.line true, expected 'data'"],
        ),
        ("robot_arm", ["data.name=sinusoid"], ["expected 'robot_arm'"]),
    ],
)
def test_mistakes_are_one_line(module, words, expected, tmp_path):
    assert_one_line_error(run(module, *words, f"output={tmp_path / 'x'}"), *expected)


def test_each_member_of_a_sweep_has_its_own_candidates_and_validation_points(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "train: {num_steps: 10, report_every: 10, x_noise: 0.0}\nmodel: {num_components: auto, hidden_sizes: [5]}\n"
        "data: {num_train: 60, num_test: 100}\n"
        "list:\n  - {selection.num_components: [1], data.num_validation: 20}\n"
        "  - {selection.num_components: [2, 3], data.num_validation: 30}\n"
    )
    done = run("sweep", tmp_path / "s.yaml", f"output={tmp_path / 'sweep'}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "sweep" / "members.csv") as file:
        numbers = [int(row["num_components"]) for row in csv.DictReader(file)]
    assert numbers[0] == 1
    assert numbers[1] in (2, 3)
