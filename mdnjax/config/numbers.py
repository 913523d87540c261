"""Splits a configuration into its shape, which a program is compiled for, and the numbers that ride in that program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from mdnjax.config.section import Rides, Section

S = TypeVar("S", bound=Section)


def split(section: S) -> tuple[S, dict[str, float | bool]]:
    """The same section with its riding fields set to None, and those fields by dotted key."""
    numbers = dict(_riding(section, ""))
    return join(section, dict.fromkeys(numbers)), numbers


def join(shape: S, numbers: Mapping[str, Any]) -> S:
    """Puts numbers back into a shape, unvalidated: under `jax.jit` they are traced arrays."""
    changes: dict[str, Any] = {}
    for key in {key.partition(".")[0] for key in numbers}:
        if key in numbers:
            changes[key] = numbers[key]
        else:
            inner = {name.removeprefix(f"{key}."): n for name, n in numbers.items() if name.startswith(f"{key}.")}
            changes[key] = join(getattr(shape, key), inner)
    return shape.model_copy(update=changes)


def _riding(section: Section, prefix: str) -> Iterator[tuple[str, float | bool]]:
    shaping = section.shaping()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _riding(value, f"{prefix}{name}.")
        elif name not in shaping and any(isinstance(mark, Rides) and mark.off != value for mark in field.metadata):
            yield prefix + name, value
