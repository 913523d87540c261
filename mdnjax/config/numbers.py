"""Splits a configuration into its shape, which a program is compiled for, and the numbers that ride in that program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from mdnjax.config.optax_names import nearest
from mdnjax.config.section import Section, Traced

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
            changes[key] = join(getattr(shape, key), below(numbers, key))
    return shape.model_copy(update=changes)


def below(numbers: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The numbers of a part, by their names inside it."""
    return {key.removeprefix(f"{name}."): number for key, number in numbers.items() if key.startswith(f"{name}.")}


def changed(section: S, numbers: Mapping[str, Any]) -> S:
    """A section with other numbers, validated.

    Raises: ValidationError if one of them is out of range.
    """
    tree = join(section, numbers).model_dump(mode="json")
    return type(section).model_validate_json(json.dumps(tree))


def check_settings(sections: Mapping[str, Section], settings: Sequence[Mapping[str, float]]) -> None:
    """Raises: ValueError if settings, by dotted keys, hold anything but numbers that ride, or need several programs."""
    known = [key for name, section in sections.items() for key in _all_riding(type(section), f"{name}.")]
    shapes = {}
    for setting in settings:
        if unknown := next((key for key in setting if key not in known), None):
            raise ValueError(f"settings: got {unknown!r}, expected one of {', '.join(known)}{nearest(unknown, known)}")
        try:
            shape = [split(changed(section, below(setting, name)))[0] for name, section in sections.items()]
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"settings: {first['loc'][-1]}: got {first['input']!r}: {first['msg']}") from None
        shapes.setdefault(repr(shape), setting)
    if len(shapes) > 1:
        one, other = list(shapes.values())[:2]
        raise ValueError(f"settings: got {dict(one)} and {dict(other)}, expected the same keys, and no 0 that switches one off")


def _all_riding(schema: type[Section], prefix: str) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _all_riding(field.annotation, f"{prefix}{name}.")
        elif any(isinstance(mark, Traced) for mark in field.metadata):
            yield prefix + name


def _riding(section: Section, prefix: str) -> Iterator[tuple[str, float | bool]]:
    shaping = section.shaping()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _riding(value, f"{prefix}{name}.")
        elif name not in shaping and any(isinstance(mark, Traced) and mark.off != value for mark in field.metadata):
            yield prefix + name, value
