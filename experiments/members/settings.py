"""From the blocks of a sweep file to settings: values by dotted key, each with the place it stands at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.members.schema import Distribution, Sweep
from mdnjax.config import ConfigError, keys
from mdnjax.config.document import Path as DocumentPath
from mdnjax.config.section import Section


class Setting(NamedTuple):
    """What a member has of its own: values by dotted key, and where each of them stands."""

    values: dict[str, Any]
    places: dict[str, str]


Places = Mapping[DocumentPath, str]
LARGEST, SMALLEST = 1e15, 1e-300  # of what is drawn: beyond, a whole number is none in float64, and a logarithm is infinite


def expand(sweep: Sweep, places: Places, schema: type[Section]) -> list[Setting]:
    """Every combination of the blocks' settings; the last block, and in a grid the last key, changes fastest.

    Raises: ConfigError, with the place, where the columns of a zip differ in length or a key stands in two blocks.
    """
    blocks = [_grid(sweep, places), _zip(sweep, places), _list(sweep, places), _random(sweep, places, schema)]
    flat = [[_flat(schema, setting) for setting in block] for block in blocks if block]
    return [_merged(combination) for combination in itertools.product(*flat)]


def draw(distribution: Distribution, whole: bool, generator: np.random.Generator) -> Any:
    """One value; of a whole number both bounds are drawn as well."""
    if distribution.choice is not None:
        return distribution.choice[int(generator.integers(len(distribution.choice)))]
    low, high = bounds_of(distribution, whole)
    if distribution.uniform is not None:
        return int(generator.integers(int(low), int(high), endpoint=True)) if whole else generator.uniform(low, high)
    value = math.exp(generator.uniform(math.log(low), math.log(high)))
    return int(min(max(round(value), low), high)) if whole else value


def bounds_of(distribution: Distribution, whole: bool) -> tuple[float, float]:
    """Smallest and largest value; of a whole number the whole numbers within."""
    low, high = distribution.uniform or distribution.log_uniform or (0.0, 0.0)
    return (math.ceil(low), math.floor(high)) if whole else (low, high)


def check_space(block: str, space: Mapping[str, Distribution], places: Places, schema: type[Section]) -> None:
    """Raises ConfigError where no number, or none that can be drawn, lies within the bounds."""
    faults, whole = [], whole_keys(schema)
    for key, one in space.items():
        low, high = bounds_of(one, key in whole)
        if low > high or max(abs(low), abs(high)) > LARGEST or (one.log_uniform and low < SMALLEST):
            kind = "whole number" if key in whole else "number"
            wanted = f"bounds with a {kind} between them, of size {SMALLEST:g} to {LARGEST:g}"
            got = list(one.uniform or one.log_uniform or ())
            faults.append(_said(places, (block, "space", key), f"{block}.space.{key}: got {got}, expected {wanted}"))
    if faults:
        raise ConfigError(faults)


def count_of(sweep: Sweep) -> int:
    """Settings that the blocks expand to."""
    counts = [math.prod(map(len, sweep.grid.values())), max(map(len, sweep.zip.values()), default=1), len(sweep.list) or 1]
    return math.prod(counts) * (sweep.random.num_settings if sweep.random else 1)


def ends(space: Mapping[str, Distribution], places: Places, schema: type[Section]) -> Iterator[Setting]:
    """Every key of a search by itself at its ends, or at each of its choices: what must be valid before anything runs."""
    whole = whole_keys(schema)
    for key, one in space.items():
        stands = {key: place_of(places, ("search", "space", key))}
        for value in one.choice or bounds_of(one, key in whole):
            yield _flat(schema, Setting({key: value}, stands))


def whole_keys(schema: type[Section]) -> set[str]:
    """Keys that hold a whole number."""
    return {key.name for key in keys(schema) if key.type.startswith("integer")}


def _grid(sweep: Sweep, places: Places) -> list[Setting]:
    columns = [_column("grid", key, values, places) for key, values in sweep.grid.items()]
    return [_merged(combination) for combination in itertools.product(*columns)] if columns else []


def _zip(sweep: Sweep, places: Places) -> list[Setting]:
    columns = [_column("zip", key, values, places) for key, values in sweep.zip.items()]
    lengths = {key: len(values) for key, values in sweep.zip.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{length} of {key}" for key, length in lengths.items())
        raise ConfigError([_said(places, ("zip",), f"zip: got {got}, expected as many values of each")])
    return [_merged(row) for row in zip(*columns, strict=True)]


def _list(sweep: Sweep, places: Places) -> list[Setting]:
    return [
        Setting(point, {key: place_of(places, ("list", index, key)) for key in point}) for index, point in enumerate(sweep.list)
    ]


def _random(sweep: Sweep, places: Places, schema: type[Section]) -> list[Setting]:
    if sweep.random is None:
        return []
    check_space("random", sweep.random.space, places, schema)
    generator, whole = np.random.default_rng(sweep.random.seed), whole_keys(schema)
    stands = {key: place_of(places, ("random", "space", key)) for key in sweep.random.space}
    return [
        Setting({key: draw(one, key in whole, generator) for key, one in sweep.random.space.items()}, stands)
        for _ in range(sweep.random.num_settings)
    ]


def _column(block: str, key: str, values: Sequence[Any], places: Places) -> list[Setting]:
    return [Setting({key: value}, {key: place_of(places, (block, key, index))}) for index, value in enumerate(values)]


def _merged(settings: Sequence[Setting]) -> Setting:
    merged = Setting({}, {})
    for key, value, place in ((k, v, setting.places[k]) for setting in settings for k, v in setting.values.items()):
        for other in merged.values:
            if f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}."):
                raise ConfigError([f"{place}: {key!r} is swept twice, also at {merged.places[other]}"])
        merged.values[key] = value
        merged.places[key] = place
    return merged


def _flat(schema: type[Section], setting: Setting) -> Setting:
    flat = Setting({}, {})
    for key, value in setting.values.items():
        for name, leaf in _leaves(schema, key, value):
            if name in flat.values:
                raise ConfigError([f"{setting.places[key]}: {name!r} is swept twice, also at {flat.places[name]}"])
            flat.values[name] = leaf
            flat.places[name] = setting.places[key]
    return flat


def _leaves(schema: type[Section], key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A whole section as its keys; options, which are no section, stay in one piece."""
    if isinstance(value, dict) and value and any(one.name.startswith(f"{key}.") for one in keys(schema)):
        for name, inner in value.items():
            yield from _leaves(schema, f"{key}.{name}", inner)
    else:
        yield key, value


def place_of(places: Places, path: DocumentPath) -> str:
    """The place of the nearest thing that has one."""
    return next((places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in places), "")


def _said(places: Places, path: DocumentPath, text: str) -> str:
    place = place_of(places, path)
    return f"{place}: {text}" if place else text
