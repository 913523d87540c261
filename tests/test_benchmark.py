"""The benchmark: contenders do the same work, and the tables hold every contender that was timed."""

import csv
import functools
import json
import time

import numpy as np
import pytest

import mdnjax
from experiments.benchmark import (
    c_step,
    mdnjax_steps,
    mixture,
    peers,
    predictions,
    quality,
    small_fits,
    startup,
    train,
)
from experiments.benchmark.timing import Contender, ContenderFailed, Timing, disagreements, ratio, time_in_turn
from mdnjax.training.train import train_one
from tests.commands import assert_not_blank, assert_one_line_error, run


def test_every_contender_runs_in_every_round():
    order = []
    contenders = [Contender(name, lambda name=name: (order.append(name), time.sleep(0.002))[0], 1.0, 2) for name in "ab"]
    timings = time_in_turn(contenders, 3, lambda line: None)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"  # a round to warm up; each round starts with another contender
    assert all(len(timing.seconds) == 3 and timing.median >= 0.001 for timing in timings)


def test_a_slow_moment_that_affects_a_whole_round_does_not_change_the_ratio():
    assert ratio(Timing("a", [2.0, 20.0, 2.0, 40.0]), Timing("b", [1.0, 10.0, 1.0, 20.0])) == 2


@pytest.mark.parametrize(("check", "agrees"), [(1.0 + 1e-6, True), (1.0 + 1e-4, False), (float("nan"), False)])
def test_a_contender_with_another_result_is_named(check, agrees):
    contenders = [Contender("ours", lambda: None, 1.0, 1), Contender("other", lambda: None, check, 1)]
    assert (disagreements(contenders, 1e-5) == []) == agrees


def test_the_command_writes_its_table(tmp_path, monkeypatch):
    curve = train.CURVES["hidden layers of 20"]
    monkeypatch.setitem(train.CURVES, "hidden layers of 20", {depth: curve[depth] for depth in (1, 2)})
    words = ["num_steps=20", "num_rounds=2", "runtime.compile_cache=true", 'curves=["hidden layers of 20"]']
    done = run("benchmark", "train", *words, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "train" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["contender"] for row in rows[:2]] == ["mdnjax", "mdnjax, Bishop's closed-form gradient"]
    ours = [row for row in rows if row["contender"] == "mdnjax"]
    assert [row["size"] for row in ours] == ["", "1", "2"]
    assert all(row["ratio to the first"] == "1.00" for row in ours)
    assert_not_blank(tmp_path / "train.png")
    with open(tmp_path / "table.csv") as file:
        assert [row["contender"] for row in csv.DictReader(file) if row["benchmark"] == "train"] == [
            row["contender"] for row in rows
        ]
    assert (tmp_path / "train" / "table.md").read_text().strip() in done.stdout
    assert "PyTorch" in (done.stdout + done.stderr)  # timed, or reported as skipped


def test_the_sweep_reports_that_members_equal_the_runs_trained_alone(tmp_path):
    words = ["num_steps=20", "num_rounds=1", "num_members=2", "full=false", "runtime.compile_cache=true", f"output={tmp_path}"]
    done = run("benchmark", "sweep", *words)
    assert done.returncode == 0, done.stderr
    assert "mdnjax, 2 members on 2 devices" in done.stdout
    assert "equal bit for bit" in done.stdout
    assert (tmp_path / "sweep" / "table.md").read_text().strip() in done.stdout


def test_the_functions_of_a_mixture_are_timed_in_all_libraries(tmp_path):
    words = ["sizes=[20,50]", "num_components=[2]", "num_draws=400", "num_rounds=1", "runtime.compile_cache=true"]
    done = run("benchmark", "mixture", *words, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "mixture" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    ours = [(row["function"], row["N"], row["K"]) for row in rows if row["contender"] == "mdnjax"]
    assert len(set(ours)) == 3 * 2 + 2 + 2
    assert all(row["ratio to mdnjax"] == "1.00" for row in rows if row["contender"] == "mdnjax")
    assert (tmp_path / "mixture" / "table.md").read_text().strip() in done.stdout
    assert all(name in done.stdout + done.stderr for name in ("numpyro", "PyTorch", "SciPy"))  # timed, or reported as skipped
    assert_not_blank(tmp_path / "mixture" / "mixture.png")


def test_a_library_with_a_wrong_result_is_named(monkeypatch):
    shifted = peers.Implementation("shifted", lambda: np.zeros(20, np.float32), 20)
    monkeypatch.setattr(mixture, "implementations", lambda problem: [*peers.implementations(problem), shifted])
    with pytest.raises(mixture.WrongResult, match=r"log_prob, N = 20, K = 2: shifted"):
        list(mixture.measure(iter([mixture.make_problem("log_prob", 20, 2)]), 1, lambda line: None))


def test_an_unknown_benchmark_is_a_one_line_error():
    assert_one_line_error(run("benchmark", "trian"), "name: got 'trian'", "did you mean 'train'")
    assert_one_line_error(run("benchmark", 'curves=["D, targets, ful"]'), "curves: got 'D, targets, ful'", "did you mean")


def test_the_c_program_takes_the_same_steps():
    """The first loss is that of mdnjax, and so are the parameters after twenty steps of Adam."""
    work = mdnjax_steps.study_work()
    train = c_step.build(work)
    if isinstance(train, str):
        pytest.skip(train)
    first_loss, params = train(20)
    assert first_loss == pytest.approx(work.first_loss, abs=1e-5)
    steps, _, inputs = work.start
    fitted = train_one(steps, mdnjax_steps.loop_of(20), inputs).state.params
    expected = [np.asarray(fitted[layer][part]).ravel() for layer in ("hidden_0", "head") for part in ("kernel", "bias")]
    np.testing.assert_allclose(params, np.concatenate(expected), atol=2e-5)
    assert np.float64(5e-324) * 1 > 0  # loading the program does not change subnormal numbers of this process
    assert np.abs(params - np.concatenate([part.ravel() for layer in work.layers for part in layer])).max() > 0.01


@pytest.mark.parametrize(
    ("curve", "size"), [*(("D, targets, full", d) for d in (1, 2, 4)), *(("K, components", k) for k in (1, 2))]
)
def test_all_contenders_of_a_curve_have_the_same_first_loss(curve, size):
    work = mdnjax_steps.work_of_sizes(train.CURVES[curve][size]._replace(num_examples=50))
    assert disagreements([make(work, 1) for make in train.makers()], 1e-5) == []


def test_a_curve_is_near_its_last_value_once_it_stays_near():
    assert quality._seconds_to_near_last([(1.0, 1.3), (2.0, 1.5), (3.0, 1.31), (4.0, 1.3)]) == 3.0
    assert quality._seconds_to_near_last([(1.0, 1.3), (2.0, 1.29)]) == 1.0


def test_overlapping_intervals_count_once():
    assert startup._union_seconds([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.8)]) == 4.0


def test_the_times_of_a_command_are_measured(tmp_path):
    times = startup._process_time("fit", tmp_path)
    assert min(times) > 0
    assert times.rest > 0


def test_times_of_small_fits_are_in_the_order_of_the_table(monkeypatch, capsys):
    small = {
        "num_members": 1,
        "hidden_sizes": (4,),
        "num_components": 1,
        "settings": {"selection.settings": [], "model.experts": []},
    }
    monkeypatch.setattr(mdnjax, "MDNRegressor", functools.partial(mdnjax.MDNRegressor, **small), raising=False)
    monkeypatch.setattr(small_fits, "NUM_ROWS", 40)
    small_fits.measure_here("one_fit", 1)
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])) == 1
    monkeypatch.setattr(
        small_fits, "_seconds", lambda what, folder, num_jobs=1: {"two_fits": [3.0, 1.0]}.get(what, [float(num_jobs)])
    )
    table = small_fits.table(small_fits.measure(2, lambda line: None))
    assert [row[1] for row in table[1:]] == ["3.00", "1.00", "1.00", "1.00", "2.00"]


def test_a_failed_process_of_small_fits_is_reported(tmp_path):
    with pytest.raises(ContenderFailed, match="nothing of the kind failed: KeyError"):
        small_fits._seconds("nothing of the kind", str(tmp_path))


def test_predictions_are_timed_with_the_same_results():
    small = {"selection.settings": [], "model.experts": [], "model.hidden_sizes": [4], "ensemble.num_members": 1}
    x = np.random.default_rng(0).normal(size=(40, predictions.NUM_COLUMNS))
    predictor = mdnjax.fit(x, x[:, 0], settings={**small, "train.num_steps": 5})
    found = list(predictions.contenders(predictor, 70))
    assert [contender.num_units for contender in found] == [70] * 4
    assert disagreements(found, 1e-6) == []
    assert [values.shape for values in predictions.predict(predictor, x, np.array([0.1, 0.9]))] == [(40, 1), (40, 1), (40, 2)]
