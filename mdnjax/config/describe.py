"""Says in words what a configuration may hold: one entry a key, with its type, range, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types

from mdnjax.config.section import Section

_NAMES = {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path", Any: "any"}


class Key(NamedTuple):
    """One key of a configuration, in words."""

    name: str
    type: str
    default: str
    meaning: str


def keys(schema: type[Section], prefix: str = "") -> Iterator[Key]:
    """Every key of a schema, in its order, with dotted names."""
    for name, field in schema.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            default = field.get_default(call_default_factory=True)
            yield from (
                key._replace(default=_shown(_at(default, key.name.removeprefix(f"{prefix}{name}."))))
                for key in keys(inner, f"{prefix}{name}.")
            )
        elif optional := next((one for one in get_args(inner) if isinstance(one, type) and issubclass(one, Section)), None):
            yield from keys(optional, f"{prefix}{name}.KEY." if get_origin(inner) is dict else f"{prefix}{name}.")
        else:
            yield Key(prefix + name, _words(field.annotation, field.metadata), _shown(field.default), field.description or "")


def _at(section: Section, dotted: str) -> Any:
    value: Any = section
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _words(annotation: Any, marks: Any = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = [mark for item in annotation.__metadata__ for mark in getattr(item, "metadata", [item])]
        return _words(arguments[0], inner)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return "`key: value` lines"
    if origin in (Union, types.UnionType):
        return " | ".join(_words(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    return " ".join([_NAMES[annotation], *filter(None, map(_bound, marks))])


def _bound(mark: Any) -> str:
    match mark:
        case annotated_types.Ge():
            return f">= {mark.ge}"
        case annotated_types.Gt():
            return f"> {mark.gt}"
        case annotated_types.Le():
            return f"<= {mark.le}"
        case _:
            return ""


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
