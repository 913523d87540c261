"""Training steps: chunks, resumption and divergence, compared with a plain Python loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mdnjax as mdn
from mdnjax.training.steps import in_blocks, init_steady_state, make_steady_step

OPTIMIZER = optax.adam(0.05)


def noisy_loss(params, noise_key, batch):
    noise = jax.random.normal(noise_key, batch.shape)
    return jnp.mean((params["w"] * batch + params["b"] - 2 * batch - 1 + 0.1 * noise) ** 2)


STEP = mdn.make_train_step(noisy_loss, OPTIMIZER)
BATCH = jnp.linspace(-1, 1, 20)
KEY = jax.random.key(0)


def start():
    return mdn.init_state(OPTIMIZER, {"w": jnp.zeros(()), "b": jnp.zeros(())})


def validation_score(params, key, batch):
    return params["w"]


@pytest.mark.parametrize("report_every", [1, 7, 20, 50])
def test_chunks_change_nothing(report_every):
    """The result is that of a plain loop of steps, exactly equal for any length of the chunks, with a report after each chunk."""
    state, losses = start(), []
    for _ in range(20):
        state, loss = STEP(state, KEY, BATCH)
        losses.append(float(loss))
    reports = []
    fitted = mdn.train_loop(
        STEP,
        start(),
        (KEY, BATCH),
        num_steps=20,
        report_every=report_every,
        validation_score=validation_score,
        observe=lambda *report: reports.append(report),
    )
    whole = mdn.train_loop(STEP, start(), (KEY, BATCH), num_steps=20, report_every=20)
    jax.tree.map(np.testing.assert_array_equal, fitted.state._replace(best=whole.state.best), whole.state)
    np.testing.assert_array_equal(fitted.history.loss, whole.history.loss)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole.state, state)
    np.testing.assert_allclose(fitted.history.loss, losses, rtol=1e-12)
    assert [report[0] for report in reports] == fitted.history.report_steps.tolist()
    assert fitted.history.report_steps[-1] == 20
    assert fitted.history.validation_scores[-1] == float(whole.state.params["w"])
    assert not fitted.diverged


def test_a_resumed_training_equals_an_uninterrupted_one():
    uninterrupted = mdn.train_loop(STEP, start(), (KEY, BATCH), num_steps=20, report_every=5).state
    half = mdn.train_loop(STEP, start(), (KEY, BATCH), num_steps=11, report_every=5).state
    resumed = mdn.train_loop(STEP, half, (KEY, BATCH), num_steps=20, report_every=5).state
    jax.tree.map(np.testing.assert_array_equal, resumed, uninterrupted)


def test_a_training_of_no_steps_returns_the_first_state():
    fitted = mdn.train_loop(STEP, start(), (KEY, BATCH), num_steps=0, report_every=5)
    assert fitted.history.loss.size == 0
    assert int(fitted.state.step) == 0


def test_noise_is_drawn_afresh_at_every_step():
    """With constant parameters, noise that is drawn only once would make all losses equal."""
    optimizer = optax.sgd(0.0)
    step, state = mdn.make_train_step(noisy_loss, optimizer), mdn.init_state(optimizer, start().params)
    fitted = mdn.train_loop(step, state, (KEY, BATCH), num_steps=10, report_every=10)
    assert len(np.unique(fitted.history.loss)) == 10


def parameters(params, *_):
    return params


@functools.cache
def diverging_step(kind):
    """Returns a step whose parameter counts 0, 1, 2, ..., until `bad`; one function for every `bad`, to compile only once."""
    value = jnp.nan if "nan" in kind else jnp.inf

    def with_bad_loss(state, bad):
        return state._replace(step=state.step + 1, params=state.params + 1.0), jnp.where(state.params >= bad, value, state.params)

    def with_bad_parameters(state, bad):
        params = jnp.where(state.params + 1.0 >= bad + 1, value, state.params + 1.0)
        return state._replace(step=state.step + 1, params=params), jnp.tanh(state.params)

    return with_bad_parameters if "parameters" in kind else with_bad_loss


@pytest.mark.parametrize("report_every", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("bad", [0, 1, 3, 4, 5, 6, 11])
@pytest.mark.parametrize("kind", ["nan loss", "infinite loss", "nan parameters", "infinite parameters, finite loss"])
def test_divergence_returns_the_last_finite_state(kind, bad, report_every):
    """Parameters equal to `bad` have a loss that is not finite, or the step from them gives parameters that are not finite."""
    begin, inputs = mdn.init_state(optax.sgd(1.0), jnp.zeros(())), (jnp.asarray(bad, float),)
    fitted = mdn.train_loop(
        diverging_step(kind), begin, inputs, num_steps=12, report_every=report_every, validation_score=parameters
    )
    last = bad if "parameters" in kind else max(bad - 1, 0)
    assert fitted.diverged
    assert int(fitted.state.step) == float(fitted.state.params) == last
    assert np.isfinite(fitted.history.loss).all()
    assert len(fitted.history.loss) <= last + 1
    assert np.all(fitted.history.report_steps <= last)
    assert (
        len(np.unique(fitted.history.report_steps)) == len(fitted.history.report_steps) == len(fitted.history.validation_scores)
    )


@pytest.mark.parametrize("init", [mdn.init_state, mdn.init_steady_state])
@pytest.mark.parametrize("optimizer", [optax.adam(0.05), optax.lbfgs(memory_size=5)], ids=["adam", "lbfgs"])
def test_a_first_state_has_no_weak_types(init, optimizer):
    """Later states have none, and a program would be compiled again for a state with them."""
    shapes = jax.eval_shape(functools.partial(init, optimizer), {"w": jnp.zeros(()), "b": jnp.zeros(())})
    assert not [leaf for leaf in jax.tree.leaves(shapes) if leaf.weak_type]


def test_lbfgs_finds_the_minimum_with_make_train_step():
    optimizer = optax.lbfgs(memory_size=5)
    step = mdn.make_train_step(lambda params, key, batch: jnp.sum((params - batch) ** 2 * jnp.arange(1.0, 4.0)), optimizer)
    state = mdn.init_state(optimizer, jnp.zeros(3))
    fitted = mdn.train_loop(step, state, (KEY, jnp.array([1.0, -2.0, 3.0])), num_steps=20, report_every=20)
    np.testing.assert_allclose(fitted.state.params, [1, -2, 3], atol=1e-6)


def falling_then_rising(patience=None, state=None, num_steps=40, report_every=2):
    """Runs a training whose parameter counts its steps and whose validation score falls until step 10, then rises."""

    def step(state, _):
        return state._replace(step=state.step + 1, params=state.params + 1.0), state.params

    start = mdn.init_state(optax.sgd(1.0), jnp.zeros(())) if state is None else state
    score = lambda params, _: jnp.abs(params - 10.0)  # noqa: E731
    return mdn.train_loop(
        step, start, (None,), num_steps=num_steps, report_every=report_every, validation_score=score, patience=patience
    )


def test_the_best_state_is_stored():
    best = falling_then_rising().state.best
    assert (float(best.score), int(best.step), float(best.params)) == (0.0, 10, 10.0)


@pytest.mark.parametrize(("patience", "end"), [(1, 12), (3, 16), (100, 40)])
def test_a_training_without_progress_ends_after_patience(patience, end):
    fitted = falling_then_rising(patience)
    assert int(fitted.state.step) == end == fitted.history.report_steps[-1]
    assert len(fitted.history.loss) == end
    assert not fitted.diverged


def test_a_resumed_training_with_patience_equals_an_uninterrupted_one():
    uninterrupted = falling_then_rising(3)
    half = falling_then_rising(3, num_steps=12)
    resumed = falling_then_rising(3, half.state)
    jax.tree.map(np.testing.assert_array_equal, resumed.state, uninterrupted.state)


def test_a_steady_step_finds_the_minimum():
    """Rosenbrock's function, where gradient descent is slow, of a tree of parameters."""
    optimizer = optax.lbfgs(memory_size=5)

    def loss(params, key, batch):
        return (1 - params["a"]) ** 2 + 100 * (params["b"] - params["a"] ** 2) ** 2

    state = init_steady_state(optimizer, {"a": jnp.array(-1.2), "b": jnp.array(1.0)})
    fitted = mdn.train_loop(make_steady_step(loss, optimizer), state, (KEY, BATCH), num_steps=60, report_every=60)
    np.testing.assert_allclose([fitted.state.params["a"], fitted.state.params["b"]], [1, 1], atol=1e-4)
    assert (np.diff(fitted.history.loss) <= 0).all()


def exact_loss(params, noise_key, batch):
    return jnp.mean(jnp.tanh(params["w"] * batch + params["b"]) ** 2) + 0.1 * params["w"] ** 2


@pytest.mark.parametrize("num", [40, 41, 47, 120])
@pytest.mark.parametrize("transform", ["jit", "vmap", "grad of the value"])
def test_blocks_have_the_loss_and_gradient_of_the_whole_batch(num, transform):
    """The remainder after blocks of at most ten examples is 0, 1 or 2 examples."""
    batch, params = jnp.linspace(-1, 2, num), {"w": jnp.array(0.7), "b": jnp.array(-0.2)}
    values = [jax.value_and_grad(loss) for loss in (exact_loss, in_blocks(exact_loss, 10))]
    if transform == "vmap":
        params = jax.tree.map(lambda leaf: leaf * jnp.arange(1.0, 4), params)
        values = [jax.vmap(value, (0, None, None)) for value in values]
    if transform == "grad of the value":
        values = [jax.grad(lambda p, k, b, v=value: 3 * v(p, k, b)[0]) for value in values]
    whole, blocks = (jax.jit(value)(params, KEY, batch) for value in values)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, blocks)


def test_each_block_has_different_noise_and_short_batches_are_not_split():
    def loss(params, noise_key, batch):
        return jnp.mean(params * batch * jax.random.normal(noise_key, batch.shape))

    ones = jnp.ones(60)
    block_means = [jnp.mean(jax.random.normal(jax.random.fold_in(KEY, index), (10,))) for index in range(6)]
    assert in_blocks(loss, 10)(1.0, KEY, ones) == pytest.approx(float(np.mean(block_means)))
    assert in_blocks(loss, 20)(1.0, KEY, ones) == loss(1.0, KEY, ones)
