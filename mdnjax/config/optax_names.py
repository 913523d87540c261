"""Checks optimisers and schedules of a configuration against optax itself, so that no list of names has to be maintained."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mdnjax.config.nearest import nearest

# Arguments that the training loop sets, by the names that optax's schedules use.
RATE_ARGUMENTS = ("peak_value", "init_value", "value")
LENGTH_ARGUMENTS = ("decay_steps", "transition_steps")
# Schedules that compute `if peak_value == 0` in Python, which fails for a traced learning rate.
UNTRACEABLE_SCHEDULES = ("warmup_cosine_decay_schedule",)


@functools.cache  # sweeps validate thousands of configurations
def signature_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of an optax factory by name; empty if Python cannot read its signature."""
    try:
        return dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return {}


@functools.cache
def optimizers() -> list[str]:
    """Returns the names of optax's optimisers: its public functions that take a learning rate first."""
    import optax  # imported here, so that --help does not import jax

    return [name for name in _public(optax) if next(iter(signature_of(getattr(optax, name))), "") == "learning_rate"]


@functools.cache
def schedules() -> list[str]:
    """Returns the names of optax's schedules that take one learning rate."""
    import optax

    found = [name for name in _public(optax) if name.endswith(("_schedule", "_decay"))]
    return [name for name in found if set(RATE_ARGUMENTS) & set(signature_of(getattr(optax, name)))]


def check_name(kind: str, name: str, known: list[str]) -> None:
    """Raises a ValueError, with the nearest known name, if optax has no such optimiser or schedule."""
    if name not in known:
        raise ValueError(f"got {name!r}, expected {kind} of optax: {', '.join(known)}{nearest(name, known)}")


def check_optimizer_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises a ValueError if the optimiser has no such option."""
    import optax

    _check_options(name, options, signature_of(getattr(optax, name)), {"learning_rate"})


def check_schedule_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises a ValueError if the schedule has no such option, or if a required option is missing."""
    import optax

    parameters = signature_of(getattr(optax, name))
    rate = rate_argument(parameters)
    _check_options(name, options, parameters, {rate})
    given = {rate, *LENGTH_ARGUMENTS, *options}
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in given]
    if missing:
        raise ValueError(f"schedule {name!r} needs schedule_options: {', '.join(missing)}")


def rate_argument(parameters: Mapping[str, Any]) -> str:
    """Returns the name of the argument through which a schedule takes the learning rate."""
    return next(argument for argument in RATE_ARGUMENTS if argument in parameters)


def _public(module: Any) -> list[str]:
    names = [name for name in dir(module) if name.islower() and not name.startswith(("_", "scale_by_"))]
    return [name for name in names if callable(getattr(module, name))]


def _check_options(name: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], filled: set[str]) -> None:
    known = [parameter for parameter in parameters if parameter not in filled]
    for option, value in options.items():
        if value in ("nan", "inf", "-inf"):
            raise ValueError(f"option {option!r} of {name!r}: got {value}, expected a finite number")
        if option in filled:
            raise ValueError(f"option {option!r} of {name!r} is set by learning_rate")
        if option not in known:
            raise ValueError(f"{name!r} has no option {option!r}; it has {', '.join(known)}{nearest(option, known)}")
