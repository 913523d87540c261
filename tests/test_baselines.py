"""Simple models next to which a table is scored, and scores of models that are known."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import mdnjax as mdn
from experiments import reading
from mdnjax.baselines import linear_gaussian, marginal_gaussian
from mdnjax.components import Support
from mdnjax.config.data import Table
from mdnjax.data import Dataset
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import joined
from mdnjax.data.units import own_units
from mdnjax.evaluation import evaluate_mixtures, permutation_importance
from tests.commands import ROOT


def test_the_linear_gaussian_is_least_squares():
    table: Any = load_diabetes()
    train, x = Dataset(table.data[:300].astype(np.float32), table.target[:300, None].astype(np.float32)), table.data[300:]
    mixture = linear_gaussian(train, x.astype(np.float32), None, own_units(1))
    expected = LinearRegression().fit(table.data[:300], table.target[:300])
    np.testing.assert_allclose(np.asarray(mdn.mean(mixture))[:, 0], expected.predict(x), rtol=1e-3)
    residuals = table.target[:300] - expected.predict(table.data[:300])
    np.testing.assert_allclose(mdn.variance(mixture)[0], residuals @ residuals / 289, rtol=1e-3)


def test_the_readme_has_the_nll_of_the_simple_models_on_the_table_of_its_example(tmp_path):
    bunch: Any = load_diabetes(as_frame=True, scaled=False)
    bunch.frame.to_csv(tmp_path / "diabetes.csv", index=False)
    train, validation, test = reading.read_table(Table(path=str(tmp_path / "diabetes.csv"), target=("target",)), 0).splits
    known, units = joined(train, validation), own_units(1)
    mixtures = [make(known, test.x, None, units) for make in (linear_gaussian, marginal_gaussian)]
    found = [f"{np.mean(np.asarray(mdn.nll(mixture, test.y.astype(np.float32)))):.2f}" for mixture in mixtures]
    assert f", {found[0]} and {found[1]} here" in (ROOT / "README.md").read_text()


def test_the_marginal_gaussian_of_a_positive_target_is_log_normal():
    y = np.exp(np.random.default_rng(0).normal(1, 0.5, size=(500, 1))).astype(np.float32)
    mixture = marginal_gaussian(Dataset(y, y), y[:3], Support((0.0,), (np.inf,)), own_units(1))
    np.testing.assert_allclose(mdn.median(mixture), np.exp(np.log(y).mean()), rtol=1e-4)


def test_the_evaluation_of_the_truth_is_calibrated():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4000, 1)).astype(np.float32)
    y = (2 * x + generator.normal(size=x.shape)).astype(np.float32)
    evaluation = evaluate_mixtures(linear_gaussian(Dataset(x, y), x, None, own_units(1)), y, own_units(1))
    assert evaluation.nll == pytest.approx(0.5 * np.log(2 * np.pi * np.e), abs=0.03)
    assert evaluation.rmse[0] == pytest.approx(1, abs=0.03)
    assert evaluation.crps[0] == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)
    np.testing.assert_allclose(evaluation.coverage[0], [0.5, 0.8, 0.95], atol=0.02)
    np.testing.assert_allclose(evaluation.width[0], [1.349, 2.563, 3.92], rtol=0.03)


def test_a_column_that_does_not_matter_has_no_importance():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 3)).astype(np.float32)
    columns = Columns((Column("used"), Column("ignored"), Column("also")), ("y",))

    class Known(mdn.Predictor):
        def nll(self, dataset):
            return 0.5 * (dataset.y[:, 0] - dataset.x[:, 0]) ** 2

    predictor = object.__new__(Known)  # made without networks, which `nll` here does not use
    object.__setattr__(predictor, "columns", columns)
    rises = permutation_importance(predictor, Dataset(x, x[:, :1]), 0)
    assert (rises["ignored"] == 0).all()
    assert rises["used"].mean() == pytest.approx(1, abs=0.2)
