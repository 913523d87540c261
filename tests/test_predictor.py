"""Predictors in the data's own units, compared with the network alone: with supports, and as a pool of networks."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler, make_support, to_training_units
from mdnjax.data.scaler import log_slopes
from mdnjax.data.values import TableError
from mdnjax.ensemble import Networks, select_networks
from mdnjax.networks import LINE
from mdnjax.predictor import make_predictor

MODEL = Model(num_components=3, hidden_sizes=(4,), scale_floor=0.1, line=True)
SUPPORTS = {"real": "real", "positive": "positive", "box": (0.0, 10.0), "below": (-np.inf, 5.0)}


@pytest.fixture(scope="module")
def params():
    params = {**jax.jit(mdn.make_mdn(2, 1, **dict(MODEL)).init)(jax.random.key(0)), LINE: np.array([0.5, -0.3])}
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)


@pytest.fixture(scope="module", params=SUPPORTS.values(), ids=list(SUPPORTS))
def trained(request, params):
    generator = np.random.default_rng(0)
    data = Dataset(generator.normal(50, 20, (40, 2)), generator.normal(3, 1e-3, (40, 1)))
    return data, make_predictor(MODEL, Networks(params), make_scaler(data, True, make_support(request.param, 1)))


def test_the_density_includes_the_jacobian(trained):
    """The density in the data's units is the scaled density times |dz/dy|."""
    data, predictor = trained
    z = to_training_units(predictor.scaler, data, np.float64)
    alone = jax.tree.map(lambda leaf: leaf[0], predictor.networks.params)
    of_z = mdn.log_prob(jax.jit(mdn.make_mdn(2, 1, **dict(MODEL)).apply)(alone, z.x), z.y)
    step = 1e-7
    moved = [to_training_units(predictor.scaler, Dataset(data.x, data.y + sign * step), np.float64).y for sign in (-1, 1)]
    slope = np.log((moved[1] - moved[0]) / (2 * step))[:, 0]
    np.testing.assert_allclose(predictor.log_prob(data.x, data.y), of_z + slope, rtol=1e-6)
    np.testing.assert_allclose(log_slopes(predictor.scaler, data.y), -slope, rtol=1e-6)
    np.testing.assert_allclose(mdn.log_prob(predictor(data.x), data.y), predictor.log_prob(data.x, data.y), rtol=1e-6)


def test_statistics_are_those_of_the_mixture(trained):
    data, predictor = trained
    x, mixture = data.x[:5], predictor(data.x[:5])
    np.testing.assert_allclose(predictor.mean(x), mdn.mean(mixture), rtol=1e-6)
    np.testing.assert_allclose(predictor.sd(x), np.sqrt(mdn.variance(mixture)), rtol=1e-4)
    np.testing.assert_allclose(predictor.quantiles(x, [0.1, 0.9])[..., 0], predictor.intervals(x, [0.8])[:, 0, :, 0], rtol=1e-12)
    np.testing.assert_allclose(predictor.intervals(x, [0.8])[:, 0, :, 0], mdn.central_interval(mixture, 0.8), rtol=1e-6)
    draws = predictor.sample(jax.random.key(0), x, 7)
    assert draws.shape == (5, 7, 1)
    support = predictor.scaler.support
    assert support is None or ((draws > support.low[0]) & (draws < support.high[0])).all()


def test_scaled_data_have_mean_0_and_sd_1(trained):
    data, predictor = trained
    for part in to_training_units(predictor.scaler, data, np.float64)[:2]:
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(part.std(0), 1, rtol=1e-9)


def test_without_standardisation_data_are_unchanged(trained):
    data, _ = trained
    for before, after in zip(data[:2], to_training_units(make_scaler(data, False), data, np.float64)[:2], strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_target_outside_of_its_support_is_an_error():
    data = Dataset(np.zeros((3, 1)), np.array([[1.0], [2.0], [-0.5]]))
    with pytest.raises(ValueError, match=r"got a target of -0.5 \(row 2 from 0\), expected 0 < y < inf"):
        make_scaler(data, True, make_support("positive", 1))


def test_an_ensemble_is_the_pool_of_its_networks():
    data = Dataset(np.linspace(-1, 1, 10)[:, None], np.linspace(0, 3, 10)[:, None])
    init = mdn.make_mdn(1, 1, **dict(MODEL)).init
    networks = Networks(jax.tree.map(np.asarray, jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), 3))))
    pooled = make_predictor(MODEL, networks, make_scaler(data, True))
    alone = [replace(pooled, networks=select_networks(networks, [i])) for i in range(3)]
    density = np.mean([mdn.prob(single(data.x), data.y) for single in alone], axis=0)
    np.testing.assert_allclose(mdn.prob(pooled(data.x), data.y), density, rtol=1e-10)


def test_it_works_inside_of_a_compiled_function_and_on_any_batch(trained):
    data, predictor = trained
    expected = predictor(data.x)
    found = jax.jit(predictor)(data.x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    assert predictor(data.x.reshape(4, 10, 2)).logits.shape == (4, 10, 3)
    assert predictor(data.x[0]).logits.shape == (3,)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.zeros((3, 5)), r"got shape \(3, 5\), expected \[\*batch, 2\]: x0, x1"),
        (np.array([[0, 0], [np.nan, 0]]), "column 'x0', row 2: got nothing"),
        (np.array([[0, 0], [0, -np.inf]]), "column 'x1', row 2: got -inf"),
        (np.array([[0, 0], [0, 1e39]]), r"column 'x1', row 2: got 1e\+39, expected a number within"),
        ({"x0": [0.0]}, "got no column 'x1', which the model needs, but 'x0'"),
    ],
)
def test_rows_that_cannot_be_used_are_an_error(trained, rows, expected):
    with pytest.raises(TableError, match=expected):
        trained[1](rows)
