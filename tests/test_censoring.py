"""Rows that are censored by a column of events: likelihood, scores and baselines against brute force, and the truth recovered."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from scipy import optimize, stats

import mdnjax as mdn
from experiments.command import UserError
from experiments.reading import read_table
from mdnjax.baselines import linear_gaussian, marginal_gaussian
from mdnjax.components import Support
from mdnjax.config.data import Table
from mdnjax.data import Dataset
from mdnjax.data.censoring import drawn_beyond, sides_of
from mdnjax.data.lattice import Lattice
from mdnjax.data.units import own_units
from mdnjax.evaluation import evaluate_mixtures, mean_of_first_rows
from mdnjax.observed import PLAIN, Observed
from tests.commands import assert_one_line_error, run
from tests.oracles import random_mixture
from tests.test_fitting import SMALL

RNG = np.random.default_rng(0)
NUM = 400
X = RNG.uniform(-1, 1, (NUM, 2))
TIME = np.exp(X[:, 0] + 0.4 * RNG.standard_normal(NUM))  # log-normal, with the median exp(x0)
LIMIT = RNG.exponential(1.5, NUM)
Y, EVENT = np.minimum(TIME, LIMIT), (TIME <= LIMIT).astype(int)
SIDE = 1 - EVENT
LINE = {**SMALL, "data.target_support": "positive", "model.num_components": 1, "model.line": True, "train.init.line": 1.0}
LINE |= {"train.num_steps": 300, "train.report_every": 100}


@pytest.fixture(scope="module")
def predictor():
    with pytest.warns(UserWarning, match="target 'y0' is observed in 46 % of the rows, and 54 % are only known to be that large"):
        return mdn.fit(X, Y, event=EVENT, settings=LINE)


def test_a_fit_with_the_column_recovers_the_true_quantiles_and_one_without_does_not(predictor):
    new = np.stack([np.linspace(-0.8, 0.8, 9), np.zeros(9)], axis=1)
    levels = np.array([0.1, 0.5, 0.9])
    truth = np.exp(new[:, :1] + 0.4 * stats.norm.ppf(levels))
    ratio = predictor.quantiles(new, levels)[..., 0] / truth
    ignored = mdn.fit(X, Y, settings=LINE).quantiles(new, levels)[..., 0] / truth
    assert np.mean(np.abs(np.log(ratio)), axis=0).max() < 0.12
    assert np.mean(np.log(ignored[:, 1])) < -0.2


def test_the_likelihood_of_a_censored_row_is_the_probability_beyond_it_through_every_door(predictor, tmp_path):
    mixture = predictor(X)
    density, below = mdn.log_prob(mixture, Y[:, None]), np.asarray(mdn.cdf(mixture, Y[:, None]))
    expected = np.where(EVENT == 1, density, np.log1p(-below))
    found = predictor.log_prob(X, Y, EVENT)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    left = predictor.log_prob(X, Y, np.where(EVENT == 1, "observed", "left"))
    np.testing.assert_allclose(np.exp(found) + np.exp(left), np.where(EVENT == 1, 2 * np.exp(density), 1), rtol=1e-5)
    np.testing.assert_array_equal(predictor.log_prob(X, Y, EVENT == 1), found)
    assert mdn.evaluate(predictor, X, Y, event=EVENT).nll == pytest.approx(-np.mean(found), abs=1e-5)
    mdn.save(tmp_path / "m.safetensors", predictor)
    np.testing.assert_array_equal(mdn.load(tmp_path / "m.safetensors").log_prob(X, Y, EVENT), found)
    table = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "time": Y, "event": EVENT})
    with pytest.warns(UserWarning, match="target 'time' is observed"):
        of_table = mdn.fit(table, "time", event="event", settings=LINE)
    assert [column.name for column in of_table.columns.inputs] == ["a", "b"]
    np.testing.assert_array_equal(of_table.log_prob(table, Y, EVENT), found)
    regressor = mdn.MDNRegressor(settings=LINE)
    with pytest.warns(UserWarning, match="is observed"):
        regressor.fit(X, Y, event=EVENT)
    np.testing.assert_array_equal(regressor.log_density(X, Y, EVENT), regressor.predictor_.log_prob(X, Y, EVENT))
    assert not np.allclose(regressor.log_density(X, Y, EVENT), regressor.log_density(X, Y))


def test_a_column_without_a_censored_row_changes_no_bit():
    first, second = mdn.fit(X, TIME, settings=LINE), mdn.fit(X, TIME, event=np.ones(NUM), settings=LINE)
    np.testing.assert_array_equal(first.quantiles(X, [0.1, 0.9]), second.quantiles(X, [0.1, 0.9]))
    assert mdn.evaluate(first, X, TIME).numbers() == mdn.evaluate(first, X, TIME, event=np.ones(NUM)).numbers()


def test_scores_of_the_truth_are_calibrated_and_weights_are_copies():
    """The targets are drawn from the mixtures, and half of them are censored at a random place on either side."""
    mixture = random_mixture(3, (2000,), 2, 1)
    draws = np.asarray(mdn.sample(jax.random.key(0), mixture, (2,)), np.float64)[..., 0]
    truth, limit = draws
    side = np.where(np.arange(2000) % 2 == 0, 0, np.where(truth > limit, 1, -1))
    y = np.where(side == 0, truth, limit)[:, None]
    scores = evaluate_mixtures(mixture, y, own_units(1), censoring=side)
    assert scores.calibration[0] < 0.02
    np.testing.assert_allclose(scores.coverage[0], [0.5, 0.8, 0.95], atol=0.03)
    assert scores.crps[0] == pytest.approx(np.mean(np.asarray(mdn.crps(mixture, y))[side == 0]), rel=1e-6)
    assert scores.rmse[0] == pytest.approx(np.sqrt(np.mean((np.asarray(mdn.mean(mixture)) - y)[side == 0] ** 2)), rel=1e-6)
    copied_rows = np.sort(RNG.integers(0, 2000, 2000))
    weighted = evaluate_mixtures(mixture, y, own_units(1), np.bincount(copied_rows, minlength=2000).astype(float), censoring=side)
    copied = evaluate_mixtures(mixture[copied_rows], y[copied_rows], own_units(1), censoring=side[copied_rows])
    for name in ("nll", "crps", "rmse"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(copied, name), rtol=1e-6)


def test_a_censored_value_of_a_lattice_has_the_probability_of_it_and_all_beyond():
    mixture = random_mixture(4, (6,), 3, 1)
    observed = Observed(Lattice(*np.array([[0.5], [-4.0], [4.0]])))
    y, right = np.arange(6)[:, None] / 2.0, np.ones(6, int)
    above, below = (np.exp(observed.log_prob(mixture, own_units(1), y, side * right)) for side in (1, -1))
    cell = np.exp(observed.log_prob(mixture, own_units(1), y)) * 0.5
    np.testing.assert_allclose(above, 1 - np.asarray(mdn.cdf(mixture, jnp.asarray(y - 0.25))), atol=1e-9)
    np.testing.assert_allclose(above + below, 1 + cell, rtol=1e-6)
    pits = np.stack([observed.pit(mixture, own_units(1), y, side * right) for side in (1, -1)])
    assert ((1 - above <= pits[0]) & (pits[1] <= below)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_baselines_maximise_the_likelihood_of_censored_targets(weighted):
    weight = np.where(np.arange(NUM) % 3 == 0, 2.0, 1.0) if weighted else None
    known, log_time = Dataset(X, Y[:, None], weight, censoring=SIDE), np.log(Y)

    def loss(numbers):
        loc = np.column_stack([np.ones(NUM), X]) @ numbers[:3]
        z = (log_time - loc) / np.exp(numbers[3])
        log_prob = np.where(SIDE == 0, stats.norm.logpdf(z) - numbers[3], stats.norm.logsf(z))
        return -np.average(log_prob, weights=weight)

    best = optimize.minimize(loss, np.zeros(4), method="BFGS")
    mixture = linear_gaussian(known, np.zeros((1, 2)), Support((0.0,), (np.inf,)), own_units(1))
    ends = np.log(np.asarray(mdn.quantile(mixture[:, None], jnp.array([0.5, stats.norm.cdf(1)])))[0, :, 0])
    np.testing.assert_allclose(ends, [best.x[0], best.x[0] + np.exp(best.x[3])], atol=0.01)
    marginal = marginal_gaussian(known, X[:1], Support((0.0,), (np.inf,)), own_units(1))
    assert float(mdn.median(marginal)[0, 0]) > np.median(Y)


def test_targets_are_drawn_from_the_estimated_law_beyond_the_censored_ones():
    """The law is Kaplan and Meier's: the product of 1 - deaths / rows at risk; and the same on the other side."""
    drawn = drawn_beyond(Y, SIDE)
    assert (drawn >= Y).all()
    np.testing.assert_array_equal(drawn[SIDE == 0], Y[SIDE == 0])
    many, side = np.repeat(Y, 50), np.repeat(SIDE, 50)
    drawn = drawn_beyond(many, side)
    for time in np.quantile(Y[SIDE == 0], [0.2, 0.5, 0.8, 0.95]):
        times = Y[(SIDE == 0) & (time >= Y)]
        survival = np.prod([1 - 1 / np.sum(at <= Y) for at in times])
        assert np.mean(drawn > time) == pytest.approx(survival, abs=0.012)
    mirrored = -drawn_beyond(-many, -side)
    np.testing.assert_allclose(np.quantile(mirrored, [0.1, 0.5, 0.9]), np.quantile(drawn, [0.1, 0.5, 0.9]), rtol=0.03)
    fixed = drawn_beyond(np.minimum(TIME, 1.0), np.where(TIME > 1, 1, 0))
    assert len(np.unique(fixed)) == NUM
    assert fixed[TIME > 1].min() > 1


WRONG = {
    "row 3: got '2', expected 1 or observed, 0 or right": [1, 0, 2],
    "row 2: got 'dead', expected 1 or observed": ["1", "dead", "0"],
    "row 2: got '2', .*; if 1 means censored and 2 an event, subtract 1": [1, 2, 2],
    "row 2: got nothing": [1, None, 0],
    "got a censored target in every row": [0, 0, 0],
    r"got shape \(2,\), expected \[3\]": [1, 0],
}


@pytest.mark.parametrize("expected", WRONG)
def test_a_wrong_event_is_one_line(expected):
    with pytest.raises(ValueError, match=expected) as caught:
        sides_of("event", np.array(WRONG[expected]), 3)
    assert "\n" not in str(caught.value)


def test_words_numbers_and_truth_values_say_the_same():
    for event in ([1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["1", "0", "1"], ["TRUE", " Right", "observed"]):
        found = sides_of("event", np.array(event), 3)
        assert found is not None
        assert found.tolist() == [0, 1, 0]


REFUSED = {
    "got censored rows and 2 targets": ({}, np.stack([Y, TIME], axis=1)),
    "data.censored: got bounds beside rows": ({"data.censored": [None, 3.0]}, Y),
    "data.atoms: got atoms beside rows": ({"data.atoms": [0.0]}, Y),
    "got censored rows with a loss other than": ({"train.loss": "natural_em"}, Y),
    "data.calibration_share: got 0.2 with censored rows": ({"data.calibration_share": 0.2}, Y),
}


@pytest.mark.filterwarnings("ignore:target")
@pytest.mark.parametrize("expected", REFUSED)
def test_what_censored_rows_cannot_be_combined_with_is_an_error(expected):
    settings, y = REFUSED[expected]
    with pytest.raises(ValueError, match=expected):
        mdn.fit(X, y, event=EVENT, settings={**SMALL, **settings})


FRAME = pandas.DataFrame({"a": X[:60, 0], "b": X[:60, 1], "time": Y[:60], "event": EVENT[:60]})


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_the_column_of_events_follows_its_rows_and_is_no_input(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    if suffix == "npz":
        np.savez(path, a=FRAME["a"], b=FRAME["b"], time=FRAME["time"], event=FRAME["event"])
    else:
        FRAME.to_csv(path, index=False) if suffix == "csv" else FRAME.to_parquet(path)
    found = read_table(Table(path=str(path), target=("time",), event="event"), 0)
    assert [column.name for column in found.columns.inputs] == ["a", "b"]
    assert any("is observed in" in note for note in found.notes)
    for rows, part in zip(found.rows, found.splits, strict=True):
        np.testing.assert_array_equal(part.censoring, SIDE[rows])


WRONG_TABLES = {
    "column 'event', row 5: got '3', expected 1 or observed": (
        {},
        FRAME.assign(event=np.where(FRAME.index == 4, 3, FRAME.event)),
    ),
    "got column 'evnt', expected one of .*; did you mean 'event'": ({"event": "evnt"}, FRAME),
    "data.event: got 'time', which is a target or an input": ({"event": "time"}, FRAME),
    "data.event: got 'a', which is a target or an input": ({"event": "a", "features": ("a", "b")}, FRAME),
    "data.event: got a censored target in all 6 test rows": (
        {"split": "time"},
        FRAME.assign(event=np.where(FRAME.index >= 54, 0, FRAME.event)),
    ),
    "event: got censored rows and 2 targets": ({"target": ("time", "b")}, FRAME),
}


@pytest.mark.parametrize("expected", WRONG_TABLES)
def test_a_wrong_column_of_events_is_one_line(tmp_path, expected):
    changes, frame = WRONG_TABLES[expected]
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=expected) as caught:
        read_table(Table(**{"path": str(tmp_path / "t.csv"), "target": ("time",), "event": "event", **changes}), 0)
    assert "\n" not in str(caught.value)


def test_rows_on_disk_and_benchmarks_refuse_a_column_of_events(tmp_path):
    FRAME.to_parquet(tmp_path / "t.parquet")
    words = [f"data.path={tmp_path / 't.parquet'}", "data.target=time", "data.event=event", f"output={tmp_path / 'run'}"]
    assert_one_line_error(run("tabular", *words, "data.in_memory=false"), "data.event: got 'event', which needs all rows")
    assert_one_line_error(run("tabular", *words, "train.loss=natural_em"), "event: got censored rows with a loss other than")
    assert_one_line_error(run("uci", *words), "data.event: got 'event', expected null")


def test_the_command_scores_censored_rows_and_draws_the_others(tmp_path):
    pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "time": Y, "event": EVENT}).to_csv(tmp_path / "t.csv", index=False)
    settings = [f"{key}={json.dumps(value)}" for key, value in LINE.items() if key != "selection.settings"]
    words = [f"data.path={tmp_path / 't.csv'}", "data.target=time", "data.event=event", f"output={tmp_path / 'run'}"]
    process = run("tabular", *words, *settings, "selection.settings=[]", "data.test_share=0.25")
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    predictor = mdn.load(tmp_path / "run" / "model.safetensors")
    section = Table(path=str(tmp_path / "t.csv"), target=("time",), event="event", test_share=0.25)
    test = read_table(section, 0).splits.test
    evaluation = mdn.evaluate(predictor, test.x, test.y, event=np.where(test.censoring == 0, 1, 0))
    shown = metrics["evaluation"]
    assert shown["network"]["nll"] == pytest.approx(evaluation.nll, abs=1e-4)
    assert metrics["mdn"]["test_nll"] == pytest.approx(evaluation.nll, abs=1e-4)
    assert metrics["mdn"]["test_crps"] == pytest.approx(shown["network"]["crps"][0], rel=1e-4)
    assert shown["linear Gaussian"]["nll"] < shown["marginal Gaussian"]["nll"]
    scores = np.load(tmp_path / "run" / "test_scores.npz")
    np.testing.assert_array_equal(np.isnan(scores["crps"]), test.censoring != 0)
    assert PLAIN.pit(predictor.at(test.x), predictor.units, test.y, test.censoring) == pytest.approx(scores["pit"], abs=1e-4)
    assert "whose target is observed" in process.stdout.replace("\n", " ")
    assert "Some targets are censored" in (tmp_path / "run" / "report.html").read_text()


def test_a_score_of_the_first_rows_is_nan_if_all_of_them_are_censored():
    values, weight = np.arange(3.0), np.array([0.0, 0.0, 0.0, 1.0])
    assert np.isnan(mean_of_first_rows(values, weight))
    assert mean_of_first_rows(values, weight[::-1]) == 0
