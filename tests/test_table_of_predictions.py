"""Predictions as a data frame are those of the predictor, also for the partitions of a data frame of Dask."""

import dask.dataframe  # pyright: ignore[reportMissingImports]
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from mdnjax.predictor import Predictor
from tests.predictors import X, few_trees, plain_predictor  # noqa: F401 (a fixture)

LEVELS = (0.1, 0.5)
COLUMNS = ["mean", "sd", "quantile_0.1", "quantile_0.5"]
TABLE = pandas.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])], index=np.arange(len(X)) * 7)


@pytest.fixture(scope="module")
def predictor():
    return plain_predictor()


def test_the_numbers_are_those_of_the_predictor(predictor):
    frame = mdn.predict_table(predictor, TABLE, LEVELS)
    assert list(frame) == COLUMNS
    assert frame.index.equals(TABLE.index)
    np.testing.assert_allclose(frame["mean"], predictor.mean(TABLE)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(frame["sd"], predictor.sd(TABLE)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(frame[COLUMNS[2:]], predictor.quantiles(TABLE, LEVELS)[..., 0], rtol=1e-6)
    np.testing.assert_array_equal(mdn.predict_table(predictor, X, LEVELS), frame)  # rows without names


def test_partitions_are_predicted_when_they_are_computed(predictor, monkeypatch):
    whole, calls = mdn.predict_table(predictor, TABLE, LEVELS), []
    inputs = Predictor.inputs
    monkeypatch.setattr(Predictor, "inputs", lambda self, rows: calls.append(len(rows)) or inputs(self, rows))
    lazy = mdn.predict_table(predictor, dask.dataframe.from_pandas(TABLE, npartitions=3), LEVELS)
    assert calls == [0]  # the names and types of the columns
    found, empty = (frame.compute(scheduler="sync") for frame in (lazy, lazy[lazy["sd"] < 0]))
    assert len(calls) > 3
    pandas.testing.assert_frame_equal(found, whole, rtol=1e-6)
    assert list(empty) == COLUMNS


def test_no_rows_give_a_frame_without_rows(predictor):
    frame = mdn.predict_table(predictor, TABLE[:0])
    assert list(frame) == ["mean", "sd", "quantile_0.05", "quantile_0.5", "quantile_0.95"]
    assert len(frame) == 0


def test_bad_arguments_are_one_sentence(predictor):
    with pytest.raises(ValueError, match=r"quantiles: got \[5.0\]"):
        mdn.predict_table(predictor, TABLE, [5.0])
    with pytest.raises(ValueError, match="no column 'x0'"):
        mdn.predict_table(predictor, dask.dataframe.from_pandas(TABLE.rename(columns={"x0": "z"}), npartitions=2))
