"""Makes optimisers and schedules of optax by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from mdnjax.config import schema
from mdnjax.config.numbers import join, split
from mdnjax.config.optax_names import LENGTH_ARGUMENTS, rate_argument, signature_of
from mdnjax.types import Array, Float

STEADY_OPTIMIZERS = ("lbfgs",)  # compare losses between steps: see steps.make_steady_step


def make_schedule(
    name: str, learning_rate: float | Float[Array, ""], num_steps: int, options: Mapping[str, Any]
) -> optax.Schedule:
    """Returns an optax schedule; its peak or first value is the learning rate, its length num_steps unless an option sets it."""
    factory = getattr(optax, name)
    parameters = signature_of(factory)
    arguments: dict[str, Any] = {key: num_steps for key in LENGTH_ARGUMENTS if key in parameters}
    arguments |= {rate_argument(parameters): learning_rate, **options}
    if isinstance(boundaries := arguments.get("boundaries_and_scales"), dict):
        arguments["boundaries_and_scales"] = {int(k): v for k, v in boundaries.items()}  # keys are text in YAML, steps in optax
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
    """Returns an optax optimiser by name, with a schedule, gradient clipping, rates by width, and decoupled weight decay.

    A gradient whose norm is larger than clip_norm is scaled to that norm. The update of a kernel with n inputs is multiplied by
    min(1, base_width / n), so that the change of a unit in one step does not grow with n, and one rate suits all widths.
    A step with decay is kernel <- kernel + update - rate(step) weight_decay kernel; biases do not decay.
    L-BFGS gets none of these: its line search chooses the rate, and its decay is a part of the loss.

    Source: Loshchilov & Hutter (2019), algorithm 2 (decay); Yang et al. (2022), Tensor Programs V, table 3 (rates by width).
    """
    if name in STEADY_OPTIMIZERS:
        return optax.lbfgs(None, **options)
    rate = make_schedule(schedule, learning_rate, num_steps, schedule_options)
    constant = schedule == "constant_schedule"  # passed as a number, since not every optimiser takes a schedule
    parts = [getattr(optax, name)(learning_rate if constant else rate, **options)]
    if is_on(clip_norm):
        parts = [optax.clip_by_global_norm(cast(float, clip_norm)), *parts]
    if is_on(base_width):
        parts += [_rates_by_width(base_width)]
    if is_on(weight_decay):
        parts += [optax.add_decayed_weights(lambda step: -jnp.asarray(rate(step)) * weight_decay, mask=_kernels)]
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


def optimizer_of(loop: schema.Loop) -> Any:
    """Returns the optimiser of a training section."""
    return make_optimizer(num_steps=loop.num_steps, **dict(loop.optimizer))


def check_loop_optimizer(loop: schema.Loop) -> None:
    """Checks the optimiser of a training section without compiling anything.

    Raises: ValueError if optax cannot use its options.
    """
    shape, numbers = split(loop.optimizer)
    check_optimizer(lambda numbers: optimizer_of(loop.model_copy(update={"optimizer": join(shape, numbers)})), numbers)


def check_optimizer(make: Callable[[Any], optax.GradientTransformation], numbers: Any = None) -> None:
    """Checks that optax can use an optimiser's options: traces two steps with traced numbers, without compiling anything.

    Raises: ValueError with the reason that optax gives.
    """

    def squared_norm(params: dict[str, Array]) -> Array:
        return sum((jnp.sum(leaf**2) for leaf in params.values()), jnp.zeros(()))

    def two_steps(numbers: Any) -> dict[str, Array]:
        params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        optimizer = optax.with_extra_args_support(make(numbers))
        state = optimizer.init(params)
        for _ in range(2):
            value, grads = jax.value_and_grad(squared_norm)(params)
            updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=squared_norm)
            params = cast(dict[str, Array], optax.apply_updates(params, updates))
        return params

    try:
        after = jax.eval_shape(two_steps, numbers)
    except Exception as error:  # optax raises errors of many types for a wrong option
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"optax cannot take a step with these options: {reason[:200]}") from error
    if wrong := {str(leaf.dtype) for leaf in after.values() if not jnp.issubdtype(leaf.dtype, jnp.floating)}:
        got = ", ".join(sorted(wrong))
        raise ValueError(f"optax changes the type of parameters to {got} with these options, expected a floating-point type")


def is_on(number: float | Array) -> bool:
    """Returns whether a part of the program is on: it is off for a Python 0.0, on for other numbers and traced arrays.

    See `mdnjax.config.section.Traced.off`.
    """
    return not (isinstance(number, float) and number == 0)


def _rates_by_width(base_width: float | Array) -> optax.GradientTransformation:
    """Returns a transformation that multiplies the update of a kernel with n inputs by min(1, base_width / n)."""

    def scaled(leaf: Array) -> Array:
        return leaf * jnp.minimum(1, base_width / leaf.shape[0]).astype(leaf.dtype) if leaf.ndim > 1 else leaf

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates))


def _kernels(params: Any) -> Any:
    """Returns a mask that is True for kernels and False for biases."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
