"""Any optimiser and schedule of optax by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from mdnjax.config.optax_names import LENGTH_ARGUMENTS, rate_argument, signature_of
from mdnjax.types import Array, Float

STEADY = ("lbfgs",)  # compare losses between steps: see train.make_steady_step


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
    clip_norm: float | Float[Array, ""] = 0.0,
    base_width: float | Float[Array, ""] = 0.0,
    schedule: str = "constant_schedule",
    options: Mapping[str, Any] = {},
    schedule_options: Mapping[str, Any] = {},
) -> optax.GradientTransformation:
    """An optax optimiser by name, with its schedule, gradient clipping, rates by width, and weight decay apart from the gradient.

    A gradient of norm above clip_norm is cut to it. The update of a kernel of n inputs is multiplied by min(1, base_width / n):
    what a step changes in a unit then does not grow with its inputs, and one rate suits all widths.
    A step with decay: kernel <- kernel + update - rate(step) weight_decay kernel; biases do not decay.
    L-BFGS alone is as it is: its line search finds its rate, and its decay belongs into the loss.

    Source: Loshchilov & Hutter (2019), algorithm 2 (decay); Yang et al. (2022), Tensor Programs V, table 3 (rates by width).
    """
    if name in STEADY:
        return optax.lbfgs(None, **options)
    rate = make_schedule(schedule, learning_rate, num_steps, schedule_options)
    constant = schedule == "constant_schedule"  # as a number: not every optimiser takes a schedule
    parts = [getattr(optax, name)(learning_rate if constant else rate, **options)]
    if is_on(clip_norm):
        parts = [optax.clip_by_global_norm(cast(float, clip_norm)), *parts]
    if is_on(base_width):
        parts += [_rates_by_width(base_width)]
    if is_on(weight_decay):
        parts += [optax.add_decayed_weights(lambda step: -jnp.asarray(rate(step)) * weight_decay, mask=_kernels)]
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


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


def is_on(number: float | Array) -> bool:
    """Whether it is not a static 0: see Rides.off."""
    return not (isinstance(number, float) and number == 0)


def _rates_by_width(base_width: float | Array) -> optax.GradientTransformation:
    def scaled(leaf: Array) -> Array:
        return leaf * jnp.minimum(1, base_width / leaf.shape[0]).astype(leaf.dtype) if leaf.ndim > 1 else leaf

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates))


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
