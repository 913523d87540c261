"""Ensembles with a different validation part for each network, and mixtures with weights fitted to the validation rows."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mdnjax.components import Diagonal
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.schema import Config, Model, Train
from mdnjax.data import Dataset, make_scaler
from mdnjax.data.training_units import min_scale_of_rounding
from mdnjax.ensemble import Networks, floors_of, num_networks, select_networks, without_unused
from mdnjax.mixture import Mixture, log_prob, weights
from mdnjax.model_file import load, save
from mdnjax.predictor import make_predictor
from mdnjax.statistics import pool, temper
from mdnjax.training.inputs import Task, rotated_split, training_inputs
from mdnjax.training.placement import local_placement
from mdnjax.training.selection import stacking_weights
from mdnjax.training.spread import SCALE_FACTORS, scale_factor
from mdnjax.training.tasks import networks_of, train_networks

NOISES = (0.01, 0.1, 0.3)
SETTINGS = tuple({"train.x_noise": noise, "model.scale_floor": noise / 5} for noise in NOISES)
CONFIG = Config(
    model=Model(hidden_sizes=(5,), num_components=2),
    train=Train(num_steps=40, report_every=20, keep="best", batch_size=16),
    ensemble=Ensemble(num_members=2, num_restarts=2, rotate=True),
    selection=Selection(settings=SETTINGS, adjust_scales=True),
)


def data(num, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(num, 2)).astype(np.float32)
    return Dataset(x, (x[:, :1] + generator.normal(size=(num, 1))).astype(np.float32))


TRAIN, VALIDATION = data(50), data(10, 1)
SCALER = make_scaler(TRAIN, True)
TASK = Task(CONFIG, TRAIN, VALIDATION, SCALER)


@pytest.fixture(scope="module")
def selected():
    return train_networks([TASK], local_placement())[0]


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_stacking_finds_the_weights_of_the_highest_likelihood(num_densities, num_examples, seed):
    log_probs = 2 * np.random.default_rng(seed).normal(size=(num_densities, num_examples))

    def loss(weight):
        return -np.mean(np.log(weight @ np.exp(log_probs)))

    found = stacking_weights(log_probs)
    assert found.sum() == pytest.approx(1)
    simplex = {"type": "eq", "fun": lambda weight: weight.sum() - 1}
    start = np.full(num_densities, 1 / num_densities)
    best = minimize(loss, start, bounds=[(1e-9, 1)] * num_densities, constraints=simplex, method="SLSQP").fun
    assert loss(found) <= best + 1e-3


def test_stacking_gives_weight_zero_to_a_density_that_underflows():
    log_probs = np.array([[-1.0, -1.0], [-1e4, -1e4]])
    np.testing.assert_allclose(stacking_weights(log_probs), [1, 0], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.485, 0.49, 0.492])  # 1000 iterations multiply the weight by this ratio
def test_stacking_gives_no_subnormal_weight_whose_reciprocal_overflows(ratio):
    weight = stacking_weights(np.log([[1.0, 1.0], [ratio, ratio]]))
    assert weight[0] == pytest.approx(1)
    assert weight[1] == 0 or np.isfinite(1 / weight[1])


def test_each_turn_has_other_validation_rows_of_the_same_number():
    splits = [rotated_split(TRAIN, VALIDATION, turn) for turn in range(7)]
    validation_rows = [set(validation.x[:, 0].tolist()) for _, validation in splits]
    assert validation_rows[0] == set(VALIDATION.x[:, 0].tolist())
    assert len(set.union(*validation_rows[:6])) == 60
    assert validation_rows[6] == validation_rows[0]
    for train, validation in splits:
        assert (len(train.x), len(validation.x)) == (50, 10)
        assert not set(train.x[:, 0].tolist()) & set(validation.x[:, 0].tolist())


def test_trainings_are_ordered_by_setting_then_network_then_restart():
    inputs = training_inputs(TASK)
    assert len(inputs) == CONFIG.num_runs == 12
    assert [float(run.numbers["train"]["x_noise"]) for run in inputs] == list(np.repeat(NOISES, 4))
    keys = [jax.random.key_data(run.key).tolist() for run in inputs]
    assert keys[:4] == keys[4:8]
    assert len({str(key) for key in keys}) == 4
    validation = [run.validation.x.tobytes() for run in inputs[:4]]
    assert validation[0] == validation[1] != validation[2] == validation[3]


def test_networks_are_pooled_by_their_weights_and_have_different_scale_floors(selected, tmp_path):
    networks = networks_of(CONFIG, selected)
    assert networks.weight is not None
    assert networks.weight.sum() == pytest.approx(1)
    predictor = make_predictor(CONFIG.model, networks, SCALER)
    mixture = predictor(TRAIN.x)
    alone = [replace(predictor, networks=select_networks(networks, [i])) for i in range(len(networks.weight))]
    mixtures = [single(TRAIN.x) for single in alone]
    expected = np.log(sum(w * np.exp(log_prob(single, TRAIN.y)) for w, single in zip(networks.weight, mixtures, strict=True)))
    np.testing.assert_allclose(log_prob(mixture, TRAIN.y), expected, rtol=1e-5, atol=1e-5)
    for single, floor in zip(mixtures, floors_of(networks, 0.0), strict=True):
        assert isinstance(single.component, Diagonal)
        assert single.component.scale.min() >= floor * SCALER.y_factor * (1 - 1e-5)
    save(tmp_path / "m.safetensors", predictor)
    loaded = load(tmp_path / "m.safetensors")(TRAIN.x)
    jax.tree.map(np.testing.assert_array_equal, loaded, mixture)


def test_the_validation_nll_is_that_of_the_networks_on_their_own_validation_rows(selected):
    validation = [rotated_split(TRAIN, VALIDATION, turn)[1] for turn in range(2)]
    log_probs = []
    for setting in range(3):
        runs = [selected.runs[0, 2 * setting + turn] for turn in range(2)]
        assert all(4 * setting + 2 * turn <= run < 4 * setting + 2 * turn + 2 for turn, run in enumerate(runs))
        whole = predictor_of_all(selected)
        alone = [replace(whole, networks=select_networks(whole.networks, [2 * setting + turn])) for turn in range(2)]
        parts = [-alone[turn].nll(validation[turn]) for turn in range(2)]
        log_probs.append(np.concatenate(parts))
    weight = stacking_weights(np.array(log_probs))
    np.testing.assert_allclose(weight, selected.setting_weights[0], atol=1e-3)
    expected = -np.mean(np.log(weight @ np.exp(np.array(log_probs))))
    assert selected.validation_nll[0] == pytest.approx(expected, abs=1e-4)


def test_the_scales_are_adjusted_by_the_mixtures_of_the_settings_on_rows_that_are_new_to_them(selected):
    validation = [rotated_split(TRAIN, VALIDATION, turn)[1] for turn in range(2)]
    log_probs, whole = np.zeros((len(SCALE_FACTORS), 3, 2, len(validation[0].x))), predictor_of_all(selected)
    for setting in range(3):
        for turn in range(2):
            mixture = replace(whole, networks=select_networks(whole.networks, [2 * setting + turn]))(validation[turn].x)
            for place, factor in enumerate(SCALE_FACTORS.tolist()):
                log_probs[place, setting, turn] = log_prob(temper(mixture, scales=factor**2), validation[turn].y)
    expected = scale_factor(log_probs.reshape(len(SCALE_FACTORS), 3, -1), selected.setting_weights[0], None, True)
    np.testing.assert_allclose(selected.scale_factor[0], expected, rtol=1e-4)
    networks = networks_of(CONFIG, selected)
    without = make_predictor(CONFIG.model, networks._replace(scale_factor=None), SCALER)(TRAIN.x)
    adjusted = make_predictor(CONFIG.model, networks._replace(scale_factor=np.full(num_networks(networks), 0.5)), SCALER)(TRAIN.x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), adjusted, temper(without, scales=0.25))


def predictor_of_all(selected):
    """Returns the predictor with all networks, also those of negligible weight."""
    networks = Networks(jax.tree.map(lambda leaf: leaf[0], selected.params), selected.weight[0], selected.scale_floor[0])
    return make_predictor(CONFIG.model, networks, SCALER)


def test_networks_of_negligible_weight_are_left_out(selected):
    whole = predictor_of_all(selected).networks._replace(weight=np.array([0.5, 0.5, 0, 0, 1e-9, 1e-9]))
    assert num_networks(without_unused(whole)) == 2


def test_padding_does_not_change_the_results(selected):
    """If there are at least as many rows as in a minibatch, minibatches and validation scores are the same."""
    padded, _ = train_networks([TASK], local_placement(), pad_to=(64, 16))
    assert (padded.runs == selected.runs).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), padded.params, selected.params)
    np.testing.assert_allclose(padded.setting_weights, selected.setting_weights, atol=1e-6)


def test_pooling_by_equal_weights_equals_pooling_without_weights():
    generator = np.random.default_rng(0)
    members = Mixture(
        jnp.array(generator.normal(size=(3, 4, 2))),
        Diagonal(jnp.array(generator.normal(size=(3, 4, 2, 1))), jnp.array(generator.uniform(1, 2, size=(3, 4, 2, 1)))),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), pool(members, jnp.full(3, 1 / 3)), pool(members))
    first = pool(members, jnp.array([1.0, 0, 0]))
    np.testing.assert_allclose(weights(first)[:, 2:], 0)


@pytest.mark.parametrize(("rounding", "step"), [("auto", 1.0), (0.0, 0.0), (2.0, 2.0)])
def test_the_smallest_scale_is_the_sd_of_the_rounding_error(rounding, step):
    y = np.round(np.random.default_rng(0).normal(size=(200, 1)) * 2).astype(np.float32)
    scaler = make_scaler(Dataset(y, y), True)
    assert min_scale_of_rounding(rounding, scaler, y) == pytest.approx(step / np.sqrt(12) / scaler.y_factor[0])


def test_values_that_do_not_repeat_count_as_not_rounded():
    y = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    assert min_scale_of_rounding("auto", make_scaler(Dataset(y, y), True), y) == 0
