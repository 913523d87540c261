"""Makes a validated configuration from a file and `key=value` words.

The command line wins over the file, the file over the defaults.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from mdnjax.config import document
from mdnjax.config.faults import fault, shown
from mdnjax.config.schema import Section

S = TypeVar("S", bound=Section)
COMMAND_LINE = "command line"
# Options belong to what they are options of: another optimiser does not inherit them.
OWNED = {"name": "options", "schedule": "schedule_options"}


class ConfigError(ValueError):
    """Everything that is wrong with a configuration; its text is one line."""

    def __init__(self, faults: Sequence[str]):
        super().__init__("; ".join(faults))
        self.faults = list(faults)


def load(schema: type[S], path: Path | None, words: Sequence[str] = ()) -> S:
    """Reads, merges and validates.

    Args: path of a YAML file or None for the defaults alone; words of the form `train.num_steps=100`, of which the last wins.
    Raises: ConfigError with all faults at once, each with its place (file and line, or the command line).
    """
    tree: dict[str, Any] = schema().model_dump(mode="json")  # a section given in part keeps the rest of its defaults
    places: dict[document.Path, str] = {}
    faults: list[str] = []
    if path is not None:
        _merge(tree, _read_file(path, places, faults))
    _merge(tree, _read_words(words, places, faults))
    try:
        # JSON mode: strict pydantic takes a list for a tuple there, and text for a path
        config = schema.model_validate_json(json.dumps(_finite(tree)))
    except ValidationError as error:
        faults += [fault(schema, e, places) for e in error.errors(include_url=False)]
        raise ConfigError(faults) from None
    if faults:
        raise ConfigError(faults)
    return config


def dump(config: Section) -> str:
    """The configuration as YAML with every key, ready to be loaded again."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _read_file(path: Path, places: dict[document.Path, str], faults: list[str]) -> dict[str, Any]:
    try:
        parsed = document.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        faults.append(f"cannot read {path}: {error.strerror if isinstance(error, OSError) else 'not a UTF-8 text'}")
        return {}
    faults += [f"{path}:{line}: {text}" for line, text in parsed.faults]
    places.update({key: f"{path}:{line}" for key, line in parsed.lines.items()})
    if not isinstance(parsed.tree, dict | None):
        faults.append(f"{path}:1: got {shown(parsed.tree)}, expected `key: value` lines")
        return {}
    return parsed.tree or {}


def _read_words(words: Sequence[str], places: dict[document.Path, str], faults: list[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    paths: list[document.Path] = []
    for word in words:
        dotted, equals, text = word.partition("=")
        path = tuple(dotted.split("."))
        if not equals or not all(path) or len(path) > document.MAX_DEPTH or not word.isprintable():
            faults.append(f"{COMMAND_LINE}: got {shown(word)}, expected key=value")
            continue
        if clash := next((other for other in paths if other != path and other[: len(path)] == path[: len(other)]), None):
            faults.append(f"{COMMAND_LINE}: {dotted!r} and {'.'.join(map(str, clash))!r} are both given")
            continue
        paths.append(path)
        parsed = document.parse(text)
        faults += [f"{COMMAND_LINE}: {dotted}: {fault}" for _, fault in parsed.faults]
        if not parsed.faults:
            # the sections above it too: what is wrong with them now is this word's doing
            places.update({path[:length]: COMMAND_LINE for length in range(1, len(path) + 1)})
            places.update({(*path, *below): COMMAND_LINE for below in parsed.lines})
            _merge(tree, functools.reduce(lambda inner, key: {str(key): inner}, reversed(path), parsed.tree))
    return tree


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    for owner, owned in OWNED.items():
        if owner in tree and over.get(owner, tree[owner]) != tree[owner]:
            tree.pop(owned, None)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _finite(tree: Any) -> Any:
    """JSON has no inf and nan: they become text, which every numeric field refuses with the text shown."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree
