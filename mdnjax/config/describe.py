"""Lists the keys of a configuration as text: each with its type, range, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types

from mdnjax.config.section import Section

_TYPE_NAMES = {  # one and several
    int: ("integer", "integers"),
    float: ("number", "numbers"),
    str: ("text", "texts"),
    bool: ("true | false", "true | false"),
    Path: ("path", "paths"),
    Any: ("any", "any"),
}
# Larger limits only keep out what a machine cannot hold, and an error names them.
MAX_SHOWN = 10**6


class Key(NamedTuple):
    """One key of a configuration, as text."""

    name: str
    type: str
    default: str
    meaning: str


def keys(schema: type[Section], prefix: str = "", values: Section | None = None) -> Iterator[Key]:
    """Yields every key of a schema, in the order of the schema, with dotted names.

    Args: values, a configuration whose values are shown in place of the schema's defaults.
    """
    for name, field in schema.model_fields.items():
        inner = field.annotation
        value = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from keys(inner, f"{prefix}{name}.", value)
        elif optional := next((part for part in get_args(inner) if isinstance(part, type) and issubclass(part, Section)), None):
            several = get_origin(inner) is dict
            yield from keys(optional, f"{prefix}{name}.KEY." if several else f"{prefix}{name}.", None if several else value)
        else:
            yield Key(prefix + name, _type_text(field.annotation, field.metadata), _default_text(value), field.description or "")


def _type_text(annotation: Any, metadata: Any = (), several: bool = False) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = [bound for item in annotation.__metadata__ for bound in getattr(item, "metadata", [item])]
        return _type_text(arguments[0], [*inner, *metadata], several)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        pair = arguments == (float, float)
        noun = ("pair" if pair else "list") + "s" * several
        return f"{noun} of {_type_text(arguments[0], several=True)}"
    if origin is dict:
        return "`key: value` lines"
    if origin in (Union, types.UnionType):
        return " | ".join(_type_text(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    bounds = _bounds_text(metadata)
    return _TYPE_NAMES[annotation][several] + (f", {'each ' * several}{bounds}" if bounds else "")


def _bounds_text(metadata: Any) -> str:
    """Returns the tightest bounds in words."""
    least, above, most, below = (
        choose((getattr(mark, name) for mark in metadata if isinstance(mark, kind)), default=None)
        for choose, kind, name in (
            (max, annotated_types.Ge, "ge"),
            (max, annotated_types.Gt, "gt"),
            (min, annotated_types.Le, "le"),
            (min, annotated_types.Lt, "lt"),
        )
    )
    if most is not None and most > MAX_SHOWN:
        most = None
    if above is not None and (least is None or above >= least):
        least = None
    else:
        above = None
    if least is not None and most is not None:
        return f"{least} to {most}"
    parts = [
        f"{least} or more" if least is not None else "",
        f"above {above}" if above is not None else "",
        f"at most {most}" if most is not None else "",
        f"below {below}" if below is not None else "",
    ]
    return " and ".join(filter(None, parts))


def _default_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_default_text, value))}]"
    if value is None or value == "":
        return "null" if value is None else "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)
