"""MDNRegressor: scikit-learn's checks, and what they do not cover."""

import pickle
import re
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import mdnjax as mdn
from mdnjax import MDNRegressor
from mdnjax.data.examples import as_probabilities

SMALL = {"num_steps": 60, "num_members": 1, "hidden_sizes": (8,), "num_components": 2, "random_state": 0}
SMALL["settings"] = {"selection.settings": [], "train.report_every": 30, "train.batch_size": 32, "train.x_noise": 0}
SMALL["settings"] |= {"model.experts": [], "model.embedding": "none"}
SMALL["settings"] |= {"train.init.name": "glorot", "model.line": False}  # less to compile for each of the many shapes
BUNCH: Any = load_diabetes()
X, Y = BUNCH.data, BUNCH.target


REASON = "copies of a row are drawn into other validation rows and other minibatches than a row with a weight"
UNEQUAL = {f"check_sample_weight_equivalence_on_{kind}_data": REASON for kind in ("dense", "sparse")}


@parametrize_with_checks([MDNRegressor(**SMALL)], expected_failed_checks=lambda _: UNEQUAL)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def fitted():
    return MDNRegressor(random_state=0, num_members=2, num_steps=60, settings={"train.report_every": 20}).fit(X[:300], Y[:300])


def test_it_is_better_than_the_mean_and_calibrated(fitted):
    assert fitted.score(X[300:], Y[300:]) > 0.2
    ends = fitted.predict_interval(X[300:], 0.8)
    assert 0.6 < np.mean((ends[:, 0] <= Y[300:]) & (Y[300:] <= ends[:, 1])) < 0.95
    assert -np.mean(fitted.log_density(X[300:], Y[300:])) < -np.mean(np.log(1 / (Y.std() * np.sqrt(2 * np.pi * np.e))))


def test_its_statistics_agree_with_each_other(fitted):
    quantiles = fitted.predict_quantiles(X[:5], [0.1, 0.5, 0.9])
    assert quantiles.shape == (5, 3)
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_allclose(fitted.predict_interval(X[:5], 0.8), quantiles[:, [0, 2]], rtol=1e-5)
    mixture = fitted.predict_distribution(X[:5])
    np.testing.assert_allclose(mdn.cdf(mixture, quantiles[:, 1:2]), 0.5, atol=1e-4)
    draws = fitted.sample(X[:5], 4000, random_state=0)
    assert draws.shape == (5, 4000)
    np.testing.assert_allclose(draws.mean(axis=1), fitted.predict(X[:5]), rtol=0.05)


def test_it_predicts_the_same_from_a_pickle_and_a_file(fitted, tmp_path):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    fitted.save(tmp_path / "m.safetensors")
    table = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    mixture = mdn.load(tmp_path / "m.safetensors")(table)
    np.testing.assert_allclose(np.asarray(mdn.mean(mixture))[:, 0], fitted.predict(X), rtol=1e-4)


def test_several_targets_keep_their_axis():
    y = np.stack([Y, -2 * Y], axis=1)[:80]
    several = MDNRegressor(**SMALL).fit(X[:80], y)
    assert several.predict(X[:7]).shape == (7, 2)
    assert several.predict_quantiles(X[:7]).shape == (7, 3, 2)
    assert several.predict_interval(X[:7]).shape == (7, 2, 2)
    assert several.sample(X[:7], 3).shape == (7, 3, 2)
    assert several.log_density(X[:7], y[:7]).shape == (7,)


def test_it_works_in_a_pipeline_and_a_search():
    pipeline = make_pipeline(StandardScaler(), MDNRegressor(**SMALL))
    assert cross_val_score(pipeline, X[:90], Y[:90], cv=2).shape == (2,)
    search = GridSearchCV(MDNRegressor(**SMALL), {"num_components": [1, 2]}, cv=2, scoring=mean_log_density)
    assert search.fit(X[:90], Y[:90]).best_params_["num_components"] in (1, 2)


def mean_log_density(estimator, x, y):
    return np.mean(estimator.log_density(x, y))


def test_names_of_a_data_frame_become_names_of_columns():
    frame = pandas.DataFrame(X[:80], columns=[f"c{i}" for i in range(10)])
    model = MDNRegressor(**SMALL).fit(frame, Y[:80])
    assert model.predictor_.columns.inputs[3].name == "c3"
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


FRAME = pandas.DataFrame(
    {
        "size": X[:90, 2],
        "kind": np.where(X[:90, 1] > 0, "large", "small"),
        "age": np.where(np.arange(90) % 9 == 4, np.nan, X[:90, 0]),
        "same": 1.0,
    },
    index=[f"row {i}" for i in range(90)],
)


@pytest.fixture(scope="module")
def fitted_on_frame():
    with pytest.warns(UserWarning, match="column 'same' is left out"):
        return MDNRegressor(**SMALL, impute=True).fit(FRAME, Y[:90])


def test_text_and_missing_values_of_a_data_frame_are_used(fitted_on_frame):
    assert [(column.name, column.width) for column in fitted_on_frame.predictor_.columns.inputs] == [
        ("size", 1),
        ("kind", 2),
        ("age", 2),
    ]
    mean = fitted_on_frame.predict(FRAME)
    assert np.isfinite(mean).all()
    changed = FRAME.assign(kind=FRAME["kind"].iloc[::-1].to_numpy())
    assert (fitted_on_frame.predict(changed) != mean)[FRAME["kind"].to_numpy() != changed["kind"].to_numpy()].all()
    np.testing.assert_allclose(fitted_on_frame.predict(FRAME.iloc[4:5])[0], mean[4], rtol=1e-6)  # a row without an age
    with pytest.warns(UserWarning, match="feature names"):  # an array has the columns of the frame, also those left out
        np.testing.assert_allclose(fitted_on_frame.predict(FRAME.to_numpy()), mean, rtol=1e-12)
    other = pickle.loads(pickle.dumps(fitted_on_frame))
    np.testing.assert_array_equal(other.log_density(FRAME, Y[:90]), fitted_on_frame.log_density(FRAME, Y[:90]))


class Stop(Exception):
    pass


def test_a_warning_points_at_the_line_of_the_caller(monkeypatch):
    """The rows of arrays and frames are counted from 0; the fits stop before they train."""

    def stop(*_, **__):
        raise Stop

    monkeypatch.setattr(mdn.estimator, "fit_rows", stop)
    monkeypatch.setattr(mdn.fit_examples, "fit_rows", stop)
    wild = X[:80, :2].copy()
    wild[7, 1] = 1e9
    frame = pandas.DataFrame(wild, columns=["a", "b"])
    dated = frame.assign(b=Y[:80], day=pandas.Timestamp("2024-03-01") + pandas.to_timedelta(np.arange(80), "D"), one=1)
    calls = {
        "input 'x1' is 1e\\+09 in row 7 \\(from 0\\)": lambda: MDNRegressor(**SMALL).fit(wild, Y[:80]),
        "input 'b' is 1e\\+09 in row 7 \\(from 0\\)": lambda: MDNRegressor(**SMALL).fit(frame, Y[:80]),
        "target 'y0' is 1e\\+09 in row 7": lambda: make_pipeline(StandardScaler(), MDNRegressor(**SMALL)).fit(X[:80], wild[:, 1]),
        "input 'x1' is 1e\\+09": lambda: mdn.fit(wild, Y[:80]),
        "column 'id' is left out: it only counts": lambda: MDNRegressor(**SMALL).fit(
            dated.drop(columns="one").assign(id=range(80)), Y[:80]
        ),
        "column 'one' is left out": lambda: MDNRegressor(**SMALL).fit(dated, Y[:80]),
    }
    for expected, call in calls.items():
        with pytest.warns(UserWarning, match=expected) as caught, pytest.raises(Stop):
            call()
        (warning,) = caught
        assert (warning.filename, warning.lineno) == (__file__, call.__code__.co_firstlineno), expected


def test_a_missing_value_is_an_error_that_names_column_and_parameter():
    expected = r"column 'age', row 5: got nothing, expected a value \(impute=True fills missing ones\)"
    with pytest.raises(ValueError, match=expected):
        MDNRegressor(**SMALL).fit(FRAME, Y[:90])
    with pytest.raises(ValueError, match="NaN"):
        MDNRegressor(**SMALL).fit(FRAME[["size", "age"]].to_numpy(), Y[:90])


def test_dates_of_an_array_and_dates_as_targets_are_refused():
    days = pandas.Series(pandas.date_range("2024-03-01", periods=80))
    for values in (days, days.astype(str), days.dt.date.to_numpy()):
        with pytest.raises(ValueError, match="y: got dates or times, expected numbers, such as the days since the first of them"):
            MDNRegressor(**SMALL).fit(X[:80], values)
    with pytest.raises(ValueError, match=r"X: got dates or times, .*; a data frame may have columns of dates"):
        MDNRegressor(**SMALL).fit(days.to_frame().assign(x=1.0).to_numpy(), Y[:80])


FITS = {
    "X: got a dict, expected an array or a data frame": ({"a": X[:9, 0]}, Y[:9]),
    "X: got the column 'a' 2 times": (pandas.DataFrame(X[:9, :3], columns=["a", "b", "a"]), Y[:9]),
    "X: got the column 0 2 times": (pandas.DataFrame(X[:9, :3], columns=[0, 1, 0]), Y[:9]),
    "X: got a series, which is one column": (FRAME["size"], Y[:90]),
    "X: got complex numbers": (X[:9] + 1j, Y[:9]),
    "X: got an array of records": (np.array([(1.0, 2.0)] * 9, [("a", float), ("b", float)]), Y[:9]),
    "X: got rows of different lengths": ([[1, 2], [3]], Y[:2]),
    "X: got a value of type NoneType": (None, Y[:9]),
    "X: got an array of 1 dimension, expected two": (X[:9, 0], Y[:9]),
    "X: got NaN in row 2, column 1, expected a number; impute=True": (np.where(np.arange(9)[:, None] == 1, np.nan, X[:9]), Y[:9]),
    "X: got 'x' in row 2, column 1, expected a number; a data": (np.array([["1"], ["x"]]), Y[:2]),
    "y: got 'x' in row 9, expected a number": (X[:9], np.array([*Y[:8], "x"], object)),
    "y: got a sparse matrix": (X[:9], scipy.sparse.csr_matrix(Y[:9, None])),
    "y: got complex numbers": (X[:9], Y[:9] + 1j),
    "y: got a value of type float": (X[:9], 3.0),
}


@pytest.mark.parametrize("words", FITS)
def test_what_is_no_table_of_numbers_is_one_line(words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        MDNRegressor(**SMALL).fit(*FITS[words])
    assert "\n" not in str(caught.value)


def test_text_in_place_of_probabilities_is_one_line():
    with pytest.raises(ValueError, match=r"quantiles: got \['a'\], expected a list of numbers from 0 to 1"):
        as_probabilities("quantiles", ["a"])


def test_missing_values_of_an_array_are_filled_when_asked():
    rows = FRAME[["size", "age"]].to_numpy()
    model = MDNRegressor(**SMALL, impute=True).fit(rows, Y[:90])
    assert np.isfinite(model.predict(rows)).all()


def test_predictions_come_as_a_data_frame_with_the_index_of_the_rows(fitted_on_frame):
    quantiles = fitted_on_frame.predict_quantiles(FRAME, [0.05, 0.5])
    interval = fitted_on_frame.predict_interval(FRAME, 0.8)
    try:
        fitted_on_frame.set_output(transform="pandas")
        as_frame = fitted_on_frame.predict_quantiles(FRAME, [0.05, 0.5])
        assert list(as_frame.columns) == ["quantile_0.05", "quantile_0.5"]
        assert list(as_frame.index) == list(FRAME.index)
        np.testing.assert_array_equal(as_frame, quantiles)
        assert list(fitted_on_frame.predict_interval(FRAME, 0.8).columns) == ["low_0.8", "high_0.8"]
        np.testing.assert_array_equal(fitted_on_frame.predict_interval(FRAME, 0.8), interval)
        with pytest.raises(ValueError, match="got 'panda', expected one of default, pandas, polars; did you mean 'pandas'"):
            fitted_on_frame.set_output(transform="panda")
    finally:
        fitted_on_frame.set_output(transform="default")


def test_the_standard_deviation_is_that_of_the_distribution(fitted):
    mean, sd = fitted.predict(X[:5], return_std=True)
    np.testing.assert_array_equal(mean, fitted.predict(X[:5]))
    np.testing.assert_allclose(sd**2, mdn.variance(fitted.predict_distribution(X[:5]))[:, 0], rtol=1e-4)


def test_a_generator_of_numpy_is_a_random_state(fitted):
    draws = [fitted.sample(X[:3], 2, random_state=np.random.default_rng(0)) for _ in range(2)]
    np.testing.assert_array_equal(*draws)


def test_targets_stay_inside_of_their_support():
    model = MDNRegressor(**{**SMALL, "target_support": "positive"}).fit(X[:80], Y[:80])
    assert model.predict_quantiles(X[:80], [0.001]).min() > 0


def test_other_data_of_the_same_padded_size_compile_nothing():
    model = MDNRegressor(**SMALL).fit(X[:100], Y[:100])
    model.predict(X[:70])
    programs = compiled()
    MDNRegressor(**SMALL).fit(X[100:210], Y[100:210]).predict(X[:120])
    assert compiled() == programs


def compiled():
    from mdnjax.ensemble import predict_compiled
    from mdnjax.training import chunks, train

    programs: list[Any] = [chunks._advance, predict_compiled]
    return [train._init_population.num_programs(), *(program._cache_size() for program in programs)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_components": 0}, "expected a whole number from 1"),
        ({"family": "gamma"}, "expected one of"),
        ({"settings": {"train.x_nose": 1.0}}, "did you mean 'train.x_noise'"),
        ({"num_steps": -1}, "num_steps: got -1"),
    ],
)
def test_a_wrong_parameter_is_an_error(changes, expected):
    with pytest.raises(ValueError, match=expected):
        MDNRegressor(**{**SMALL, **changes}).fit(X[:80], Y[:80])
