"""Populations: a member has the results of the same training alone, for every placement and with any other members."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdnjax.config import Config, load
from mdnjax.data import Dataset, make_scaler, to_training_units
from mdnjax.training import functions
from mdnjax.training.optimizers import make_optimizer
from mdnjax.training.placement import Placement, map_members, place
from mdnjax.training.population import fit_population, member, train_loop
from mdnjax.training.steps import init_state
from mdnjax.training.train import train_one, train_population

ALONE = Placement(tuple(jax.devices()[:1]), 1)
PLACEMENTS = {
    "one at a time": ALONE,
    "on two devices": Placement(tuple(jax.devices()[:2]), 1),
    "all at once": Placement(tuple(jax.devices()[:1]), None),
    "all at once on two devices": Placement(tuple(jax.devices()[:2]), None),
    "two at a time": Placement(tuple(jax.devices()[:1]), 2),
}
BASE_OVERRIDES = ["train.num_steps=50", "train.report_every=20", "model.num_components=2", "model.hidden_sizes=[4]"]
OPTIMIZERS = {
    "adam": ["train.optimizer.learning_rate=0.01"],
    "decayed sgd": ["train.optimizer={name: sgd, learning_rate: 0.1, weight_decay: 0.01}", "train.y_noise=0.1"],
}


def training_of(*overrides):
    config = load(Config, None, [*BASE_OVERRIDES, *overrides])
    model, train, numbers = functions.split_sections(config.model, config.train)
    generator = np.random.default_rng(config.seed)
    data = Dataset(*(generator.standard_normal((40, 1)).astype(np.float32) for _ in range(2)))
    scaled = to_training_units(make_scaler(data, True), data)
    return (
        functions.make_training_functions(model, train, 1, 1),
        train,
        functions.make_training_inputs(numbers, jax.random.key(config.seed), scaled, scaled),
    )


def population(overrides, seeds, placement, capacity=None):
    """Trains members with different seeds and data by the same training functions."""
    trainings = [training_of(*overrides, f"seed={seed}") for seed in seeds]
    shared, loop, _ = trainings[0]
    assert all(training[0] is shared for training in trainings)
    inputs = [inputs for _, _, inputs in trainings]
    placed = place(placement, inputs, capacity or len(inputs))
    return shared, loop, inputs, train_population(shared, loop, placed, len(inputs), placement)


@pytest.mark.parametrize(
    ("placement", "optimizer"),
    [
        *((placement, "adam") for placement in PLACEMENTS if placement != "one at a time"),  # which is how a training alone runs
        ("on two devices", "decayed sgd"),
    ],
)
def test_a_member_equals_its_training_alone(placement, optimizer):
    """The results are exactly equal if members are computed one at a time, and equal up to rounding otherwise."""
    shared, loop, inputs, trained = population(OPTIMIZERS[optimizer], [0, 1, 2], PLACEMENTS[placement])
    for index, member_inputs in enumerate(inputs):
        alone, fitted = train_one(shared, loop, member_inputs), member(trained, index)
        exact = PLACEMENTS[placement].width == 1
        np.testing.assert_allclose(fitted.history.loss, alone.history.loss, rtol=1e-4, atol=1e-5)
        assert fitted.history.report_steps.tolist() == [20, 40, 50]
        if exact:
            jax.tree.map(np.testing.assert_array_equal, fitted.state, alone.state)
            np.testing.assert_array_equal(fitted.history.loss, alone.history.loss)
            np.testing.assert_array_equal(fitted.history.validation_scores, alone.history.validation_scores)


def test_other_members_and_capacity_do_not_change_a_member():
    few = population(OPTIMIZERS["adam"], [3, 1], PLACEMENTS["on two devices"])[-1]
    many = population(OPTIMIZERS["adam"], [0, 1, 2], PLACEMENTS["on two devices"], capacity=7)[-1]
    jax.tree.map(np.testing.assert_array_equal, member(few, 1).state, member(many, 1).state)


def start_at(params):
    return init_state(optax.sgd(1.0), params)


def diverging(state, diverges_at):
    loss = jnp.where(state.params >= diverges_at, jnp.inf, -state.params)
    return state._replace(step=state.step + 1, params=state.params + 1.0), loss


def parameters(params, *_):
    return params


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_diverging_member_does_not_change_the_others(placement):
    """The loss of a member is infinite from some step on, or never; a diverged member has its last finite state."""
    diverges_at = jnp.array([3.0, 100.0, 0.0, 8.0])
    start = jax.vmap(start_at)(jnp.zeros(4))
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i], (start, (diverges_at,))) for i in range(4)]
    states, inputs = place(PLACEMENTS[placement], rows, 4)
    reports = []
    trained = fit_population(
        diverging,
        states,
        inputs,
        num_members=4,
        placement=PLACEMENTS[placement],
        num_steps=12,
        report_every=5,
        validation_score=parameters,
        observe=lambda report: reports.append((report.step, report.diverged.tolist())),
    )
    assert trained.diverged.tolist() == [True, False, True, True]
    assert np.asarray(trained.state.step).tolist() == np.asarray(trained.state.params).tolist() == [2, 12, 0, 7]
    assert reports == [(5, [True, False, True, False]), (10, [True, False, True, True]), (12, [True, False, True, True])]
    for index, limit in enumerate([3.0, 100.0, 0.0, 8.0]):
        alone = train_loop(
            diverging,
            start_at(jnp.zeros(())),
            (jnp.asarray(limit),),
            num_steps=12,
            report_every=5,
            validation_score=parameters,
        )
        fitted = member(trained, index)
        assert fitted.diverged == alone.diverged
        jax.tree.map(np.testing.assert_array_equal, fitted.history, alone.history)


def test_a_population_stops_when_all_members_have_diverged():
    def step(state, _):
        return state._replace(step=state.step + 1), state.params * jnp.nan

    states = jax.vmap(start_at)(jnp.ones(2))
    calls = []
    trained = fit_population(
        step,
        states,
        (states.params,),
        num_members=2,
        placement=ALONE,
        num_steps=1000,
        report_every=1,
        observe=lambda *report: calls.append(report),
    )
    assert trained.diverged.all()
    assert len(calls) == 1
    assert np.asarray(trained.state.step).tolist() == [0, 0]


def test_members_are_split_over_devices():
    placement = PLACEMENTS["on two devices"]
    placed = place(placement, [{"a": np.float32(i)} for i in range(3)], 3)
    assert placed["a"].shape == (4,)
    assert {shard.device for shard in jnp.asarray(placed["a"]).addressable_shards} == set(placement.devices)
    doubled = jax.jit(map_members(placement, lambda member: 2 * member["a"]))(placed)
    np.testing.assert_array_equal(np.asarray(doubled), [0, 2, 4, 4])


def test_weight_decay_shrinks_kernels_and_not_biases():
    """Without gradients, n steps multiply a kernel by (1 - rate x decay)^n."""
    optimizer = make_optimizer("sgd", learning_rate=0.5, weight_decay=0.2, num_steps=3)
    params: Any = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], 0.9**3, rtol=1e-12)
    np.testing.assert_array_equal(params["bias"], 1.0)


def test_adam_with_weight_decay_equals_adamw():
    params: Any = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]])}
    ours = make_optimizer("adam", learning_rate=0.1, weight_decay=0.03, num_steps=9, schedule="cosine_decay_schedule")
    theirs = optax.adamw(optax.cosine_decay_schedule(0.1, 9), weight_decay=0.03)

    def after_five_steps(optimizer: optax.GradientTransformation) -> Any:
        values, state = params, optimizer.init(params)
        for _ in range(5):
            updates, state = optimizer.update(jax.tree.map(lambda leaf: 2 * leaf, values), state, values)
            values = optax.apply_updates(values, updates)
        return values

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after_five_steps(ours), after_five_steps(theirs))
