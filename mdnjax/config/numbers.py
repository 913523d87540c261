"""Splits a configuration into a shape, for which a program is compiled, and numbers, which need no recompilation.

The numbers are those of the fields marked `Traced`: compiled programs take them as arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from mdnjax.config.nearest import nearest
from mdnjax.config.section import Section, Traced

S = TypeVar("S", bound=Section)


def split(section: S) -> tuple[S, dict[str, float | bool]]:
    """Returns the section with its traced fields set to None, and the values of those fields by dotted key."""
    numbers = dict(_traced_values(section, ""))
    return join(section, dict.fromkeys(numbers)), numbers


def join(shape: S, numbers: Mapping[str, Any]) -> S:
    """Puts numbers back into a shape without validation, because under `jax.jit` they are traced arrays."""
    changes: dict[str, Any] = {}
    for key in {key.partition(".")[0] for key in numbers}:
        if key in numbers:
            changes[key] = numbers[key]
        else:
            changes[key] = join(getattr(shape, key), below(numbers, key))
    return shape.model_copy(update=changes)


def below(numbers: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the numbers of the section `name`, by their keys inside that section."""
    return {key.removeprefix(f"{name}."): number for key, number in numbers.items() if key.startswith(f"{name}.")}


def with_numbers(section: S, numbers: Mapping[str, Any]) -> S:
    """Returns a section with other numbers, validated.

    Raises: ValidationError if a number is out of range.
    """
    tree = join(section, numbers).model_dump(mode="json")
    return type(section).model_validate_json(json.dumps(tree))


def check_settings(sections: Mapping[str, Section], settings: Sequence[Mapping[str, float]]) -> None:
    """Raises a ValueError if a setting has a key that is not a traced number, or if the settings need several programs."""
    known = [key for name, section in sections.items() for key in _traced_keys(type(section), f"{name}.")]
    shapes = {}
    for setting in settings:
        if unknown := next((key for key in setting if key not in known), None):
            raise ValueError(f"settings: got {unknown!r}, expected one of {', '.join(known)}{nearest(unknown, known)}")
        try:
            shape = [split(with_numbers(section, below(setting, name)))[0] for name, section in sections.items()]
        except ValidationError as error:
            fault = error.errors()[0]
            raise ValueError(f"settings: {fault['loc'][-1]}: got {fault['input']!r}: {fault['msg']}") from None
        shapes.setdefault(repr(shape), setting)
    if len(shapes) > 1:
        first, second = list(shapes.values())[:2]
        raise ValueError(
            f"settings: got {dict(first)} and {dict(second)}, expected the same keys, and no 0 that switches one off"
        )


def _traced_keys(schema: type[Section], prefix: str) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _traced_keys(field.annotation, f"{prefix}{name}.")
        elif any(isinstance(mark, Traced) for mark in field.metadata):
            yield prefix + name


def _traced_values(section: Section, prefix: str) -> Iterator[tuple[str, float | bool]]:
    static = section.static_fields()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _traced_values(value, f"{prefix}{name}.")
        elif name not in static and any(isinstance(mark, Traced) and mark.off != value for mark in field.metadata):
            yield prefix + name, value
