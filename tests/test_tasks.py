"""Ensembles whose networks hold out other rows, and mixtures whose parts the rows held out choose."""

from dataclasses import replace

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
from mdnjax.data.scaler import min_scale_of_rounding
from mdnjax.ensemble import Networks, num_networks, select_networks, without_unused
from mdnjax.mixture import Mixture, log_prob, weights
from mdnjax.model_file import load, save
from mdnjax.predictor import make_predictor
from mdnjax.statistics import pool
from mdnjax.training.placement import local_placement
from mdnjax.training.selection import stacking_weights
from mdnjax.training.tasks import Task, networks_of, rotated, train_networks, training_inputs

NOISES = (0.01, 0.1, 0.3)
SETTINGS = tuple({"train.x_noise": noise, "model.scale_floor": noise / 5} for noise in NOISES)
CONFIG = Config(
    model=Model(hidden_sizes=(5,), num_components=2),
    train=Train(num_steps=40, report_every=20, keep="best", batch_size=16),
    ensemble=Ensemble(num_members=2, num_restarts=2, rotate=True),
    selection=Selection(settings=SETTINGS),
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


def test_stacking_passes_over_a_density_that_is_zero():
    log_probs = np.array([[-1.0, -1.0], [-1e4, -1e4]])
    np.testing.assert_allclose(stacking_weights(log_probs), [1, 0], atol=1e-6)


def test_each_turn_holds_out_other_rows_of_the_same_number():
    seen = [rotated(TRAIN, VALIDATION, turn) for turn in range(7)]
    held_out = [set(part[1].x[:, 0].tolist()) for part in seen]
    assert held_out[0] == set(VALIDATION.x[:, 0].tolist())
    assert len(set.union(*held_out[:6])) == 60
    assert held_out[6] == held_out[0]
    for rest, out in seen:
        assert (len(rest.x), len(out.x)) == (50, 10)
        assert not set(rest.x[:, 0].tolist()) & set(out.x[:, 0].tolist())


def test_settings_networks_and_restarts_come_in_this_order():
    inputs = training_inputs(TASK)
    assert len(inputs) == CONFIG.num_runs == 12
    assert [float(one.numbers["train"]["x_noise"]) for one in inputs] == list(np.repeat(NOISES, 4))
    keys = [jax.random.key_data(one.key).tolist() for one in inputs]
    assert keys[:4] == keys[4:8]
    assert len({str(key) for key in keys}) == 4
    held_out = [one.validation.x.tobytes() for one in inputs[:4]]
    assert held_out[0] == held_out[1] != held_out[2] == held_out[3]


def test_networks_are_pooled_by_their_parts_with_their_own_floors(selected, tmp_path):
    networks = networks_of(CONFIG, selected)
    assert networks.weight is not None
    assert networks.weight.sum() == pytest.approx(1)
    predictor = make_predictor(CONFIG.model, networks, SCALER)
    mixture = predictor(TRAIN.x)
    alone = [replace(predictor, networks=select_networks(networks, [i])) for i in range(len(networks.weight))]
    mixtures = [one(TRAIN.x) for one in alone]
    expected = np.log(sum(w * np.exp(log_prob(one, TRAIN.y)) for w, one in zip(networks.weight, mixtures, strict=True)))
    np.testing.assert_allclose(log_prob(mixture, TRAIN.y), expected, rtol=1e-5, atol=1e-5)
    for one, floor in zip(mixtures, np.asarray(networks.scale_floor), strict=True):
        assert isinstance(one.component, Diagonal)
        assert one.component.scale.min() >= floor * SCALER.y_factor * (1 - 1e-5)
    save(tmp_path / "m.safetensors", predictor)
    again = load(tmp_path / "m.safetensors")(TRAIN.x)
    jax.tree.map(np.testing.assert_array_equal, again, mixture)


def test_the_nll_of_the_rows_held_out_is_that_of_single_networks(selected):
    held_out = [rotated(TRAIN, VALIDATION, turn)[1] for turn in range(2)]
    log_probs = []
    for setting in range(3):
        own = [selected.runs[0, 2 * setting + turn] for turn in range(2)]
        assert all(4 * setting + 2 * turn <= run < 4 * setting + 2 * turn + 2 for turn, run in enumerate(own))
        whole = train_like(selected)
        alone = [replace(whole, networks=select_networks(whole.networks, [2 * setting + turn])) for turn in range(2)]
        parts = [-alone[turn].nll(held_out[turn]) for turn in range(2)]
        log_probs.append(np.concatenate(parts))
    weight = stacking_weights(np.array(log_probs))
    np.testing.assert_allclose(weight, selected.of_settings[0], atol=1e-3)
    expected = -np.mean(np.log(weight @ np.exp(np.array(log_probs))))
    assert selected.validation_nll[0] == pytest.approx(expected, abs=1e-4)


def train_like(selected):
    networks = Networks(jax.tree.map(lambda leaf: leaf[0], selected.params), selected.weight[0], selected.scale_floor[0])
    return make_predictor(CONFIG.model, networks, SCALER)


def test_networks_without_a_part_are_left_out(selected):
    whole = train_like(selected).networks._replace(weight=np.array([0.5, 0.5, 0, 0, 1e-9, 1e-9]))
    assert num_networks(without_unused(whole)) == 2


def test_padding_changes_nothing_but_the_program(selected):
    """Where rows are no fewer than a step takes: the same minibatches, the same held-out score."""
    padded, _ = train_networks([TASK], local_placement(), pad_to=(64, 16))
    assert (padded.runs == selected.runs).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), padded.params, selected.params)
    np.testing.assert_allclose(padded.of_settings, selected.of_settings, atol=1e-6)


def test_pooling_by_weights_of_equal_parts_is_pooling():
    generator = np.random.default_rng(0)
    members = Mixture(
        jnp.array(generator.normal(size=(3, 4, 2))),
        Diagonal(jnp.array(generator.normal(size=(3, 4, 2, 1))), jnp.array(generator.uniform(1, 2, size=(3, 4, 2, 1)))),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), pool(members, jnp.full(3, 1 / 3)), pool(members))
    first = pool(members, jnp.array([1.0, 0, 0]))
    np.testing.assert_allclose(weights(first)[:, 2:], 0)


@pytest.mark.parametrize(("rounding", "step"), [("auto", 1.0), (0.0, 0.0), (2.0, 2.0)])
def test_scales_stay_above_what_rounding_takes_away(rounding, step):
    y = np.round(np.random.default_rng(0).normal(size=(200, 1)) * 2).astype(np.float32)
    scaler = make_scaler(Dataset(y, y), True)
    assert min_scale_of_rounding(rounding, scaler, y) == pytest.approx(step / np.sqrt(12) / scaler.y_factor[0])


def test_values_that_do_not_repeat_are_not_rounded():
    y = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    assert min_scale_of_rounding("auto", make_scaler(Dataset(y, y), True), y) == 0
