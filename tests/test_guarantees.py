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
from mdnjax.data.columns import Column, Columns
from mdnjax.data.lattice import Lattice
from mdnjax.density_sets import density_set, mass_above
from mdnjax.ensemble import untrained
from mdnjax.predictor import make_predictor
from mdnjax.statistics import hdr, hdr_mass
from tests.commands import assert_one_line_error, run
from tests.oracles import in_simulation_error, random_mixture, random_targets

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
    predictor, num_draws = predictor_of(), 150
    y = LAWS[law](num_draws * (num_rows + 1))[:, None]
    scores = mdn.conformal(predictor, RNG.normal(size=(len(y), 2)), y)
    both = np.maximum(scores.upper, scores.lower)[:, 0].reshape(num_draws, num_rows + 1)
    for level in (0.5, 0.9):
        covered = []
        for row in both:
            scores = row[:-1, None]
            draw = Conformal(scores, scores, scores, row[:-1], np.zeros(num_rows, int))
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


def test_sets_of_highest_density_hold_exactly_the_targets_whose_score_is_at_most_the_threshold():
    x, y = RNG.normal(size=(150, 2)), LAWS["far from it"](150)[:, None]
    predictor = mdn.with_guarantee(predictor_of(), mdn.conformal(predictor_of(), x[:50], y[:50]))
    assert predictor.conformal is not None
    scores, of_new = np.asarray(predictor.conformal.mass)[:, 0], mdn.conformal(predictor, x[50:], y[50:])
    for level in (0.5, 0.9, 0.99):
        limit = predictor.conformal.thresholds(scores, level, np.zeros(1, int))[0]
        pieces = mdn.guaranteed_regions(predictor, x[50:], [level])[:, 0, :, :, 0]
        inside = np.any((pieces[..., 0] <= y[50:]) & (y[50:] <= pieces[..., 1]), axis=1)
        clear = np.abs(of_new.mass[:, 0] - limit) > 1e-4 * limit
        assert (inside == (of_new.mass[:, 0] <= limit))[clear].all()
    assert np.isinf(pieces[:, 0]).all()  # 50 rows are too few for 99 %


def test_interpolated_sets_are_those_of_the_exact_ones():
    mixture = random_mixture(3, (150,), 5, 1, np.float32)
    y = np.asarray(random_targets(4, (150,), 1, np.float32))
    np.testing.assert_allclose(mass_above(mixture, y)[:, 0], hdr_mass(mixture, y), atol=0.02)
    for mass in (0.3, 0.9, 1 - 1e-7, 1.3):
        pieces = np.asarray(density_set(mixture, np.full(150, mass, np.float32)))
        inside = np.any((pieces[..., 0] <= y) & (y <= pieces[..., 1]), axis=1)
        score = np.asarray(mass_above(mixture, y))[:, 0]
        several = ~np.isnan(pieces[:, -1, 0])  # gaps may have been closed
        assert (inside == (score <= mass))[~several & (np.abs(score - mass) > 1e-4)].all()
        assert inside[score <= mass - 1e-4].all()
        size = np.nansum(pieces[..., 1] - pieces[..., 0], axis=1)
        if mass < 0.99:
            assert np.median(size / np.asarray(hdr(mixture, mass).size)) == pytest.approx(1, abs=0.02)


def test_interpolated_sets_of_many_networks_are_nearly_as_short_as_the_exact_ones():
    generator = np.random.default_rng(5)
    shape, shared = (100, 12, 4, 1), generator.normal(size=(2, 100, 1, 4, 1))
    loc = shared[0] + 0.15 * generator.normal(size=shape)
    scale = np.exp(0.7 * shared[1] - 1.2 + 0.2 * generator.normal(size=shape))
    component = mdn.Diagonal(*(values.reshape(100, 48, 1).astype(np.float32) for values in (loc, scale)))
    mixture = mdn.Mixture(jax.numpy.asarray(generator.normal(size=(100, 48)), np.float32), component)
    pieces = np.asarray(density_set(mixture, np.full(100, 0.9, np.float32)))
    size = np.nansum(pieces[..., 1] - pieces[..., 0], axis=1)
    ratio = size / np.asarray(hdr(mixture, 0.9).size)
    assert np.median(ratio) < 1.01
    assert ratio.max() < 1.2
    y = mdn.sample(jax.random.key(0), mixture)
    np.testing.assert_allclose(mass_above(mixture, y)[:, 0], hdr_mass(mixture, y), atol=0.08)


def test_groups_of_a_column_are_read_from_the_rows(tmp_path):
    num = 300
    kind = np.where(np.arange(num) % 3 == 0, "wild", "calm")
    columns = Columns((Column("a"), Column("kind", ("calm", "wild"))), ("y",))
    x, y = RNG.normal(size=num), 3 + np.where(kind == "wild", 9, 0.1) * RNG.normal(size=num)
    rows = {"a": x, "kind": kind}
    scaler = make_scaler(Dataset(RNG.normal(size=(50, 3)), y[:50, None]), True)
    plain = make_predictor(MODEL, untrained(MODEL, 3, 1), scaler, columns)
    predictor = mdn.with_guarantee(plain, mdn.conformal(plain, rows, y, "kind"))
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    new = {"a": np.zeros(3), "kind": np.array(["calm", "wild", "new"])}
    ends = mdn.guaranteed_intervals(loaded, new, [0.9])[:, 0, :, 0]
    by_labels = mdn.with_guarantee(plain, mdn.conformal(plain, rows, y, kind))
    known = {name: values[:2] for name, values in new.items()}
    np.testing.assert_array_equal(ends[:2], mdn.guaranteed_intervals(by_labels, known, [0.9], ["calm", "wild"])[:, 0, :, 0])
    assert np.isinf(ends[2]).all()  # training has not seen the category
    with jax.enable_x64(True):
        program = jax.export.deserialize(bytearray(mdn.export_model(predictor, guarantee=(0.9,))))
        np.testing.assert_allclose(program.call(np.array([[0, 0], [0, 1], [0, 7.0]]))["intervals"][:, 0], ends, rtol=1e-5)
    with pytest.raises(ValueError, match="column 'a': got numbers, expected categories"):
        mdn.conformal(plain, rows, y, "a")
    with pytest.raises(ValueError, match="got column 'kid', expected one of 'a', 'kind'; did you mean 'kind'"):
        mdn.conformal(plain, rows, y, "kid")
    with pytest.raises(ValueError, match="groups: got labels, expected none"):
        mdn.guaranteed_intervals(predictor, new, [0.9], ["a", "b", "c"])


def test_ties_on_a_lattice_are_drawn_and_intervals_end_at_its_values():
    lattice = Lattice(np.array([1.0]), np.array([-10.0]), np.array([20.0]))
    predictor = predictor_of(lattice=lattice)
    x, y = RNG.normal(size=(1200, 2)), np.rint(LAWS["as predicted"](1200))
    predictor = mdn.with_guarantee(predictor, mdn.conformal(predictor, x[:200], y[:200]))
    ends = mdn.guaranteed_intervals(predictor, x[200:], [0.8])[:, 0, :, 0]
    np.testing.assert_array_equal(ends, np.rint(ends))
    assert np.mean((ends[:, 0] <= y[200:]) & (y[200:] <= ends[:, 1])) > 0.75
    pieces = mdn.guaranteed_regions(predictor, x[200:], [0.8])[:, 0, :, :, 0]
    np.testing.assert_array_equal(pieces, np.rint(pieces))
    inside = np.any((pieces[..., 0] <= y[200:, None]) & (y[200:, None] <= pieces[..., 1]), axis=1)
    # All rows have the same prediction, so that a set grows by whole values: it is too large by at most the most frequent one.
    most_frequent = np.max(np.unique(y, return_counts=True)[1]) / len(y)
    assert 0.8 - 0.06 < np.mean(inside) < 0.8 + most_frequent + 0.06


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
    assert (np.diff(scores.mass[:, 0]) > 0).all()


def test_a_table_keeps_rows_for_a_guarantee_and_predictions_have_it(tmp_path):
    x = RNG.normal(size=(160, 2))
    y = x[:, 0] + RNG.standard_t(3, 160)
    kind = np.where(x[:, 1] > 0, "high", "low")
    pandas.DataFrame({"a": x[:, 0], "b": kind, "y": y}).to_csv(tmp_path / "t.csv", index=False)
    small = [
        "train.num_steps=40",
        "model.hidden_sizes=[4]",
        "ensemble.num_members=1",
        "model.experts=[]",
        "selection.settings=[]",
    ]
    output = f"output={tmp_path / 'run'}"
    table = [f"data.path={tmp_path / 't.csv'}", "data.target=y", output, *small]
    for group, words in (("a", "data.calibration_group: column 'a': got numbers"), ("c", "got column 'c', expected one of")):
        assert_one_line_error(run("tabular", *table, "data.calibration_share=0.3", f"data.calibration_group={group}"), words)
    assert_one_line_error(run("tabular", *table, "data.calibration_group=b"), "expected a share of the rows, such as 0.2")
    process = run("tabular", *table, "data.calibration_share=0.3", "data.calibration_group=b", "data.recalibrate=true")
    assert process.returncode == 0, process.stderr
    assert "Intervals with a guarantee of 90 %, by 39 rows that nothing was trained on, contain" in process.stdout
    assert "within the categories of b: high" in process.stdout
    assert "ecalibrated by 39 rows that nothing was trained on: the" in process.stdout
    model = tmp_path / "run" / "model.safetensors"
    predictor = mdn.load(model)
    assert predictor.conformal is not None
    assert predictor.recalibration is not None
    assert len(predictor.conformal.density) == 39
    predictor = replace(predictor, recalibration=None)  # sets with a guarantee do not depend on it
    options = ["intervals=[0.8,0.99]", "guarantee=true", f"output={tmp_path / 'p.csv'}", "regions=[0.8]"]
    process = run("predict", model, tmp_path / "t.csv", *options)
    assert process.returncode == 0, process.stderr
    written: Any = pandas.read_csv(tmp_path / "p.csv")
    assert "160 of 160 rows: a set of 99 % has no ends, which takes 99 rows with scores" in process.stdout
    rows = {"a": x[:, 0], "b": kind}
    expected = mdn.guaranteed_intervals(predictor, rows, [0.8])[:, 0, :, 0]
    np.testing.assert_allclose(written[["low_0.8", "high_0.8"]], expected, rtol=1e-4, atol=1e-4)
    regions = mdn.guaranteed_regions(predictor, rows, [0.8])[:, 0, :, :, 0]
    np.testing.assert_allclose(written.filter(like="region_0.8"), regions.reshape(160, -1), rtol=1e-3, atol=1e-3)
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
