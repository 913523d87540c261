"""Sets with a guarantee: coverage over many draws of data, also by a wrong model, and the same sets through every door."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from mdnjax.config.schema import Model
from mdnjax.conformity import TAIL, Conformal
from mdnjax.data import Dataset, make_scaler
from mdnjax.data.lattice import Lattice
from mdnjax.ensemble import untrained
from mdnjax.predictor import make_predictor
from tests.commands import run
from tests.oracles import in_simulation_error

RNG = np.random.default_rng(0)
MODEL = Model(num_components=2, hidden_sizes=(3,), scale_floor=0.3)


def predictor_of(num_targets=1, lattice=None):
    """A model that predicts the same for every row: two components at the mean of the rows of training."""
    x, y = RNG.normal(size=(200, 2)), 3 + 2 * RNG.normal(size=(200, num_targets))
    scaler = make_scaler(Dataset(x, y), True)
    scaler = scaler if lattice is None else scaler._replace(lattice=lattice)
    return make_predictor(MODEL, untrained(MODEL, 2, num_targets), scaler)


LAWS = {
    "as predicted": lambda num: 3 + 2 * RNG.normal(size=num),
    "far from it": lambda num: 500 + 30 * RNG.standard_t(2, num),
    "narrow": lambda num: 3 + 1e-3 * RNG.normal(size=num),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("num_rows", [20, 99])
def test_coverage_is_at_least_the_level_and_hardly_more(law, num_rows):
    predictor, num_draws = predictor_of(), 500
    y = LAWS[law](num_draws * (num_rows + 1))[:, None]
    scores = mdn.conformal(predictor, RNG.normal(size=(len(y), 2)), y)
    both = np.maximum(scores.upper, scores.lower)[:, 0].reshape(num_draws, num_rows + 1)
    for level in (0.5, 0.9):
        covered = []
        for row in both:
            draw = Conformal(row[:-1, None], row[:-1, None], row[:-1], np.zeros(num_rows, int))
            covered.append(row[-1] <= draw.thresholds(row[:-1], level, np.zeros(1, int))[0])
        assert in_simulation_error(covered, level, level + 1 / (num_rows + 1))


@pytest.mark.parametrize("law", LAWS)
def test_an_interval_holds_exactly_the_targets_whose_score_is_at_most_the_threshold(law):
    x, y = RNG.normal(size=(150, 2)), LAWS[law](150)[:, None]
    predictor = predictor_of()
    predictor = mdn.with_guarantee(predictor, mdn.conformal(predictor, x[:50], y[:50]))
    assert predictor.conformal is not None
    both = np.maximum(predictor.conformal.upper, predictor.conformal.lower)[:, 0]
    of_new = mdn.conformal(predictor, x[50:], y[50:])
    for level in (0.5, 0.9, 0.95):
        limit = predictor.conformal.thresholds(both, level, np.zeros(1, int))[0]
        low, high = mdn.guaranteed_intervals(predictor, x[50:], [level])[:, 0, :, 0].T
        assert np.isfinite(low).all()
        score = np.maximum(of_new.upper, of_new.lower)[:, 0]
        clear = np.abs(score - limit) > 1e-4 * max(1, limit)
        assert (((low <= y[50:, 0]) & (y[50:, 0] <= high)) == (score <= limit))[clear].all()
    bounds = mdn.guaranteed_bounds(predictor, x[50:], [0.9])[:, 0, :, 0]
    assert (bounds[:, 0] < bounds[:, 1]).all()


def test_too_few_rows_give_infinite_intervals():
    x, y = RNG.normal(size=(20, 2)), LAWS["as predicted"](20)
    predictor = mdn.with_guarantee(predictor_of(), mdn.conformal(predictor_of(), x[:8], y[:8]))
    assert predictor.conformal is not None
    assert [predictor.conformal.min_rows(level) for level in (0.5, 0.9, 0.99)] == [1, 9, 99]
    finite, infinite = np.moveaxis(mdn.guaranteed_intervals(predictor, x, [0.8, 0.9]), 1, 0)
    assert np.isfinite(finite).all()
    assert (infinite[:, 0] == -np.inf).all()
    assert (infinite[:, 1] == np.inf).all()


def test_groups_have_guarantees_of_their_own():
    num = 400
    groups = np.where(np.arange(num) % 2 == 0, "calm", "wild")
    y = np.where(groups == "calm", 3 + 0.1 * RNG.normal(size=num), 3 + 9 * RNG.normal(size=num))
    x, predictor = RNG.normal(size=(num, 2)), predictor_of()
    predictor = mdn.with_guarantee(predictor, mdn.conformal(predictor, x[:200], y[:200], groups[:200]))
    low, high = mdn.guaranteed_intervals(predictor, x[200:], [0.9], groups[200:])[:, 0, :, 0].T
    inside = (low <= y[200:]) & (y[200:] <= high)
    for name in ("calm", "wild"):
        assert 0.78 < inside[groups[200:] == name].mean() < 0.99
    with pytest.raises(ValueError, match="groups: got 'new', expected one of 'calm', 'wild'"):
        mdn.guaranteed_intervals(predictor, x[:1], [0.9], ["new"])
    with pytest.raises(ValueError, match="groups: got none, expected a label for each row"):
        mdn.guaranteed_intervals(predictor, x[:1], [0.9])
    with pytest.raises(ValueError, match="got 1 labels, expected one for each of 2 rows"):
        mdn.guaranteed_intervals(predictor, x[:2], [0.9], ["calm"])


def test_ties_on_a_lattice_are_drawn_and_intervals_end_at_its_values():
    lattice = Lattice(np.array([1.0]), np.array([-10.0]), np.array([20.0]))
    predictor = predictor_of(lattice=lattice)
    x, y = RNG.normal(size=(1200, 2)), np.rint(LAWS["as predicted"](1200))
    predictor = mdn.with_guarantee(predictor, mdn.conformal(predictor, x[:200], y[:200]))
    ends = mdn.guaranteed_intervals(predictor, x[200:], [0.8])[:, 0, :, 0]
    np.testing.assert_array_equal(ends, np.rint(ends))
    assert np.mean((ends[:, 0] <= y[200:]) & (y[200:] <= ends[:, 1])) > 0.75


def test_regions_of_several_targets_hold_the_share_that_is_promised():
    predictor, y = predictor_of(2), np.stack([LAWS["as predicted"](1200), LAWS["far from it"](1200)], axis=1)
    x = RNG.normal(size=(1200, 2))
    predictor = mdn.with_guarantee(predictor, mdn.conformal(predictor, x[:400], y[:400]))
    assert in_simulation_error(mdn.in_guaranteed_region(predictor, x[400:], y[400:], 0.9), 0.86, 0.94)
    ends = mdn.guaranteed_intervals(predictor, x[400:], [0.9])[:, 0]
    inside = (ends[:, 0] <= y[400:]) & (y[400:] <= ends[:, 1])
    assert in_simulation_error(inside[:, 0], 0.86, 0.94)
    assert in_simulation_error(inside[:, 1], 0.86, 0.94)


def test_scores_are_saved_with_the_model_and_damaged_ones_are_refused(tmp_path):
    x, y = RNG.normal(size=(60, 2)), LAWS["as predicted"](60)
    predictor = mdn.with_guarantee(predictor_of(), mdn.conformal(predictor_of(), x, y, np.repeat(["a", "b"], 30)))
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    labels = np.repeat(["b", "a"], 30)
    np.testing.assert_array_equal(
        mdn.guaranteed_intervals(loaded, x, [0.9], labels), mdn.guaranteed_intervals(predictor, x, [0.9], labels)
    )
    assert predictor.conformal is not None
    wrong = replace(predictor, conformal=predictor.conformal._replace(group=np.full(60, 7)))
    mdn.save(tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(ValueError, match="its scores for guarantees cannot be used"):
        mdn.load(tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match="got a predictor without scores of other rows"):
        mdn.guaranteed_intervals(predictor_of(), x, [0.9])


def test_scores_go_on_beyond_the_last_quantiles_that_float32_tells_apart():
    predictor = predictor_of()
    y = np.array([3.0, 30.0, 300.0, 3000.0])
    scores = mdn.conformal(predictor, RNG.normal(size=(4, 2)), y)
    assert (np.diff(scores.upper[:, 0]) > 0).all()
    assert scores.upper[0, 0] < 1 - TAIL
    assert scores.upper[1, 0] > 1


def test_a_table_keeps_rows_for_a_guarantee_and_predictions_have_it(tmp_path):
    x = RNG.normal(size=(160, 2))
    y = x[:, 0] + RNG.standard_t(3, 160)
    pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).to_csv(tmp_path / "t.csv", index=False)
    small = [
        "train.num_steps=40",
        "model.hidden_sizes=[4]",
        "ensemble.num_members=1",
        "model.experts=[]",
        "selection.settings=[]",
    ]
    output = f"output={tmp_path / 'run'}"
    process = run("tabular", f"data.path={tmp_path / 't.csv'}", "data.target=y", "data.calibration_share=0.3", output, *small)
    assert process.returncode == 0, process.stderr
    assert "Intervals with a guarantee of 90 %, by 39 rows that nothing was trained on, contain" in process.stdout
    model = tmp_path / "run" / "model.safetensors"
    predictor = mdn.load(model)
    assert predictor.conformal is not None
    assert len(predictor.conformal.density) == 39
    options = ["intervals=[0.8]", "guarantee=true", f"output={tmp_path / 'p.csv'}"]
    process = run("predict", model, tmp_path / "t.csv", *options)
    assert process.returncode == 0, process.stderr
    written: Any = pandas.read_csv(tmp_path / "p.csv")
    expected = mdn.guaranteed_intervals(predictor, {"a": x[:, 0], "b": x[:, 1]}, [0.8])[:, 0, :, 0]
    np.testing.assert_allclose(written[["low_0.8", "high_0.8"]], expected, rtol=1e-4, atol=1e-4)
    mdn.save(tmp_path / "plain.safetensors", replace(predictor, conformal=None))
    process = run("predict", tmp_path / "plain.safetensors", tmp_path / "t.csv", *options[:2], f"output={tmp_path / 'q.csv'}")
    assert process.returncode == 2
    assert process.stderr.strip().startswith("error: guarantee: got a model with no rows for it, expected one trained with")


def test_the_command_draws_data_sets_and_its_table_says_what_is_inside(tmp_path):
    process = run("guarantees", "num_draws=60", "num_rows=[20]", "levels=[0.5,0.99]", f"output={tmp_path / 'g'}")
    assert process.returncode == 0, process.stderr
    table: Any = pandas.read_csv(tmp_path / "g" / "guarantees.csv")
    assert (table["inside of the limits"] == "yes").all()
    assert (table["coverage of 99 %"] == "100.00 %").all()  # 20 rows are too few, so that intervals have no ends


def test_an_exported_program_has_the_same_intervals():
    x, y = RNG.normal(size=(150, 2)), LAWS["far from it"](150)
    predictor = mdn.with_guarantee(predictor_of(), mdn.conformal(predictor_of(), x[:60], y[:60]))
    with jax.enable_x64(True):
        program = jax.export.deserialize(bytearray(mdn.export_model(predictor, guarantee=(0.5, 0.9))))
        exported = program.call(x)["intervals"]
    np.testing.assert_allclose(exported, mdn.guaranteed_intervals(predictor, x, [0.5, 0.9])[..., 0], rtol=1e-5)
    with pytest.raises(ValueError, match="guarantee: got a predictor without scores"):
        mdn.export_model(predictor_of(), guarantee=(0.5,))
