"""Lists the keys of a configuration as text: each with its type, range, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types

from mdnjax.config.section import Section

_TYPE_NAMES = {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path", Any: "any"}


class Key(NamedTuple):
    """One key of a configuration, as text."""

    name: str
    type: str
    default: str
    meaning: str


def keys(schema: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yields every key of a schema, in the order of the schema, with dotted names."""
    for name, field in schema.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            default = field.get_default(call_default_factory=True)
            yield from (
                key._replace(default=_default_text(_value_at(default, key.name.removeprefix(f"{prefix}{name}."))))
                for key in keys(inner, f"{prefix}{name}.")
            )
        elif optional := next((part for part in get_args(inner) if isinstance(part, type) and issubclass(part, Section)), None):
            yield from keys(optional, f"{prefix}{name}.KEY." if get_origin(inner) is dict else f"{prefix}{name}.")
        else:
            type_text = _type_text(field.annotation, field.metadata)
            yield Key(prefix + name, type_text, _default_text(field.default), field.description or "")


def _value_at(section: Section, dotted: str) -> Any:
    value: Any = section
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _type_text(annotation: Any, metadata: Any = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = [bound for item in annotation.__metadata__ for bound in getattr(item, "metadata", [item])]
        return _type_text(arguments[0], inner)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if origin is dict:
        return "`key: value` lines"
    if origin in (Union, types.UnionType):
        return " | ".join(_type_text(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    return " ".join([_TYPE_NAMES[annotation], *filter(None, map(_bound_text, metadata))])


def _bound_text(bound: Any) -> str:
    match bound:
        case annotated_types.Ge():
            return f">= {bound.ge}"
        case annotated_types.Gt():
            return f"> {bound.gt}"
        case annotated_types.Le():
            return f"<= {bound.le}"
        case _:
            return ""


def _default_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
