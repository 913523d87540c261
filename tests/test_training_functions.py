"""Recipes: numbers that ride in a program give what constants in it give, and compile nothing anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax.config import Config, join, load, split
from mdnjax.config.schema import Loop
from mdnjax.data import Dataset, make_scaler, to_training_units
from mdnjax.networks import LINE
from mdnjax.training import functions
from mdnjax.training.minibatches import minibatch
from mdnjax.training.population import train_loop
from mdnjax.training.steps import Batch
from mdnjax.training.train import train_one


def problem(*words):
    config = load(Config, None, ["train.num_steps=8", "train.report_every=4", "model.num_components=2", *words])
    generator = np.random.default_rng(0)
    data = Dataset(*(generator.standard_normal((30, 1)) for _ in range(2)))
    scaled = to_training_units(make_scaler(data, True), data)
    model, train, numbers = functions.split_sections(config.model, config.train)
    steps = functions.make_training_functions(model, train, 1, 1)
    return steps, functions.make_training_inputs(numbers, jax.random.key(config.seed), scaled, scaled)


def final(steps, inputs):
    return train_one(steps, Loop(num_steps=8, report_every=4), inputs)


def test_changing_a_number_compiles_nothing():
    steps, inputs = problem()
    others, other_inputs = problem("train.optimizer.learning_rate=0.3", "model.scale_floor=0.3", "seed=5")
    assert others is steps
    traces = []

    def counted(state, inputs):
        traces.append(1)
        return steps.train_step(state, inputs)

    a = train_loop(counted, steps.init(inputs), (inputs,), num_steps=8, report_every=4)
    so_far = len(traces)
    b = train_loop(counted, steps.init(other_inputs), (other_inputs,), num_steps=8, report_every=4)
    assert len(traces) == so_far
    assert not np.array_equal(a.history.loss, b.history.loss)


def first_losses(steps, inputs):
    """The losses before three steps, by the step alone, which compiles sooner than a training."""
    state, losses, step = steps.init(inputs), [], jax.jit(steps.train_step)
    for _ in range(3):
        state, loss = step(state, inputs)
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("loss", ["nll", "nll_closed_form"])
def test_every_number_has_its_effect(loss):
    base = first_losses(*problem(f"train.loss={loss}"))
    for word in (
        "train.optimizer.learning_rate=0.1",
        "model.scale_floor=0.5",
        "train.x_noise=0.5",
        "train.y_noise=0.5",
        "train.dropout=0.3",
        "train.entropy_bonus=0.5",
        "train.optimizer.clip_norm=0.01",
        "train.optimizer.base_width=1",
        "train.init.name=data",
        "train.noise_copies=3",
        "train.batch_size=10",
        "seed=1",
    ):
        assert not np.array_equal(first_losses(*problem(f"train.loss={loss}", word)), base), word


def test_noise_that_is_off_is_not_in_the_program():
    def text(*words):
        steps, inputs = problem(*words)
        return str(jax.make_jaxpr(steps.train_step)(steps.init(inputs), inputs))

    assert "erf_inv" in text("train.x_noise=0.1")
    assert "erf_inv" not in text("train.x_noise=0", "train.y_noise=0")


def test_validation_points_never_touch_training():
    steps, inputs = problem()
    other = inputs._replace(validation=jax.tree.map(lambda leaf: leaf + 100, inputs.validation))
    a, b = final(steps, inputs), final(steps, other)
    jax.tree.map(np.testing.assert_array_equal, a.state._replace(best=b.state.best), b.state)
    assert not np.array_equal(a.history.validation_scores, b.history.validation_scores)


def test_split_and_join_are_inverse():
    config = load(Config, None, ["train.x_noise=0.5", "train.y_noise=0"])
    for section in (config.model, config.train):
        shape, numbers = split(section)
        assert join(shape, numbers) == section
        assert shape != section
    assert set(split(config.train)[1]) == {
        *("optimizer.learning_rate", "x_noise", "init.slope", "init.head_scale", "init.line")
    }  # a noise that is off is shape


def test_minibatches_pass_through_all_points_once_an_epoch():
    """The points of three steps of ten are all thirty, in another order in the next epoch."""
    train = Batch(jnp.arange(30.0)[None], jnp.arange(30.0)[None])
    points = [np.asarray(minibatch(10, jax.random.key(0), jnp.array(step), train).x[0]) for step in range(6)]
    for epoch in (points[:3], points[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(30))
    assert not np.array_equal(points[0], points[3])


def test_rule_of_thumb_is_a_number_of_the_data():
    base = final(*problem(f"train.x_noise={functions.rule_of_thumb(30, 2)}")).history.loss
    np.testing.assert_array_equal(final(*problem("train.x_noise=rule_of_thumb")).history.loss, base)
    assert functions.rule_of_thumb(30, 2) == pytest.approx(1.06 * 30 ** (-1 / 6))


@pytest.mark.parametrize("words", [(), ("train.x_noise=0.1", "train.noise_copies=2"), ("train.optimizer.weight_decay=0.1",)])
def test_lbfgs_lowers_one_loss_at_every_step(words):
    """Its loss is the same function throughout, with whatever is drawn at random."""
    losses = final(*problem("train.optimizer.name=lbfgs", "train.x_noise=0", *words)).history.loss
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("words", [("train.optimizer.name=lbfgs",), ("train.batch_size=7",), ("train.dropout=0.2",)])
def test_resumed_is_straight(words):
    """Bit for bit, the best so far included."""
    steps, inputs = problem(*words)

    def go(state, num_steps):
        return train_loop(
            steps.train_step, state, (inputs,), num_steps=num_steps, report_every=3, validation_score=steps.validation_score
        ).state

    straight, resumed = go(steps.init(inputs), 12), go(go(steps.init(inputs), 6), 12)
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)


def test_training_leaves_the_line_alone_and_its_start_counts():
    """The start is the best where every step is a step away from it."""
    words = ["model.line=true", "train.init.name=data", "train.keep=best", "train.optimizer.weight_decay=0.5"]
    steps, inputs = problem(*words)
    start = steps.init(inputs)
    assert start.params[LINE].any()
    assert start.best.score == pytest.approx(float(jax.jit(steps.validation_score)(start.params, inputs)))
    assert final(steps, inputs).state.step == 8
    np.testing.assert_array_equal(final(steps, inputs).state.params[LINE], start.params[LINE])
    steps, inputs = problem(*words, "train.optimizer.learning_rate=5.0")
    best = final(steps, inputs).state.best
    assert best.step == 0
    jax.tree.map(np.testing.assert_array_equal, best.params, steps.init(inputs).params)


def test_a_start_without_a_score_is_no_best():
    steps, inputs = problem()
    nothing = Batch(jnp.zeros((1, 0)), jnp.zeros((1, 0)))
    assert np.isinf(steps.init(inputs._replace(validation=nothing)).best.score)
