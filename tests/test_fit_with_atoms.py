"""Fits of targets with atoms and of censored targets: the numbers that a person receives through every door, and bad settings."""

from typing import Any

import jax
import numpy as np
import pandas
import pytest

import mdnjax as mdn
from tests.commands import run

SMALL = {
    "selection.settings": [],
    "ensemble.num_members": 1,
    "train.num_steps": 150,
    "train.report_every": 50,
    "model.experts": [],
}
SMALL |= {"model.hidden_sizes": [8], "model.num_components": 3, "model.embedding": "none"}


@pytest.fixture(scope="module")
def rain():
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 4, (300, 2))
    wet = generator.random(300) < 1 / (1 + np.exp(-2 * (x[:, 0] - 2)))
    y = np.where(wet, 1 + x[:, 0] + 0.3 * np.abs(generator.normal(size=300)), 0.0)
    with pytest.warns(UserWarning, match="target 'y0' is 0 in 4. % of the rows: this value has a probability of its own"):
        return x, y, mdn.fit(x, y, settings=SMALL)


def test_a_fit_predicts_the_probability_of_an_atom_through_every_door(rain, tmp_path):
    x, y, predictor = rain
    values, probabilities = predictor.probabilities(x)
    assert values.tolist() == [0.0]
    assert np.mean(np.abs(probabilities[:, 0] - 1 / (1 + np.exp(2 * (x[:, 0] - 2))))) < 0.12
    draws = predictor.sample(jax.random.key(0), x[:20], 4000)[..., 0]
    assert draws.min() == 0
    np.testing.assert_allclose(np.mean(draws == 0, axis=1), probabilities[:20, 0], atol=0.04)
    np.testing.assert_allclose(draws.mean(axis=1), predictor.mean(x[:20])[:, 0], atol=0.2)
    np.testing.assert_allclose(draws.std(axis=1), predictor.sd(x[:20])[:, 0], rtol=0.1, atol=0.2)
    quantiles = predictor.quantiles(x, [0.05, 0.5, 0.95])[..., 0]
    assert quantiles.min() == 0
    assert ((quantiles[:, 1] == 0) == (probabilities[:, 0] >= 0.5)).all()
    log_prob = predictor.log_prob(x, y)
    np.testing.assert_allclose(log_prob[y == 0], np.log(probabilities[y == 0, 0]), atol=1e-4)
    evaluation = mdn.evaluate(predictor, x, y)
    assert evaluation.nll == pytest.approx(-np.mean(log_prob), rel=1e-4)
    assert evaluation.atoms is not None
    assert evaluation.atoms.predicted_share[0] == pytest.approx(probabilities.mean(), abs=1e-5)
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.quantiles(x, [0.05, 0.5, 0.95])[..., 0], quantiles)
    with jax.enable_x64(True):
        program = jax.export.deserialize(bytearray(mdn.export_model(predictor, quantiles=(0.05, 0.5, 0.95))))
        exported = program.call(x)
    np.testing.assert_allclose(exported["quantiles"], quantiles, atol=1e-4)
    np.testing.assert_allclose(exported["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(exported["mean"], predictor.mean(x), atol=1e-4)
    np.testing.assert_allclose(exported["sd"], predictor.sd(x), atol=1e-3)
    pandas.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "y": y}).to_csv(tmp_path / "new.csv", index=False)
    options = ["probabilities=true", "intervals=[0.9]", "samples=2", "density_at=y", f"output={tmp_path / 'p.csv'}"]
    process = run("predict", tmp_path / "m.safetensors", tmp_path / "new.csv", *options)
    assert process.returncode == 0, process.stderr
    written: Any = pandas.read_csv(tmp_path / "p.csv")
    np.testing.assert_allclose(written["probability_0"], probabilities[:, 0], atol=1e-6)
    np.testing.assert_allclose(written[["quantile_0.05", "quantile_0.5", "quantile_0.95"]], quantiles, atol=1e-5)
    np.testing.assert_allclose(written["log_density"], log_prob, atol=1e-4)
    np.testing.assert_allclose(written[["mean", "sd"]], np.hstack([predictor.mean(x), predictor.sd(x)]), rtol=2e-4)
    assert (written[["low_0.9", "sample_1"]].to_numpy() >= 0).all()


def test_predictions_of_a_censored_target_go_beyond_the_bound():
    generator = np.random.default_rng(1)
    x = generator.uniform(0, 4, (300, 1))
    y = 10 * x[:, 0] + generator.normal(size=300)
    options = {**SMALL, "data.censored": [None, 30.0], "model.line": True, "train.init.line": 1.0}
    with pytest.warns(UserWarning, match="target 'y0' is 30 or more in 2. % of the rows"):
        predictor = mdn.fit(x, np.minimum(y, 30.0), settings=options)
    new = np.array([[1.0], [3.5]])
    assert predictor.mean(new)[:, 0] == pytest.approx([10, 35], abs=2.5)
    assert predictor.log_prob(new, [10.0, 30.0])[1] == pytest.approx(0, abs=0.02)  # P(Y >= 30) is nearly 1
    np.testing.assert_array_equal(predictor.log_prob(new, [10.0, 30.0]), predictor.log_prob(new, [10.0, 44.0]))
    with pytest.raises(ValueError, match="got no single target of which values have probabilities"):
        predictor.probabilities(new)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.atoms": [0.0, 0.0]}, "expected finite numbers, each once"),
        ({"data.atoms": "zero"}, "expected a list of numbers, or auto"),
        ({"data.censored": [5, 1]}, "the lower one first"),
        ({"data.censored": 5}, r"expected a lower and an upper bound, such as \[null, 50\]"),
        ({"data.atoms": [0.0], "train.loss": "natural_em"}, "expected none with a loss other than train.loss nll"),
        ({"data.censored": [None, -50.0]}, "data.censored: got 0 values that are neither atoms nor censored"),
    ],
)
def test_wrong_atoms_and_bounds_are_one_line(changes, message):
    x = np.arange(40.0)
    with pytest.raises(ValueError, match=message) as error:
        mdn.fit(x, np.sin(x), settings={**SMALL, **changes})
    assert "data." in str(error.value)


def test_few_zeros_of_a_positive_target_are_an_error_that_names_the_key():
    x = np.arange(40.0)
    with pytest.raises(ValueError, match=r"got a target of 0 .*; data.atoms=\[0\] gives this value a probability of its own"):
        mdn.fit(x, np.where(x == 3, 0, 1 + x), settings={**SMALL, "data.target_support": "positive"})
