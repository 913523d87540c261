"""Describes each fault of a configuration in one line: its place, what was got, what was expected."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from mdnjax.config import document
from mdnjax.config.describe import keys
from mdnjax.config.nearest import nearest
from mdnjax.config.section import Section


def fault_text(schema: type[Section], error: Any, places: Mapping[document.Path, str]) -> str:
    """Returns one of pydantic's errors as `place: key: got ..., expected ...`, with the nearest right name."""
    path = error["loc"]
    place = next((places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), "")
    prefix = f"{place}: " if place else ""
    dotted = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        return f"{prefix}unknown key {dotted!r}{_nearest_key(schema, path)}"
    if error["type"] == "value_error":
        return f"{prefix}{dotted}: {error['ctx']['error']}"
    got, expected = value_text(error["input"]), _expected(error)
    close = nearest(str(error["input"]), _choices(error)) if error["type"] == "literal_error" else ""
    return f"{prefix}{dotted}: got {got}, expected {expected}{close}"


def _nearest_key(schema: type[Section], path: document.Path) -> str:
    known = [key.name for key in keys(schema)]
    dotted, parent = ".".join(map(str, path)), [str(part) for part in path[:-1]]
    if dotted in schema.renamed:
        return f"; it is now {schema.renamed[dotted]!r}"
    same_name = [name for name in known if name.split(".")[-1] == str(path[-1])]  # the right key in the wrong section
    if same_name:
        return f"; did you mean {same_name[0]!r}?"
    inside = [name.split(".") for name in known if name.split(".")[: len(parent)] == parent]
    level = dict.fromkeys(".".join(parts[: len(path)]) for parts in inside)
    by_last = {name.split(".")[-1]: name for name in reversed(known)}
    alike = difflib.get_close_matches(str(path[-1]), by_last, n=1, cutoff=0.8)
    return nearest(dotted, list(level)) or nearest(by_last[alike[0]] if alike else dotted, known)


def _choices(error: Any) -> list[str]:
    return [choice.strip("' ") for choice in error["ctx"]["expected"].replace(" or ", ", ").split(",")]


def _expected(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    texts = {
        "greater_than": "a number > {gt}",
        "greater_than_equal": "a number >= {ge}",
        "less_than_equal": "a number <= {le}",
        "literal_error": "one of {expected}",
        "too_long": "at most {max_length} entries",
        "too_short": "at least {min_length} entries",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "tuple_type": "a list",
        "dict_type": "`key: value` lines",
        "model_type": "`key: value` lines",
        "model_attributes_type": "`key: value` lines",
        "path_type": "a path",
    }
    return texts[kind].format(**context) if kind in texts else error["msg"]


def value_text(value: Any) -> str:
    """Returns a value as it would be written in YAML, cut to 60 characters."""
    text = json.dumps(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
