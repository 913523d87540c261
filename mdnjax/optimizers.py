"""Any optimiser and schedule of optax by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mdnjax.config.optax_names import LENGTH_ARGUMENTS, rate_argument, signature_of
from mdnjax.types import Array, Float


def make_schedule(
    name: str, learning_rate: float | Float[Array, ""], num_steps: int, options: Mapping[str, Any]
) -> optax.Schedule:
    """An optax schedule: its peak, or first value, is the learning rate, its length num_steps unless an option says it."""
    factory = getattr(optax, name)
    parameters = signature_of(factory)
    arguments: dict[str, Any] = {key: num_steps for key in LENGTH_ARGUMENTS if key in parameters}
    arguments |= {rate_argument(parameters): learning_rate, **options}
    if isinstance(boundaries := arguments.get("boundaries_and_scales"), dict):
        arguments["boundaries_and_scales"] = {int(k): v for k, v in boundaries.items()}  # YAML's keys are text, optax's steps
    return factory(**arguments)


def make_optimizer(
    name: str,
    *,
    learning_rate: float | Float[Array, ""],
    num_steps: int,
    schedule: str = "constant_schedule",
    options: Mapping[str, Any] = {},
    schedule_options: Mapping[str, Any] = {},
) -> optax.GradientTransformation:
    """An optax optimiser by name, with its schedule."""
    rate = make_schedule(schedule, learning_rate, num_steps, schedule_options)
    constant = schedule == "constant_schedule"  # as a number: not every optimiser takes a schedule
    return getattr(optax, name)(learning_rate if constant else rate, **options)


def check_optimizer(optimizer: optax.GradientTransformation) -> None:
    """Traces one step on a single parameter, compiling nothing, to find options that optax cannot work with.

    Raises: ValueError with optax's own reason.
    """

    def square(params: dict[str, Array]) -> Array:
        return jnp.sum(params["w"] ** 2)

    def step(params: dict[str, Array]) -> Any:
        value, grads = jax.value_and_grad(square)(params)
        update = optax.with_extra_args_support(optimizer).update
        return update(grads, optimizer.init(params), params, value=value, grad=grads, value_fn=square)

    try:
        jax.eval_shape(step, {"w": jnp.zeros(2)})
    except Exception as error:
        raise ValueError(f"optax cannot take a step with these settings: {' '.join(str(error).split())[:200]}") from error
