"""Makes a validated configuration from a file and `key=value` words.

The command line wins over the file, the file over the defaults.
"""

from __future__ import annotations

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

    Args: path of a YAML file or None for the defaults alone; words of the form `train.num_steps=100`.
    Raises: ConfigError with all faults at once, each with its place (file and line, or the command line).
    """
    tree: dict[str, Any] = schema().model_dump(mode="json")  # a section given in part keeps the rest of its defaults
    places: dict[document.Path, str] = {}
    faults: list[str] = []
    if path is not None:
        _merge(tree, _read_file(path, places, faults))
    said: dict[str, Any] = {}
    for word in words:
        _merge(said, _read_word(word, places, faults))
    _merge(tree, said)
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
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text"
        raise ConfigError([f"cannot read {path}: {reason}"]) from None
    faults += [f"{path}:{line}: {text}" for line, text in parsed.faults]
    places.update({key: f"{path}:{line}" for key, line in parsed.lines.items()})
    if parsed.tree is None:
        return {}
    if not isinstance(parsed.tree, dict):
        raise ConfigError([f"{path}:1: got {shown(parsed.tree)}, expected `key: value` lines"])
    return parsed.tree


def _read_word(word: str, places: dict[document.Path, str], faults: list[str]) -> dict[str, Any]:
    dotted, equals, text = word.partition("=")
    path = tuple(dotted.split("."))
    if not equals or not all(path):
        faults.append(f"{COMMAND_LINE}: got {word!r}, expected key=value")
        return {}
    parsed = document.parse(text)
    faults += [f"{COMMAND_LINE}: {dotted}: {fault}" for _, fault in parsed.faults]
    if parsed.faults:
        return {}
    # what stood below this key in the file is replaced or merged: its place must not be blamed for the new value
    places.update({(*path, *below): COMMAND_LINE for below in parsed.lines})
    for length in range(1, len(path)):
        places.setdefault(path[:length], COMMAND_LINE)
    tree: Any = parsed.tree
    for key in reversed(path):
        tree = {key: tree}
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
