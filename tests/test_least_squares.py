"""Student's predictive distributions agree with another library, and with few rows they are pooled with the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api
from scipy import stats

import mdnjax as mdn
from mdnjax.components import Diagonal
from mdnjax.data import Dataset
from mdnjax.export import export_model
from mdnjax.fit_examples import make_config
from mdnjax.fitting import make_task
from mdnjax.least_squares import fit_least_squares, location_and_scale, log_probs, student_as_gaussians
from mdnjax.least_squares import with_least_squares as pooled_with
from mdnjax.training.spread import SCALE_FACTORS
from mdnjax.training.stacking import optimism_of, stack_settings

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2))
Y = (X @ [1.0, -0.5] + 0.3 * RNG.standard_normal(12))[:, None]
NEW = RNG.standard_normal((7, 2))
WEIGHT = RNG.uniform(0.5, 2, 12)
SETTINGS = {
    "train.num_steps": 40,
    "train.report_every": 20,
    "model.hidden_sizes": [5],
    "model.num_components": 2,
    "model.experts": [],
    "model.embedding": "none",
    "model.line": False,
    "ensemble.num_members": 3,
    "selection.settings": [{"train.x_noise": 0.1}, {"train.x_noise": 0.2}],
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weights"])
@pytest.mark.parametrize("slopes", [False, True])
def test_predictions_are_those_of_statsmodels(slopes, weight):
    fit = fit_least_squares(X, Y, weight)
    of = (lambda x: statsmodels.api.add_constant(x)) if slopes else (lambda x: np.ones((len(x), 1)))
    weights = np.ones(12) if weight is None else weight / weight.mean()
    model = statsmodels.api.WLS(Y[:, 0], of(X), weights=weights).fit()  # pyright: ignore[reportArgumentType]
    expected = model.get_prediction(of(NEW))
    loc, scale = location_and_scale(fit, NEW)
    np.testing.assert_allclose(loc[int(slopes), :, 0], expected.predicted_mean)
    np.testing.assert_allclose(scale[int(slopes), :, 0], expected.se_obs, rtol=1e-6)
    assert fit.df[int(slopes)] == model.df_resid


def test_a_fit_that_has_no_degree_left_has_no_weight():
    assert fit_least_squares(X[:3], Y[:3]).weight.tolist() == [1, 0]
    same = np.repeat(X[:, :1], 2, axis=1)  # one of two equal inputs is not counted
    assert fit_least_squares(same[:3], Y[:3]).df.tolist() == [2, 1]


@pytest.mark.parametrize("df", [1, 2, 3, 8, 100])
def test_gaussians_are_close_to_students_t(df):
    share, scale = student_as_gaussians(df)
    points = stats.t.ppf(np.linspace(0.005, 0.995, 199), df)
    cdf = share @ stats.norm.cdf(points, scale=scale[:, None])
    np.testing.assert_allclose(cdf, stats.t.cdf(points, df), atol=4e-3)
    log_density = np.log(share @ stats.norm.pdf(points, scale=scale[:, None]))
    assert np.mean(np.abs(stats.t.logpdf(points, df) - log_density)) < 0.03


def test_the_mixture_has_the_weights_of_all_parts():
    fit = fit_least_squares(X, Y)._replace(weight=np.array([0.3, 0.2]))
    network = mdn.Mixture(jnp.zeros((7, 1)), Diagonal(jnp.full((7, 1, 1), 0.5), jnp.ones((7, 1, 1))))
    y = RNG.standard_normal((7, 1))
    parts = np.array([stats.norm.logpdf(y[:, 0], 0.5), *log_probs(fit, Dataset(NEW, y))])
    expected = np.log(np.array([0.5, 0.3, 0.2]) @ np.exp(parts))
    np.testing.assert_allclose(mdn.log_prob(pooled_with(network, fit, NEW), y), expected, atol=0.02)


def test_probabilities_of_cells_add_up_to_one():
    fit, edges = fit_least_squares(X, Y), np.concatenate([[-np.inf], np.arange(-3, 4), [np.inf]])
    cells = np.stack([edges[:-1], edges[1:]], axis=1)[..., None]
    found = log_probs(fit, Dataset(np.repeat(NEW[:1], 8, axis=0), np.zeros((8, 1)), None, cells))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)


def test_the_optimism_is_the_difference_from_the_step_that_the_others_choose():
    curves = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0], [3.0, 2.0, np.nan]])  # the third has ended after two reports
    np.testing.assert_allclose(optimism_of(curves, 3), [1.0, 1.0, 0.0])
    np.testing.assert_allclose(optimism_of(curves, 1), 0)


@pytest.mark.parametrize(("keep", "optimism"), [("best", 1.0), ("last", 0.0)])
def test_the_nll_has_no_costs_and_only_a_chosen_step_is_optimistic(keep, optimism):
    config = make_config({**SETTINGS, "train.keep": keep}, "a test")
    task = make_task(config, Dataset(X[:9], Y[:9]), Dataset(X[9:], Y[9:]))
    curves = np.tile([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], (2, 1))  # the others choose another step only for the first network
    stack = stack_settings([task], np.full((6, len(SCALE_FACTORS), len(task.validation.x)), -9.0), np.ones(6, bool), curves)
    assert stack.setting_weights.sum() > 0.9
    assert stack.validation_nll[0] == pytest.approx(-9 + optimism / 3, abs=0.1)


@pytest.fixture(scope="module")
def predictor():
    return mdn.fit(X, Y, settings=SETTINGS)


def test_few_rows_are_pooled_with_least_squares(predictor):
    linear = predictor.networks.least_squares
    assert np.sum(linear.weight) > 0.2
    assert float(jnp.sum(mdn.weights(predictor(NEW)), axis=-1)[0]) == pytest.approx(1)
    without = mdn.fit(X, Y, settings={**SETTINGS, "selection.least_squares": False})
    assert without.networks.least_squares is None


def test_a_file_and_a_program_predict_the_same(predictor, tmp_path):
    mdn.save(tmp_path / "m.safetensors", predictor)
    expected = predictor.mean(NEW)
    np.testing.assert_array_equal(mdn.load(tmp_path / "m.safetensors").mean(NEW), expected)
    program = jax.export.deserialize(bytearray(export_model(predictor)))
    np.testing.assert_allclose(program.call(NEW)["mean"], expected, rtol=1e-5)
