"""Programs that are compiled quickly, in the background, or ahead of their use."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import figures
from experiments.pipeline import make_data, run
from experiments.progress import Clock
from experiments.schemas import InverseSine
from mdnjax import compilation
from mdnjax.compilation import JitOnce, in_background
from mdnjax.config import Config, load
from mdnjax.config.schema import Model, Train
from mdnjax.data import Dataset, make_scaler
from mdnjax.ensemble import Networks, untrained
from mdnjax.predictor import make_predictor
from mdnjax.training.inputs import Task, training_functions_of, training_inputs
from tests.commands import ROOT, SHORT


def test_work_runs_in_the_background_and_has_ended_after_the_block():
    started, allowed, done = threading.Event(), threading.Event(), []

    def work():
        started.set()
        allowed.wait(10)
        done.append(True)

    with in_background(work):
        assert started.wait(10)
        assert not done  # the block and the work run at the same time
        allowed.set()
    assert done


def test_errors_of_the_work_are_discarded_and_those_of_the_block_raised():
    def work():
        raise ValueError("of the work in the background")

    with in_background(work):
        pass
    with pytest.raises(KeyError), in_background(work):
        raise KeyError("of the block")


def shapes(tree):
    return [(np.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("num_members", [1, 3])
@pytest.mark.parametrize("family", ["diagonal", "student_t"])
def test_an_untrained_network_has_the_shapes_of_a_trained_one(family, num_members, tmp_path):
    """Therefore a program that is compiled for one can be used for the other."""
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    config = Config(model=Model(family=family, num_components=2, hidden_sizes=(3,)), train=Train(num_steps=1))
    scaler = make_scaler(Dataset(x, x), standardise=True)
    task = Task(config, Dataset(x, x), Dataset(x, x), scaler)
    inputs, steps = jax.tree.map(jnp.asarray, training_inputs(task)[0]), training_functions_of(task)
    params = jax.eval_shape(lambda inputs: steps.train_step(steps.init(inputs), inputs)[0].params, inputs)
    trained = Networks(jax.tree.map(lambda leaf: np.ones((num_members, *leaf.shape), leaf.dtype), params))
    new = untrained(config.model, 1, 1, num_members)
    assert shapes(new) == shapes(trained)
    assert jax.tree.structure(new) == jax.tree.structure(trained)
    predictors = [make_predictor(config.model, networks, scaler) for networks in (new, trained)]
    assert shapes(predictors[0](x)) == shapes(predictors[1](x))


def test_programs_compiled_ahead_are_not_compiled_again(tmp_path):
    """The programs of training, scores and figures are all compiled ahead."""
    words = [*SHORT, "model.num_components=2", f"output={tmp_path}"]
    config = load(InverseSine, ROOT / "configs" / "inverse_sine.yaml", words)
    splits, truth = make_data(config)
    figures.compile_ahead(config, splits)
    programs = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: programs.append(event))
    result = run(config, splits, truth, Clock(), tmp_path / "m.safetensors")
    figures.curves(result.predictor, splits)
    compiled = [event for event in programs if event.endswith("backend_compile_duration")]
    assert len(compiled) <= 3  # for the tables of the true density; they compile fast


def test_a_program_that_runs_once_is_compiled_once_and_is_correct():
    once = JitOnce(lambda x, power: x**power, static_argnums=(1,))
    once.compile(np.arange(3.0), 2)
    assert once.shapes(np.arange(3.0), 2).shape == (3,)
    np.testing.assert_array_equal(once(np.arange(3.0), 2), [0, 1, 4])
    assert once.num_programs() == 1


def test_many_numbers_run_the_optimised_program():
    once = JitOnce(lambda x: 2 * x, max_size=3)
    for size in (3, 4):
        np.testing.assert_array_equal(once(np.ones(size)), np.full(size, 2))
    assert [jitted._cache_size() for jitted in (once._unoptimised, once._optimised)] == [1, 1]  # pyright: ignore


def test_a_compiler_without_the_quick_options_compiles_with_its_defaults(monkeypatch):
    monkeypatch.setattr(compilation, "QUICK_COMPILE_OPTIONS", {"xla_of_another_version": True})
    once = JitOnce(lambda x: 2 * x)
    once.compile(np.ones(2))
    np.testing.assert_array_equal(once(np.ones(2)), [2, 2])
    with pytest.raises(TypeError):  # other errors are not hidden
        once("two")
