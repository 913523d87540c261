"""A trained network in the data's own units, and as a file."""

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.checkpoint import CheckpointError, save
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler, make_support, nats_to_data_units, to_training_units
from mdnjax.networks import LINE
from mdnjax.trained import Trained, predict, save_model

MODEL = Model(num_components=3, hidden_sizes=(4,), scale_floor=0.1, line=True)
SUPPORTS = {"real": "real", "positive": "positive", "box": (0.0, 10.0)}


def alone(params, index=0):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], params)


@pytest.fixture(scope="module", params=SUPPORTS.values(), ids=list(SUPPORTS))
def trained(request):
    generator = np.random.default_rng(0)
    data = Dataset(generator.normal(50, 20, (40, 2)), generator.normal(3, 1e-3, (40, 1)))
    params = {**jax.jit(mdn.make_mdn(2, 1, **dict(MODEL)).init)(jax.random.key(0)), LINE: np.array([0.5, -0.3])}
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)
    return data, Trained(params, make_scaler(data, True, make_support(request.param, 1)))


def test_the_jacobian_is_put_back(trained):
    """The density in the data's units is the scaled density over the product of the sds, and of the slopes of a support."""
    data, value = trained
    scaled = to_training_units(value.scaler, data)
    in_units = mdn.log_prob(predict(MODEL, value, data.x), data.y)
    in_scaled = mdn.log_prob(jax.jit(mdn.make_mdn(2, 1, **dict(MODEL)).apply)(alone(value.params), scaled.x), scaled.y)
    slope = {None: 0 * data.y, np.inf: -np.log(data.y), 10.0: np.log(10 / data.y / (10 - data.y))}[
        value.scaler.support and value.scaler.support.high[0]
    ]
    np.testing.assert_allclose(in_units, in_scaled - np.log(value.scaler.y_sd).sum() + slope[:, 0], rtol=1e-9)
    assert nats_to_data_units(value.scaler, data) == pytest.approx(float(np.mean(in_scaled - in_units)), rel=1e-9)


def test_scaled_data_have_mean_0_and_sd_1(trained):
    data, value = trained
    for part in to_training_units(value.scaler, data):
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(part.std(0), 1, rtol=1e-9)


def test_a_constant_column_keeps_its_scale():
    data = Dataset(np.full((5, 1), 3.0), np.arange(5.0)[:, None])
    np.testing.assert_array_equal(to_training_units(make_scaler(data, True), data).x, 0)


def test_not_standardised_is_untouched(trained):
    data, _ = trained
    for before, after in zip(data, to_training_units(make_scaler(data, False), data), strict=True):
        np.testing.assert_array_equal(before, after)


def test_saved_and_loaded_predicts_the_same(trained, tmp_path):
    data, value = trained
    save_model(tmp_path / "m.safetensors", MODEL, value)
    loaded = mdn.load(tmp_path / "m.safetensors")
    jax.tree.map(np.testing.assert_array_equal, loaded(data.x), predict(MODEL, value, data.x))


def test_a_file_without_settings_is_refused(trained, tmp_path):
    save(tmp_path / "m", trained[1])
    with pytest.raises(CheckpointError, match="settings"):
        mdn.load(tmp_path / "m")


def test_a_target_outside_of_its_support_is_refused():
    data = Dataset(np.zeros((3, 1)), np.array([[1.0], [2.0], [-0.5]]))
    with pytest.raises(ValueError, match=r"got a target of -0.5 \(row 2 from 0\), expected 0 < y < inf"):
        make_scaler(data, True, make_support("positive", 1))


def test_an_ensemble_is_the_pool_of_its_networks(tmp_path):
    """And one file, which gives the same mixture."""
    data, value = Dataset(np.linspace(-1, 1, 10)[:, None], np.linspace(0, 3, 10)[:, None]), []
    init = mdn.make_mdn(1, 1, **dict(MODEL)).init
    params = jax.tree.map(np.asarray, jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), 3)))
    scaler = make_scaler(data, True)
    pooled = predict(MODEL, Trained(params, scaler), data.x)
    value = [predict(MODEL, Trained(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], params), scaler), data.x) for i in range(3)]
    density = np.mean([mdn.prob(one, data.y) for one in value], axis=0)
    np.testing.assert_allclose(mdn.prob(pooled, data.y), density, rtol=1e-10)
    save_model(tmp_path / "m.safetensors", MODEL, Trained(params, scaler))
    jax.tree.map(np.testing.assert_array_equal, mdn.load(tmp_path / "m.safetensors")(data.x), pooled)
