"""Any optimiser and schedule of optax by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

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
    weight_decay: float | Float[Array, ""] = 0.0,
    schedule: str = "constant_schedule",
    options: Mapping[str, Any] = {},
    schedule_options: Mapping[str, Any] = {},
) -> optax.GradientTransformation:
    """An optax optimiser by name, with its schedule and with weight decay apart from the gradient.

    A step with decay: kernel <- kernel + update - rate(step) weight_decay kernel; biases do not decay.

    Source: Loshchilov & Hutter (2019), algorithm 2.
    """
    rate = make_schedule(schedule, learning_rate, num_steps, schedule_options)
    constant = schedule == "constant_schedule"  # as a number: not every optimiser takes a schedule
    optimizer = getattr(optax, name)(learning_rate if constant else rate, **options)
    if isinstance(weight_decay, float) and weight_decay == 0:  # a static 0: see Rides.off
        return optimizer
    return optax.chain(optimizer, optax.add_decayed_weights(lambda step: -jnp.asarray(rate(step)) * weight_decay, mask=_kernels))


def check_optimizer(make: Callable[[Any], optax.GradientTransformation], numbers: Any = None) -> None:
    """Makes an optimiser from traced numbers and traces two steps, compiling nothing, to find options that optax cannot use.

    Raises: ValueError with optax's own reason.
    """

    def norm(params: dict[str, Array]) -> Array:
        return sum((jnp.sum(leaf**2) for leaf in params.values()), jnp.zeros(()))

    def steps(numbers: Any) -> dict[str, Array]:
        params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        optimizer = optax.with_extra_args_support(make(numbers))
        state = optimizer.init(params)
        for _ in range(2):
            value, grads = jax.value_and_grad(norm)(params)
            updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=norm)
            params = cast(dict[str, Array], optax.apply_updates(params, updates))
        return params

    try:
        after = jax.eval_shape(steps, numbers)
    except Exception as error:  # whatever optax does with a wrong option
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"optax cannot take a step with these options: {reason[:200]}") from error
    if wrong := {leaf.dtype for leaf in after.values() if not jnp.issubdtype(leaf.dtype, jnp.floating)}:
        raise ValueError(f"optax turns parameters into {wrong} with these options")


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
