"""Populations: a member is what its run alone would be, wherever it is computed and whoever stands beside it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdnjax.config import Config, load
from mdnjax.data import Dataset, make_scaler, to_training_units
from mdnjax.training import functions
from mdnjax.training.placement import Placement, place, spread
from mdnjax.training.population import fit_population, member, train_loop
from mdnjax.training.steps import init_state
from mdnjax.training.train import train_one, train_population

ALONE = Placement(tuple(jax.devices()[:1]), 1)
PLACEMENTS = {
    "one after the other": ALONE,
    "on two devices": Placement(tuple(jax.devices()[:2]), 1),
    "side by side": Placement(tuple(jax.devices()[:1]), None),
    "side by side on two devices": Placement(tuple(jax.devices()[:2]), None),
    "two side by side": Placement(tuple(jax.devices()[:1]), 2),
}
WORDS = ["train.num_steps=50", "train.report_every=20", "model.num_components=2", "model.hidden_sizes=[4]"]
OPTIMIZERS = {
    "adam": ["train.optimizer.learning_rate=0.01"],
    "decayed sgd": ["train.optimizer={name: sgd, learning_rate: 0.1, weight_decay: 0.01}", "train.y_noise=0.1"],
}


def settings(*words):
    config = load(Config, None, [*WORDS, *words])
    model, train, numbers = functions.split_sections(config.model, config.train)
    generator = np.random.default_rng(config.seed)
    data = Dataset(*(generator.standard_normal((40, 1)).astype(np.float32) for _ in range(2)))
    scaled = to_training_units(make_scaler(data, True), data)
    return (
        functions.make_training_functions(model, train, 1, 1),
        train,
        functions.make_training_inputs(numbers, jax.random.key(config.seed), scaled, scaled),
    )


def population(words, seeds, placement, capacity=None):
    """Members of different seeds, data and learning rates, by one recipe."""
    runs = [settings(*words, f"seed={seed}") for seed in seeds]
    steps, train, _ = runs[0]
    assert all(run[0] is steps for run in runs)
    inputs = [inputs for _, _, inputs in runs]
    placed = place(placement, inputs, capacity or len(inputs))
    return steps, train, inputs, train_population(steps, train, placed, len(inputs), placement)


@pytest.mark.parametrize(
    ("placement", "optimizer"),
    [
        *((placement, "adam") for placement in PLACEMENTS if placement != "one after the other"),  # that is what a run alone is
        ("on two devices", "decayed sgd"),
    ],
)
def test_a_member_is_its_run_alone(placement, optimizer):
    """Bit for bit where members are computed one after the other; to rounding where side by side."""
    steps, train, inputs, trained = population(OPTIMIZERS[optimizer], [0, 1, 2], PLACEMENTS[placement])
    for index, own in enumerate(inputs):
        alone, fitted = train_one(steps, train, own), member(trained, index)
        exact = "side" not in placement
        np.testing.assert_allclose(fitted.history.loss, alone.history.loss, rtol=1e-4, atol=1e-5)
        assert fitted.history.report_steps.tolist() == [20, 40, 50]
        if exact:
            jax.tree.map(np.testing.assert_array_equal, fitted.state, alone.state)
            np.testing.assert_array_equal(fitted.history.loss, alone.history.loss)
            np.testing.assert_array_equal(fitted.history.validation_scores, alone.history.validation_scores)


def test_neighbours_and_room_change_nothing():
    """Neither who stands beside a member nor how much room is left."""
    few = population(OPTIMIZERS["adam"], [3, 1], PLACEMENTS["on two devices"])[-1]
    many = population(OPTIMIZERS["adam"], [0, 1, 2], PLACEMENTS["on two devices"], capacity=7)[-1]
    jax.tree.map(np.testing.assert_array_equal, member(few, 1).state, member(many, 1).state)


def start_at(params):
    return init_state(optax.sgd(1.0), params)


def falling(state, falls_at):
    loss = jnp.where(state.params >= falls_at, jnp.inf, -state.params)
    return state._replace(step=state.step + 1, params=state.params + 1.0), loss


def parameters(params, *_):
    return params


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_diverging_member_harms_no_other(placement):
    """Members whose loss is infinite from their own step on, or never; each goes back to its own last sound state."""

    falls_at = jnp.array([3.0, 100.0, 0.0, 8.0])
    start = jax.vmap(start_at)(jnp.zeros(4))
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i], (start, (falls_at,))) for i in range(4)]
    states, inputs = place(PLACEMENTS[placement], rows, 4)
    seen = []
    trained = fit_population(
        falling,
        states,
        inputs,
        num_members=4,
        placement=PLACEMENTS[placement],
        num_steps=12,
        report_every=5,
        validation_score=parameters,
        observe=lambda done, losses, scores, diverged: seen.append((done, diverged.tolist())),
    )
    assert trained.diverged.tolist() == [True, False, True, True]
    assert np.asarray(trained.state.step).tolist() == np.asarray(trained.state.params).tolist() == [2, 12, 0, 7]
    assert seen == [(5, [True, False, True, False]), (10, [True, False, True, True]), (12, [True, False, True, True])]
    for index, limit in enumerate([3.0, 100.0, 0.0, 8.0]):
        alone = train_loop(
            falling,
            start_at(jnp.zeros(())),
            (jnp.asarray(limit),),
            num_steps=12,
            report_every=5,
            validation_score=parameters,
        )
        fitted = member(trained, index)
        assert fitted.diverged == alone.diverged
        jax.tree.map(np.testing.assert_array_equal, fitted.history, alone.history)


def test_a_population_that_has_diverged_altogether_stops():
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


def test_spread_splits_over_devices():
    placement = PLACEMENTS["on two devices"]
    placed = place(placement, [{"a": np.float32(i)} for i in range(3)], 3)
    assert placed["a"].shape == (4,)
    assert {shard.device for shard in jnp.asarray(placed["a"]).addressable_shards} == set(placement.devices)
    doubled = jax.jit(spread(placement, lambda member: 2 * member["a"]))(placed)
    np.testing.assert_array_equal(np.asarray(doubled), [0, 2, 4, 4])


def test_weight_decay_takes_kernels_off_and_leaves_biases():
    """Without gradients, what is left of a kernel after n steps is (1 - rate x decay)^n of it."""
    from mdnjax.training.optimizers import make_optimizer

    optimizer = make_optimizer("sgd", learning_rate=0.5, weight_decay=0.2, num_steps=3)
    params: Any = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], 0.9**3, rtol=1e-12)
    np.testing.assert_array_equal(params["bias"], 1.0)


def test_adam_with_weight_decay_is_adamw():
    from mdnjax.training.optimizers import make_optimizer

    params: Any = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]])}
    ours = make_optimizer("adam", learning_rate=0.1, weight_decay=0.03, num_steps=9, schedule="cosine_decay_schedule")
    theirs = optax.adamw(optax.cosine_decay_schedule(0.1, 9), weight_decay=0.03)

    def walk(optimizer: optax.GradientTransformation) -> Any:
        values, state = params, optimizer.init(params)
        for _ in range(5):
            updates, state = optimizer.update(jax.tree.map(lambda leaf: 2 * leaf, values), state, values)
            values = optax.apply_updates(values, updates)
        return values

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), walk(ours), walk(theirs))
