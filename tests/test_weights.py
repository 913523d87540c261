"""Weights of rows: whole numbers have the effect of copies in units, losses, scores and selections."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from experiments.command import UserError
from experiments.reading import read_table
from mdnjax.baselines import linear_gaussian
from mdnjax.config import Config, load
from mdnjax.config.data import Table
from mdnjax.data import Dataset, make_scaler, make_support, to_training_units
from mdnjax.data.dataset import select_rows
from mdnjax.data.units import own_units
from mdnjax.evaluation import evaluate_mixtures
from mdnjax.training import functions
from mdnjax.training.initialise import em_step, fit_linear_path, fit_marginal
from mdnjax.training.inputs import rotated_split
from mdnjax.training.selection import smallest_within_one_error, stacking_weights
from tests.test_fitting import SMALL

RNG = np.random.default_rng(0)
NUM = 30
COPIES = np.arange(NUM) % 3 + 1
X = RNG.standard_normal((NUM, 2))
WEIGHTED = Dataset(X, np.exp(X[:, :1] + RNG.standard_normal((NUM, 1))), 0.7 * COPIES)
COPIED = Dataset(np.repeat(WEIGHTED.x, COPIES, axis=0), np.repeat(WEIGHTED.y, COPIES, axis=0))
BOTH = (WEIGHTED, COPIED)


def assert_same(first, second, rtol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), first, second)


@pytest.mark.parametrize("support", ["real", "positive"])
def test_the_units_of_training_are_those_of_copies(support):
    weighted, copied = (make_scaler(dataset, True, make_support(support, 1)) for dataset in BOTH)
    assert_same(weighted[:6], copied[:6], rtol=1e-12)


def test_loss_gradient_and_validation_score_are_those_of_copies():
    """A step of gradient descent with the rate 1 changes parameters by the gradient."""
    words = ["model.num_components=2", "train.x_noise=0", "train.optimizer.name=sgd", "train.optimizer.learning_rate=1.0"]
    config = load(Config, None, [*words, "train.entropy_bonus=0.1"])
    model, train, numbers = functions.split_sections(config.model, config.train)
    training = functions.make_training_functions(model, train, 2, 1)
    scaled = [to_training_units(make_scaler(dataset, True), dataset) for dataset in BOTH]
    weighted, copied = (functions.make_training_inputs(numbers, jax.random.key(0), part, part) for part in scaled)
    state = training.init(weighted)
    step, score = jax.jit(training.train_step), jax.jit(training.validation_score)
    assert_same(step(state, weighted)[0].params, step(state, copied)[0].params, rtol=1e-4)
    assert_same(step(state, weighted)[1], step(state, copied)[1])
    assert float(score(state.params, weighted)) == pytest.approx(float(score(state.params, copied)), rel=1e-6)
    padded = functions.pad_inputs(weighted, 64, 64)
    assert float(score(state.params, padded)) == pytest.approx(float(score(state.params, copied)), rel=1e-6)


def test_the_first_parameters_are_fitted_to_the_weighted_rows():
    weight, weighted, copied = jnp.asarray(COPIES / np.mean(COPIES)), *(jax.tree.map(jnp.asarray, part) for part in BOTH)
    paths = fit_linear_path(weighted.x.T, weighted.y.T, 0.01, weight), fit_linear_path(copied.x.T, copied.y.T, 0.01)
    assert_same(*paths, rtol=1e-9)
    start = fit_marginal(jax.random.key(0), weighted.y.T, 2, 0.01, weight)
    assert_same(em_step(weighted.y.T, start, 0.01, weight), em_step(copied.y.T, start, 0.01), rtol=1e-9)


def test_selections_are_those_of_copies():
    log_probs = RNG.standard_normal((4, NUM))
    copied = np.repeat(log_probs, COPIES, axis=1)
    assert_same(stacking_weights(log_probs, WEIGHTED.weight), stacking_weights(copied))
    assert_same(smallest_within_one_error(log_probs, WEIGHTED.weight)[:2], smallest_within_one_error(copied)[:2])
    equal = smallest_within_one_error(log_probs, np.full(NUM, 5.0))
    expected = (log_probs - log_probs[log_probs.mean(axis=1).argmin()]).std(axis=1, ddof=1) / NUM**0.5
    np.testing.assert_allclose(equal.standard_error, expected, rtol=1e-12)


def test_scores_and_the_linear_gaussian_are_those_of_copies():
    mixture = linear_gaussian(WEIGHTED._replace(weight=None), COPIED.x, None, own_units(1))
    first_copies = np.concatenate([[0], np.cumsum(COPIES)[:-1]])
    weighted = evaluate_mixtures(mixture[first_copies], WEIGHTED.y, own_units(1), WEIGHTED.weight)
    copied = evaluate_mixtures(mixture, COPIED.y, own_units(1))
    assert_same(weighted[:6], copied[:6], rtol=1e-5)
    predicted = [mdn.mean(linear_gaussian(dataset, X, None, own_units(1))) for dataset in BOTH]
    assert_same(*predicted, rtol=1e-5)


def test_weights_follow_their_rows_into_every_part():
    rows = Dataset(X, X[:, :1], X[:, 1] ** 2)
    train, validation = select_rows(rows, slice(24)), select_rows(rows, slice(24, None))
    for turn in range(3):
        for part in rotated_split(train, validation, turn):
            np.testing.assert_array_equal(part.weight, part.x[:, 1] ** 2)


def test_a_row_of_weight_0_is_left_out_and_a_column_of_weights_is_no_input():
    weight = np.where(np.arange(80) % 7 == 3, 0.0, 1.0 + np.arange(80) % 2)
    x = np.random.default_rng(1).normal(size=(80, 2))
    y = x[:, 0] + np.where(weight == 0, 1e3, 0)
    table = {"a": x[:, 0], "b": x[:, 1], "w": weight, "y": y}
    predictor = mdn.fit(table, "y", weight="w", settings=SMALL)
    assert [column.name for column in predictor.columns.inputs] == ["a", "b"]
    counted = weight > 0
    other = mdn.fit(x[counted], y[counted], weight=weight[counted], settings=SMALL)
    np.testing.assert_array_equal(other.mean(x), predictor.mean(x))
    assert mdn.evaluate(predictor, table, y, weight).rmse[0] < 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor = mdn.MDNRegressor(random_state=0, num_steps=40, num_members=1, hidden_sizes=(8,), num_components=2)
        regressor.settings = {"selection.settings": [], "train.x_noise": 0, "train.report_every": 20, "model.experts": []}
        assert regressor.fit(x, y, sample_weight=weight).score(x, y, sample_weight=weight) > 0


WRONG = {
    r"got shape \(3,\), expected \[80\]": np.ones(3),
    "got -1 in row 3, expected a finite number that is not negative": np.where(np.arange(80) == 2, -1.0, 1.0),
    "got nan in row 1": np.full(80, np.nan),
    "got zero in every row": np.zeros(80),
    "got values that are not numbers": ["a"] * 80,
}


@pytest.mark.parametrize("expected", WRONG)
def test_a_wrong_weight_is_an_error(expected):
    x, y = np.ones((80, 2)) * np.arange(80)[:, None], np.arange(80.0)
    with pytest.raises(ValueError, match=f"^weight: {expected}"):
        mdn.fit(x, y, weight=WRONG[expected], settings=SMALL)
    with pytest.raises(ValueError, match=f"^sample_weight: {expected}"):
        mdn.MDNRegressor().fit(x, y, sample_weight=WRONG[expected])


FRAME = pandas.DataFrame({"a": np.arange(60.0), "w": np.arange(60) % 3, "y": np.sin(np.arange(60))})


def test_a_column_of_weights_is_read_with_its_rows(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    found = read_table(Table(path=str(tmp_path / "t.csv"), target=("y",), weight="w"), 0)
    assert [column.name for column in found.columns.inputs] == ["a"]
    for rows, part in zip(found.rows, found.splits, strict=True):
        np.testing.assert_array_equal(part.weight, FRAME["w"].to_numpy()[rows])
        assert np.min(part.weight) > 0  # pyright: ignore


WRONG_COLUMNS = {
    "column 'w', row 5: got -2, expected a number that is not negative": FRAME.assign(w=[1.0] * 4 + [-2.0] + [1.0] * 55),
    "column 'w', row 60: got nothing": FRAME.assign(w=[1.0] * 59 + [np.nan]),
    "column 'w', row 2: got 'much', expected a number": FRAME.assign(w=["1", "much"] + ["2"] * 58),
    "column 'w': got zero in every row": FRAME.assign(w=0),
    "got column 'w', expected one of .*": FRAME[["a", "y"]],
    "got a weight above 0 for": FRAME.assign(w=np.where(np.arange(60) == 40, 1, 0)),
}


@pytest.mark.parametrize("expected", WRONG_COLUMNS)
def test_a_wrong_column_of_weights_is_one_line(tmp_path, expected):
    WRONG_COLUMNS[expected].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=expected) as caught:
        read_table(Table(path=str(tmp_path / "t.csv"), target=("y",), weight="w"), 0)
    assert "\n" not in str(caught.value)


def test_the_target_is_no_weight(tmp_path):
    FRAME.assign(y=FRAME["y"] + 2).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=r"data\.weight: got 'y', which is a target or an input"):
        read_table(Table(path=str(tmp_path / "t.csv"), target=("y",), weight="y"), 0)
