"""The benchmark: it compares the same work, and its table says what was timed."""

import csv
import functools
import json
import time

import numpy as np
import pytest

import mdnjax
from experiments.benchmark import (
    c_step,
    flax_steps,
    mdnjax_steps,
    mixture,
    peers,
    quality,
    small_fits,
    startup,
    torch_steps,
    train,
)
from experiments.benchmark.timing import Contender, Failed, Timing, disagreements, race, ratio
from mdnjax.training.train import train_one
from tests.commands import assert_not_blank, assert_one_line_error, run


def test_every_contender_runs_in_every_round():
    order = []
    contenders = [Contender(name, lambda name=name: (order.append(name), time.sleep(0.002))[0], 1.0, 2) for name in "ab"]
    timings = race(contenders, 3, lambda line: None)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"  # a round to warm up; each round from another start
    assert all(len(timing.seconds) == 3 and timing.median >= 0.001 for timing in timings)


def test_a_slow_moment_that_hits_a_whole_round_leaves_the_ratio():
    assert ratio(Timing("a", [2.0, 20.0, 2.0, 40.0]), Timing("b", [1.0, 10.0, 1.0, 20.0])) == 2


@pytest.mark.parametrize(("check", "agrees"), [(1.0 + 1e-6, True), (1.0 + 1e-4, False), (float("nan"), False)])
def test_contenders_that_compute_something_else_are_named(check, agrees):
    contenders = [Contender("ours", lambda: None, 1.0, 1), Contender("other", lambda: None, check, 1)]
    assert (disagreements(contenders, 1e-5) == []) == agrees


def test_the_command_writes_its_table(tmp_path, monkeypatch):
    monkeypatch.setitem(train.CURVES, "hidden layers of 20", train.CURVES["hidden layers of 20"][:2])
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
    assert "PyTorch" in (done.stdout + done.stderr)  # timed, or skipped with a word


def test_the_sweep_says_that_its_members_are_the_runs_alone(tmp_path):
    words = ["num_steps=20", "num_rounds=1", "num_members=2", "full=false", "runtime.compile_cache=true", f"output={tmp_path}"]
    done = run("benchmark", "sweep", *words)
    assert done.returncode == 0, done.stderr
    assert "mdnjax, 2 members on 2 devices" in done.stdout
    assert "equal bit for bit" in done.stdout
    assert (tmp_path / "sweep" / "table.md").read_text().strip() in done.stdout


def test_the_functions_of_a_mixture_are_timed_beside_their_peers(tmp_path):
    words = ["sizes=[20,50]", "num_components=[2]", "num_draws=400", "num_rounds=1", "runtime.compile_cache=true"]
    done = run("benchmark", "mixture", *words, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "mixture" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    ours = [(row["function"], row["N"], row["K"]) for row in rows if row["contender"] == "mdnjax"]
    assert len(set(ours)) == 3 * 2 + 2 + 2
    assert all(row["ratio to mdnjax"] == "1.00" for row in rows if row["contender"] == "mdnjax")
    assert (tmp_path / "mixture" / "table.md").read_text().strip() in done.stdout
    assert all(name in done.stdout + done.stderr for name in ("numpyro", "PyTorch", "SciPy"))  # timed, or skipped with a word
    assert_not_blank(tmp_path / "mixture" / "mixture.png")


def test_a_mixture_function_that_computes_something_else_is_named(monkeypatch):
    shifted = peers.Way("shifted", lambda: np.zeros(20, np.float32), 20)
    monkeypatch.setattr(mixture, "ways", lambda problem: [*peers.ways(problem), shifted])
    with pytest.raises(mixture.Wrong, match=r"log_prob, N = 20, K = 2: shifted"):
        list(mixture.measure(iter([mixture.make_problem("log_prob", 20, 2)]), 1, lambda line: None))


def test_an_unknown_benchmark_is_one_line():
    assert_one_line_error(run("benchmark", "trian"), "name: got 'trian'", "did you mean 'train'")
    assert_one_line_error(run("benchmark", 'curves=["D, targets, ful"]'), "curves: got 'D, targets, ful'", "did you mean")


def test_the_c_program_takes_the_same_steps():
    """Not only the first loss: twenty steps of Adam later the parameters are those of mdnjax."""
    beginning = mdnjax_steps.study()
    train = c_step.built(beginning)
    if isinstance(train, str):
        pytest.skip(train)
    first_loss, params = train(20)
    assert first_loss == pytest.approx(beginning.first_loss, abs=1e-5)
    steps, _, inputs = beginning.start
    fitted = train_one(steps, mdnjax_steps.loop_of(20), inputs).state.params
    known = [np.asarray(fitted[layer][part]).ravel() for layer in ("hidden_0", "head") for part in ("kernel", "bias")]
    np.testing.assert_allclose(params, np.concatenate(known), atol=2e-5)
    assert np.float64(5e-324) * 1 > 0  # to load the program leaves subnormal numbers as they are
    assert np.abs(params - np.concatenate([part.ravel() for layer in beginning.layers for part in layer])).max() > 0.01


@pytest.mark.parametrize("sizes", [*train.CURVES["D, targets, full"][:3], *train.CURVES["K, components"][:2]])
def test_all_contenders_of_a_curve_start_at_one_loss(sizes):
    beginning = mdnjax_steps.work_of(sizes._replace(num_examples=50))
    makers = [mdnjax_steps.of_mdnjax, flax_steps.contender, *([torch_steps.eager] if torch_steps.is_here() else [])]
    assert disagreements([make(beginning, 1) for make in makers], 1e-5) == []


def test_a_course_is_near_its_end_where_it_stays_near():
    assert quality._near([(1.0, 1.3), (2.0, 1.5), (3.0, 1.31), (4.0, 1.3)]) == 3.0
    assert quality._near([(1.0, 1.3), (2.0, 1.29)]) == 1.0


def test_seconds_of_intervals_that_overlap_count_once():
    assert startup._joined([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.8)]) == 4.0


def test_what_a_command_spends_before_it_runs_is_told(tmp_path):
    start = startup._start("fit", tmp_path)
    assert min(start) > 0
    assert start.rest > 0


def test_small_fits_are_timed_in_their_order(monkeypatch, capsys):
    small = {"num_members": 1, "hidden_sizes": (4,), "num_components": 1, "settings": {"selection.settings": []}}
    monkeypatch.setattr(mdnjax, "MDNRegressor", functools.partial(mdnjax.MDNRegressor, **small), raising=False)
    monkeypatch.setattr(small_fits, "NUM_ROWS", 40)
    small_fits.work("one_fit", 1)
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])) == 1
    monkeypatch.setattr(
        small_fits, "_seconds", lambda what, folder, num_jobs=1: {"two_fits": [3.0, 1.0]}.get(what, [float(num_jobs)])
    )
    table = small_fits.table(small_fits.measure(2, lambda line: None))
    assert [row[1] for row in table[1:]] == ["3.00", "1.00", "1.00", "1.00", "2.00"]


def test_a_process_of_small_fits_that_fails_is_said(tmp_path):
    with pytest.raises(Failed, match="nothing of the kind failed: KeyError"):
        small_fits._seconds("nothing of the kind", str(tmp_path))
