"""Training functions: every number has an effect, a changed number compiles nothing, and a training can be resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax.config import Config, join, load, split
from mdnjax.config.schema import Loop
from mdnjax.data import Dataset, make_scaler, to_training_units
from mdnjax.networks import LINE
from mdnjax.training import functions, noise
from mdnjax.training.minibatches import minibatch
from mdnjax.training.population import train_loop
from mdnjax.training.steps import Batch
from mdnjax.training.train import train_one


def problem(*overrides):
    config = load(Config, None, ["train.num_steps=8", "train.report_every=4", "model.num_components=2", *overrides])
    generator = np.random.default_rng(0)
    data = Dataset(*(generator.standard_normal((30, 1)) for _ in range(2)))
    scaled = to_training_units(make_scaler(data, True), data)
    model, train, numbers = functions.split_sections(config.model, config.train)
    training = functions.make_training_functions(model, train, 1, 1)
    return training, functions.make_training_inputs(numbers, jax.random.key(config.seed), scaled, scaled)


def fitted(training, inputs):
    return train_one(training, Loop(num_steps=8, report_every=4), inputs)


def test_changing_a_number_compiles_nothing():
    training, inputs = problem()
    other_training, other_inputs = problem("train.optimizer.learning_rate=0.3", "model.scale_floor=0.3", "seed=5")
    assert other_training is training
    traces = []

    def counted(state, inputs):
        traces.append(1)
        return training.train_step(state, inputs)

    a = train_loop(counted, training.init(inputs), (inputs,), num_steps=8, report_every=4)
    num_traces = len(traces)
    b = train_loop(counted, training.init(other_inputs), (other_inputs,), num_steps=8, report_every=4)
    assert len(traces) == num_traces
    assert not np.array_equal(a.history.loss, b.history.loss)


def first_losses(training, inputs):
    """Returns the losses before three steps, from the step alone, which compiles faster than the training loop."""
    state, losses, step = training.init(inputs), [], jax.jit(training.train_step)
    for _ in range(3):
        state, loss = step(state, inputs)
        losses.append(float(loss))
    return losses


OF_THE_LOSS = ("model.scale_floor=0.5", "train.y_noise=0.5", "train.dropout=0.3", "train.entropy_bonus=0.5")
OF_EVERY_TRAINING = (
    "train.optimizer.learning_rate=0.1",
    "train.x_noise=0.5",
    "train.optimizer.clip_norm=0.01",
    "train.optimizer.base_width=1",
    "train.init.name=data",
    "train.noise_copies=3",
    "train.batch_size=10",
    "seed=1",
)


@pytest.mark.parametrize(("loss", "overrides"), [("nll", OF_THE_LOSS + OF_EVERY_TRAINING), ("nll_closed_form", OF_THE_LOSS)])
def test_every_number_has_an_effect(loss, overrides):
    base = first_losses(*problem(f"train.loss={loss}"))
    for override in overrides:
        assert not np.array_equal(first_losses(*problem(f"train.loss={loss}", override)), base), override


def test_noise_that_is_off_is_not_in_the_program():
    def program(*overrides):
        training, inputs = problem(*overrides)
        return str(jax.make_jaxpr(training.train_step)(training.init(inputs), inputs))

    assert "erf_inv" in program("train.x_noise=0.1")
    assert "erf_inv" not in program("train.x_noise=0", "train.y_noise=0")


def test_validation_examples_have_no_effect_on_the_training_steps():
    training, inputs = problem()
    other = inputs._replace(validation=jax.tree.map(lambda leaf: leaf + 100, inputs.validation))
    a, b = fitted(training, inputs), fitted(training, other)
    jax.tree.map(np.testing.assert_array_equal, a.state._replace(best=b.state.best), b.state)
    assert not np.array_equal(a.history.validation_scores, b.history.validation_scores)


def test_split_and_join_are_inverse():
    config = load(Config, None, ["train.x_noise=0.5", "train.y_noise=0"])
    for section in (config.model, config.train):
        shape, numbers = split(section)
        assert join(shape, numbers) == section
        assert shape != section
    assert set(split(config.train)[1]) == {
        *("optimizer.learning_rate", "x_noise", "init.slope", "init.head_scale", "init.embedding", "init.experts", "init.line")
    }  # noise that is off belongs to the shape


def test_minibatches_use_every_example_once_an_epoch():
    """Three minibatches of ten have all thirty examples, and the next epoch has another order."""
    train = Batch(jnp.arange(30.0)[None], jnp.arange(30.0)[None])
    of_step = jax.jit(lambda step: minibatch(10, jax.random.key(0), step, train).x[0])
    batches = [np.asarray(of_step(step)) for step in range(6)]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(30))
    assert not np.array_equal(batches[0], batches[3])


def test_rule_of_thumb_is_computed_from_the_size_of_the_data():
    base = fitted(*problem(f"train.x_noise={noise.rule_of_thumb(30, 2)}")).history.loss
    np.testing.assert_array_equal(fitted(*problem("train.x_noise=rule_of_thumb")).history.loss, base)
    assert noise.rule_of_thumb(30, 2) == pytest.approx(1.06 * 30 ** (-1 / 6))


@pytest.mark.parametrize("overrides", [(), ("train.x_noise=0.1", "train.noise_copies=2"), ("train.optimizer.weight_decay=0.1",)])
def test_lbfgs_lowers_the_loss_at_every_step(overrides):
    """The loss is the same function at every step, also with noise."""
    losses = fitted(*problem("train.optimizer.name=lbfgs", "train.x_noise=0", *overrides)).history.loss
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("overrides", [("train.optimizer.name=lbfgs",), ("train.batch_size=7",), ("train.dropout=0.2",)])
def test_a_resumed_training_equals_an_uninterrupted_one(overrides):
    """The states are exactly equal, including the best parameters so far."""
    training, inputs = problem(*overrides)

    def train(state, num_steps):
        return train_loop(
            training.train_step, state, (inputs,), num_steps=num_steps, report_every=3, validation_score=training.validation_score
        ).state

    uninterrupted, resumed = train(training.init(inputs), 12), train(train(training.init(inputs), 6), 12)
    jax.tree.map(np.testing.assert_array_equal, resumed, uninterrupted)


def test_training_does_not_change_the_linear_path_and_the_start_can_be_the_best():
    """The first parameters are the best if every step makes the validation score worse."""
    overrides = ["model.line=true", "train.init.name=data", "train.keep=best", "train.optimizer.weight_decay=0.5"]
    training, inputs = problem(*overrides)
    start = training.init(inputs)
    assert start.params[LINE].any()
    assert start.best.score == pytest.approx(float(jax.jit(training.validation_score)(start.params, inputs)))
    assert fitted(training, inputs).state.step == 8
    np.testing.assert_array_equal(fitted(training, inputs).state.params[LINE], start.params[LINE])
    training, inputs = problem(*overrides, "train.optimizer.learning_rate=5.0")
    best = fitted(training, inputs).state.best
    assert best.step == 0
    jax.tree.map(np.testing.assert_array_equal, best.params, training.init(inputs).params)


def test_the_first_best_score_is_infinite_without_validation_examples():
    training, inputs = problem()
    empty = Batch(jnp.zeros((1, 0)), jnp.zeros((1, 0)))
    assert np.isinf(training.init(inputs._replace(validation=empty)).best.score)
