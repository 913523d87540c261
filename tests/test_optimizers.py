"""Optimisers and schedules of optax by name, with all options."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdnjax.config import Config, optax_names
from mdnjax.training.optimizers import check_loop_optimizer, check_optimizer, make_optimizer, make_schedule

REQUIRED = {
    "exponential_decay": {"decay_rate": 0.5},
    "linear_schedule": {"end_value": 0.0},
    "polynomial_schedule": {"end_value": 0.0, "power": 2},
    "piecewise_interpolate_schedule": {"interpolate_type": "linear", "boundaries_and_scales": {"50": 0.1}},
    "warmup_constant_schedule": {"init_value": 0.0, "warmup_steps": 10},
    "warmup_cosine_decay_schedule": {"init_value": 0.0, "warmup_steps": 10},
    "warmup_exponential_decay_schedule": {"init_value": 0.0, "warmup_steps": 10, "decay_rate": 0.5},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # from optax, about names that it will change
@pytest.mark.parametrize("name", optax_names.optimizers())
def test_every_optimiser_takes_a_step(name):
    check_optimizer(lambda rate: make_optimizer(name, learning_rate=rate, num_steps=10), 0.1)


@pytest.mark.parametrize("name", optax_names.schedules())
def test_every_schedule_has_the_learning_rate_as_its_peak_and_num_steps_as_its_length(name):
    options = REQUIRED.get(name, {})
    optax_names.check_schedule_options(name, options)
    rates = np.array([make_schedule(name, 0.3, 100, options)(step) for step in range(101)])
    assert rates.max() == pytest.approx(0.3, rel=0.02)
    if "decay_steps" in optax_names.signature_of(getattr(optax, name)):
        assert rates[100] == pytest.approx(0, abs=1e-6)


def test_updates_are_those_of_optax():
    ours = make_optimizer("adamw", learning_rate=0.1, num_steps=5, options={"weight_decay": 0.3})
    params, grads = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([0.5, -3.0])}
    (a, _), (b, _) = (opt.update(grads, opt.init(params), params) for opt in (ours, optax.adamw(0.1, weight_decay=0.3)))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_learning_rate_may_be_traced():
    def first_update(learning_rate):
        optimizer = make_optimizer("sgd", learning_rate=learning_rate, num_steps=10, schedule="cosine_decay_schedule")
        return optimizer.update(jnp.ones(()), optimizer.init(jnp.ones(())), jnp.ones(()))[0]

    assert float(jax.jit(first_update)(0.25)) == pytest.approx(-0.25)


@pytest.mark.parametrize("name", optax_names.schedules())
def test_every_schedule_of_a_configuration_passes_the_check(name):
    """The learning rate is traced if optax allows it, and a constant of the program otherwise."""
    settings = {"train": {"optimizer": {"schedule": name, "schedule_options": REQUIRED.get(name, {})}}}
    check_loop_optimizer(Config.model_validate_json(json.dumps(settings)).train)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adam", {"b1": "much"}),
        ("adam", {"mu_dtype": "bogus"}),
        ("sgd", {"momentum": 0.9, "accumulator_dtype": "foo"}),
        ("lbfgs", {"memory_size": "x"}),
        ("adafactor", {"min_dim_size_to_factor": "x"}),
    ],
)
def test_an_option_that_optax_cannot_use_is_an_error_before_training(name, options):
    with pytest.raises(ValueError, match="optax cannot take a step"):
        check_optimizer(lambda rate: make_optimizer(name, learning_rate=rate, num_steps=3, options=options), 0.1)


def first_step(**settings):
    """Returns the updates of the first Adam step, for kernels with two and with eight inputs."""
    optimizer = make_optimizer("adam", learning_rate=0.1, num_steps=5, **settings)
    params = {"narrow": jnp.ones((2, 3)), "wide": jnp.ones((8, 3)), "bias": jnp.ones(3)}
    grads = jax.tree.map(lambda leaf: leaf * 5.0, params)
    return optimizer.update(grads, optimizer.init(params), params)[0]


def test_a_wide_kernel_has_a_smaller_rate():
    plain, scaled = first_step(), first_step(base_width=4.0)
    ratios = jax.tree.map(lambda a, b: np.unique((a / b).round(6)).tolist(), scaled, plain)
    assert ratios == {"narrow": [1.0], "wide": [0.5], "bias": [1.0]}


def test_a_gradient_with_a_large_norm_is_clipped():
    optimizer = make_optimizer("sgd", learning_rate=1.0, num_steps=5, clip_norm=1.0)
    for grads, norm in (({"w": jnp.full(4, 10.0)}, 1.0), ({"w": jnp.full(4, 0.1)}, 0.2)):
        updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
        assert np.linalg.norm(jax.tree.leaves(updates)[0]) == pytest.approx(norm)
