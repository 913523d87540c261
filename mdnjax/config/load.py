"""Makes a validated configuration from a file and `key=value` words.

The command line takes precedence over the file, and the file over the defaults.
"""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError

from mdnjax.config import document
from mdnjax.config.faults import fault_text, value_text
from mdnjax.config.section import Section

S = TypeVar("S", bound=Section)
COMMAND_LINE = "command line"
RESERVED = (
    ",",
    "|",
    "&",
    "*",
    "!",
    "%",
    "@",
    ">",
    "`",
)  # by YAML; a word whose value is one of them, such as a delimiter, is text
# The options of an optimiser or a schedule; a different optimiser or schedule does not inherit them.
OPTIONS_OF = {"name": "options", "schedule": "schedule_options"}


class ConfigError(ValueError):
    """All faults of a configuration; its text is one line."""

    def __init__(self, faults: Sequence[str]):
        super().__init__("; ".join(faults))
        self.faults = list(faults)


class Layer(NamedTuple):
    """Values that replace those of earlier layers, the place (file and line) of each value, and the faults as text."""

    tree: dict[str, Any]
    places: dict[document.Path, str]
    faults: list[str]


def load(schema: type[S], path: Path | None, words: Sequence[str] = ()) -> S:
    """Reads a file and words, merges them over the defaults, and validates the result.

    Args: path of a YAML file, or None for only the defaults; words of the form `train.num_steps=100`, later ones take precedence.
    Raises: ConfigError with all faults at once, each with its place (file and line, or the command line).
    """
    return resolve(schema, [*([read_file(path)] if path is not None else []), read_words(words)])


def resolve(schema: type[S], layers: Sequence[Layer]) -> S:
    """Merges layers over the defaults, later ones over earlier ones, and validates.

    Raises: ConfigError with all faults at once, each with its place.
    """
    tree = merged([Layer(schema().model_dump(mode="json", by_alias=True), {}, []), *layers])
    places: dict[document.Path, str] = {}
    for layer in layers:  # where _merge did not replace a value by a section, the place of the value stays as well
        places |= {path: place for path, place in layer.places.items() if path not in places or not _is_clash(tree, layer, path)}
    faults = [fault for layer in layers for fault in layer.faults]
    try:
        # In JSON mode strict pydantic accepts a list for a tuple, and text for a path.
        config = schema.model_validate_json(json.dumps(_non_finite_as_text(tree)))
    except ValidationError as error:
        faults += [fault_text(schema, e, places) for e in error.errors(include_url=False)]
        raise ConfigError(faults) from None
    if faults:
        raise ConfigError(faults)
    return config


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Returns one tree of all layers, later ones over earlier ones, without validation."""
    tree: dict[str, Any] = {}
    for layer in layers:
        _merge(tree, copy.deepcopy(layer.tree))  # _merge changes the sections that the tree holds
    return tree


def dump(config: Section | Mapping[str, Any]) -> str:
    """Returns the configuration as YAML with every key, which can be loaded again."""
    tree = config.model_dump(mode="json", by_alias=True) if isinstance(config, Section) else dict(config)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def read_file(path: Path) -> Layer:
    """Returns a YAML file as a layer; a file that cannot be read becomes a fault of the layer."""
    try:
        parsed = document.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        return Layer({}, {}, [f"cannot read {path}: {_reason(error)}"])
    faults = [f"{path}:{line}: {text}" for line, text in parsed.faults]
    places = {key: f"{path}:{line}" for key, line in parsed.lines.items()}
    if not isinstance(parsed.tree, dict | None):
        return Layer({}, places, [*faults, f"{path}:1: got {value_text(parsed.tree)}, expected `key: value` lines"])
    return Layer(parsed.tree or {}, places, faults)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return "not a UTF-8 text" if isinstance(error, UnicodeError) else str(error)


def read_words(words: Sequence[str]) -> Layer:
    """Returns `key=value` words as a layer."""
    layer, paths = Layer({}, {}, []), []
    for word in words:
        dotted, equals, text = word.partition("=")
        path = tuple(dotted.split("."))
        if not equals or not all(path) or len(path) > document.MAX_DEPTH or not word.isprintable():
            layer.faults.append(f"{COMMAND_LINE}: got {value_text(word)}, expected key=value")
            continue
        if clash := next((other for other in paths if other != path and other[: len(path)] == path[: len(other)]), None):
            layer.faults.append(f"{COMMAND_LINE}: {dotted!r} and {'.'.join(map(str, clash))!r} are both given")
            continue
        paths.append(path)
        parsed = document.parse(json.dumps(text) if text in RESERVED else text)
        layer.faults.extend(f"{COMMAND_LINE}: {dotted}: {fault}" for _, fault in parsed.faults)
        if not parsed.faults:
            # Faults of the sections around the key are also due to this word.
            layer.places.update(dict.fromkeys(_prefixes(path), COMMAND_LINE))
            layer.places.update({(*path, *below): COMMAND_LINE for below in parsed.lines})
            _merge(layer.tree, _nested(path, parsed.tree))
    return layer


def settings_layer(settings: Mapping[str, Any], places: Mapping[str, str]) -> Layer:
    """Returns values by dotted key, each with its place, as a layer."""
    layer = Layer({}, {}, [])
    for dotted, value in settings.items():
        path = tuple(dotted.split("."))
        layer.places.update(dict.fromkeys(_prefixes(path), places[dotted]))
        _merge(layer.tree, _nested(path, value))
    return layer


def _prefixes(path: Sequence[str]) -> list[document.Path]:
    return [tuple(path[:length]) for length in range(1, len(path) + 1)]


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    return functools.reduce(lambda inner, key: {key: inner}, reversed(path), value)


def _is_clash(tree: Any, layer: Layer, path: document.Path) -> bool:
    """Returns whether a layer has a section where the tree has another value."""
    return isinstance(_at(layer.tree, path), dict) and not isinstance(_at(tree, path), dict)


def _at(tree: Any, path: document.Path) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Puts values over those of a tree.

    A section without keys changes nothing. A section does not replace another value, so that validation reports that value.
    """
    for owner, options in OPTIONS_OF.items():
        if owner in tree and over.get(owner, tree[owner]) != tree[owner]:
            tree.pop(options, None)
    for key, value in over.items():
        current = tree.get(key)
        if isinstance(current, dict) and isinstance(value, dict):
            _merge(current, value)
        elif not (isinstance(current, dict) and value is None) and not (isinstance(value, dict) and current is not None):
            tree[key] = value


def _non_finite_as_text(tree: Any) -> Any:
    """Replaces inf and nan, which JSON does not have, by text, which every numeric field refuses with a message that shows it."""
    if isinstance(tree, dict):
        return {key: _non_finite_as_text(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_non_finite_as_text(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree
