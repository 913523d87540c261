"""Reads YAML 1.2 as plain values, together with the line of every key.

PyYAML alone reads YAML 1.1, where `no` is false and `1e-3` is text.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]


class Document(NamedTuple):
    """Plain values, the line (from 1) of every path in them, and the faults of the text with their lines."""

    tree: Any
    lines: dict[Path, int]
    faults: list[tuple[int, str]]


# The core schema of YAML 1.2, section 10.3.2; an integer of more than 20 digits is too large for any field and stays text.
_SCALARS = [
    (re.compile(r"^(~|null|Null|NULL|)$"), lambda text: None),
    (re.compile(r"^(true|True|TRUE)$"), lambda text: True),
    (re.compile(r"^(false|False|FALSE)$"), lambda text: False),
    (re.compile(r"^[-+]?[0-9]{1,20}$"), int),
    (re.compile(r"^0o[0-7]{1,20}$"), lambda text: int(text, 8)),
    (re.compile(r"^0x[0-9a-fA-F]{1,15}$"), lambda text: int(text, 16)),
    (re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), float),
    (re.compile(r"^[-+]?\.(inf|Inf|INF)$"), lambda text: -math.inf if text[0] == "-" else math.inf),
    (re.compile(r"^\.(nan|NaN|NAN)$"), lambda text: math.nan),
]

MAX_DEPTH = 50
MAX_VALUES = 100_000


class TooManyValuesError(Exception):
    """Raised while a document is read that has more values than any configuration."""


def parse(text: str) -> Document:
    """Parses one document; malformed text and duplicate keys are returned as faults with their line, never raised."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = Document(None, {}, [])
        return document._replace(tree=None if node is None else _value(node, (), document))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document(None, {}, [(mark.line + 1 if mark else 1, f"malformed YAML: {error.problem or error.context}")])
    except (yaml.YAMLError, ValueError) as error:  # unprintable characters, numbers of 5000 digits
        return Document(None, {}, [(1, f"malformed YAML: {' '.join(str(error).split())}")])
    except TooManyValuesError:
        return Document(None, {}, [(1, f"malformed YAML: more than {MAX_VALUES} values, perhaps by aliases of aliases")])
    except RecursionError:
        return Document(None, {}, [(1, "malformed YAML: nested too deeply, or an alias inside its own anchor")])


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if len(path) > MAX_DEPTH:
        raise RecursionError
    if len(document.lines) > MAX_VALUES:
        raise TooManyValuesError
    if not node.tag.startswith("tag:yaml.org,2002:") or "/" in node.tag:
        document.faults.append((line, f"malformed YAML: tag {node.tag.removeprefix('tag:yaml.org,2002:')!r} is not supported"))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    if getattr(node, "style", None) is not None:  # quoted or block text stays text, even if it looks like a number
        return node.value
    return next((convert(node.value) for pattern, convert in _SCALARS if pattern.match(node.value)), node.value)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.faults.append((line, "malformed YAML: a key must be plain text"))
            continue
        key = key_node.value
        if key in tree:
            first = document.lines[(*path, key)]
            document.faults.append((line, f"key {'.'.join(map(str, (*path, key)))!r} is given twice, first on line {first}"))
            continue
        document.lines[(*path, key)] = line
        tree[key] = _value(value_node, (*path, key), document)
    return tree
