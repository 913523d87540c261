"""Runs the command of the study on a shortened configuration, and checks its output, files and errors."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mdnjax as mdn
from experiments.command import UserError
from experiments.inverse_sine import FILES
from experiments.pictures import difference_of
from experiments.run_folder import create_run_folder
from experiments.schemas import InverseSine
from mdnjax.config import load
from mdnjax.data import sinusoid
from tests.commands import ROOT, SHORT, UNSTABLE, assert_not_blank, assert_one_line_error, run

NAMES = [Path(name).stem for name in FILES if name.startswith("figures/")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    return folder, run("inverse_sine", *SHORT, f"output={folder}", "seed=3", "report=true")


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_it_runs_and_prints_its_folder(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert str(folder) in process.stdout
    assert "excess over the truth" in process.stdout
    assert "mixture: step 40/40" in process.stderr


def test_the_run_folder_is_complete(done):
    folder, _ = done
    expected = {"config.yaml", "metrics.json", "timing.json", "history.csv", "environment.json", "model.safetensors"}
    assert {path.name for path in folder.iterdir()} == expected | {"test_scores.npz", "report.html", "figures"}
    assert {path.stem for path in (folder / "figures").iterdir()} == set(NAMES)
    assert {"python", "packages", "devices", "commit"} <= set(json.loads((folder / "environment.json").read_text()))
    assert sum(json.loads((folder / "timing.json").read_text()).values()) > 0


def test_metrics_are_complete(done):
    metrics = metrics_of(done[0])
    assert metrics["seed"] == 3
    assert metrics["mdn"]["entropy"] == pytest.approx(1.28800943736, abs=1e-8)
    assert metrics["mdn"]["excess_nll"] == metrics["mdn"]["test_nll"] - metrics["mdn"]["truth_nll"]
    assert metrics["regression"]["inverse"]["floor_mse"] == pytest.approx(21.30754, abs=1e-5)
    for direction in ("forward", "inverse"):
        assert metrics["regression"][direction]["train_mse"] > 0
        assert metrics["regression"][direction]["test_mse"] > 0


def test_the_saved_model_gives_the_same_metrics(done):
    folder, _ = done
    test = sinusoid.make_splits(3, num_train=60, num_validation=20, num_test=200).test
    test_nll = np.mean(np.asarray(mdn.nll(mdn.load(folder / "model.safetensors")(test.x), test.y), np.float64))
    assert test_nll == pytest.approx(metrics_of(folder)["mdn"]["test_nll"], rel=1e-5)


def test_history_ends_at_the_last_step(done):
    with open(done[0] / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40]
    assert float(rows[-1]["validation_nll"]) == pytest.approx(metrics_of(done[0])["mdn"]["validation_nll"], rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_not_blank(done, name):
    assert_not_blank(done[0] / "figures" / f"{name}.png")


@pytest.mark.parametrize("name", ["ribbon", "intervals", "density", "calibration", "overview"])
def test_the_pictures_of_the_pages_are_laid_out_as_those_of_the_command(done, name):
    """A short training draws other curves in the same axes; the average colours are those of a page with little ink."""
    committed = ROOT / "experiments" / f"{'inverse_sine' if name == 'overview' else name}.png"
    assert difference_of(done[0] / "figures" / f"{name}.png", committed) < 0.12


def test_the_resolved_configuration_gives_the_same_bits(done, tmp_path):
    folder, _ = done
    again = run("inverse_sine", folder / "config.yaml", f"output={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()


def test_another_configuration_does_not_overwrite_it(done, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done[0], folder)
    before = metrics_of(folder)
    assert_one_line_error(
        run("inverse_sine", *SHORT, f"output={folder}", "seed=4"), "another configuration", "seed", "--overwrite"
    )
    assert metrics_of(folder) == before
    create_run_folder(
        load(InverseSine, folder / "config.yaml", ["runtime.compile_cache=false", "output=x"]), folder, FILES, False
    )  # raises nothing, since these keys do not change the results


def test_overwrite_replaces_a_run_and_one_component_is_drawn_without_a_warning(done, tmp_path):
    folder = shutil.copytree(done[0], tmp_path / "run")
    words = [*SHORT, "seed=4", "model.num_components=1"]
    overwritten = run("inverse_sine", *words, f"output={folder}", "--overwrite")
    assert overwritten.returncode == 0, overwritten.stderr
    assert metrics_of(folder)["seed"] == 4


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for words in ([], ["--overwrite"]):
        assert_one_line_error(run("inverse_sine", *SHORT, f"output={tmp_path}", *words), "thesis.tex", "not from a run")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("config", ["title: my blog", "", "seed: [", None])
def test_a_folder_that_only_resembles_a_run_is_left_alone(config, tmp_path):
    for name in ("metrics.json", "figures/data.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="not from a run"):
        create_run_folder(InverseSine(), tmp_path, FILES, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("module", ["benchmark", "sweep"])
def test_every_command_leaves_a_foreign_folder_alone(module, tmp_path):
    folder = tmp_path / "train"  # the benchmark "train" writes here
    folder.mkdir()
    (folder / "metrics.json").write_text("mine")
    words = ["num_seeds=2", ROOT / "configs" / "inverse_sine.yaml", f"output={folder}"]
    done = run(module, *(words if module == "sweep" else [f"output={tmp_path}"]), "--overwrite")
    assert_one_line_error(done, "metrics.json", "not from a run")
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize("where", ["/proc/nowhere", "FILE/below"])
def test_a_folder_that_cannot_be_written(where, tmp_path):
    (tmp_path / "FILE").write_text("")
    assert_one_line_error(
        run("inverse_sine", f"output={where.replace('FILE', str(tmp_path / 'FILE'))}"), "output", "cannot write"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["modle.num_components=3"], ["modle", "did you mean 'model'?"]),
        (["train.num_steps=x", "seed=-1"], ["train.num_steps: got 'x'", "seed: got -1"]),
        (["nothing.yaml"], ["cannot read nothing.yaml", "No such file"]),
        (["a.yaml", "b.yaml"], ["expected one"]),
        (["--speed"], ["unrecognized arguments: --speed", "--help"]),
        (
            ["train.optimizer.options.b1=much", "regression.optimizer.options.decay=x"],
            ["train.optimizer: optax", "regression.opt"],
        ),
        (["seed"], ["got 'seed', expected seed=VALUE"]),
        (["output="], ["output: got null"]),
        (["output=."], ["output: got '.', expected a folder"]),
        (["model=3", "model.num_components=4"], ["'model.num_components' and 'model' are both given"]),
        (["model.hidden_sizes=[3000000000]"], ["model.hidden_sizes.0: got 3000000000, expected a number <= 100000"]),
    ],
)
def test_bad_input_is_one_line(words, expected, tmp_path):
    output = [] if any(word.startswith("output") for word in words) else [f"output={tmp_path / 'never'}"]
    assert_one_line_error(run("inverse_sine", *words, *output), *expected)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("word", "model"), [("train.optimizer", "model.safetensors"), ("regression.optimizer", "regression.safetensors")]
)
def test_divergence_saves_the_last_finite_state(word, model, tmp_path):
    done = run("inverse_sine", *SHORT, *UNSTABLE, f"output={tmp_path / 'run'}", f"{word}.learning_rate=1e30")
    assert_one_line_error(done, "no longer finite after step", model, status=1)
    assert (tmp_path / "run" / model).exists()
    if word == "train.optimizer":
        assert metrics_of(tmp_path / "run")["status"] == "diverged"
        assert np.isfinite(mdn.load(tmp_path / "run" / model)(np.zeros((3, 1), np.float32)).logits).all()


def test_an_interrupted_run_leaves_no_partial_files(tmp_path):
    words = [*SHORT, "train.num_steps=100000000", f"output={tmp_path / 'run'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.inverse_sine", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("mixture: step"):
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1] == "error: interrupted"
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == ["config.yaml"]


def test_an_interrupt_while_importing_is_one_line():
    code = "import sys; sys.argv = ['-m']; import experiments, os, signal; os.kill(os.getpid(), signal.SIGINT); print('survived')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize("module", ["inverse_sine", "benchmark"])
def test_a_missing_platform_is_one_line(module, tmp_path):
    done = run(module, f"output={tmp_path / 'never'}", JAX_PLATFORMS="cuda", CUDA_VISIBLE_DEVICES="")
    assert_one_line_error(done, "no device to run on", "cuda")


def test_help_lists_every_key_with_the_value_that_the_command_uses():
    text = " ".join(run("inverse_sine", "--help").stdout.split())
    for words in (
        "[configs/inverse_sine.yaml]",
        "train.optimizer.learning_rate number, above 0 [0.02]",  # of the file; the default is another one
        "data.num_train integer, 2 or more [900]",
        "model.hidden_sizes list of integers, each 1 to 100000 [20]",
        "train.dropout number, 0 or more and below 1 [0.0]",
        "regression.optimizer.name text [rmsprop]",
    ):
        assert words in text


@pytest.mark.parametrize("name", ["inverse_sine.yaml", "inverse_sine_original.yaml"])
def test_configurations_of_the_repository_are_valid(name):
    assert load(InverseSine, ROOT / "configs" / name).data.name == "sinusoid"
