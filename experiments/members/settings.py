"""Expands the blocks of a sweep file into settings: values by dotted key, each with its place in the file."""

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
    """The swept values of a member by dotted key, and the place of each in a file or on the command line."""

    values: dict[str, Any]
    places: dict[str, str]


Places = Mapping[DocumentPath, str]
MAX_DRAWN = 1e15  # a larger whole number may not be exact in float64, and the distance of larger bounds may overflow
MIN_LOG_DRAWN = 1e-300  # a smaller lower bound may round to 0, whose logarithm is infinite


def expand(sweep: Sweep, places: Places, schema: type[Section]) -> list[Setting]:
    """Returns every combination of the blocks' settings; the last block, and in a grid the last key, changes fastest.

    Raises: ConfigError, with the place, if the columns of a zip differ in length or a key is in two blocks.
    """
    blocks = [_grid(sweep, places), _zip(sweep, places), _list(sweep, places), _random(sweep, places, schema)]
    flat = [[_flat(schema, setting) for setting in block] for block in blocks if block]
    return [_merged(combination) for combination in itertools.product(*flat)]


def draw(distribution: Distribution, whole: bool, generator: np.random.Generator) -> Any:
    """Draws one value; for a whole number both bounds are possible values."""
    if distribution.choice is not None:
        return distribution.choice[int(generator.integers(len(distribution.choice)))]
    low, high = bounds_of(distribution, whole)
    if distribution.uniform is not None:
        return int(generator.integers(int(low), int(high), endpoint=True)) if whole else generator.uniform(low, high)
    value = math.exp(generator.uniform(math.log(low), math.log(high)))
    return int(min(max(round(value), low), high)) if whole else value


def bounds_of(distribution: Distribution, whole: bool) -> tuple[float, float]:
    """Returns the smallest and the largest possible value, rounded inwards for a whole number."""
    low, high = distribution.uniform or distribution.log_uniform or (0.0, 0.0)
    return (math.ceil(low), math.floor(high)) if whole else (low, high)


def check_space(block: str, space: Mapping[str, Distribution], places: Places, schema: type[Section]) -> None:
    """Checks the bounds of a space.

    Raises: ConfigError if there is no number between two bounds, or if a bound is too large or too small to be drawn.
    """
    faults, whole = [], whole_keys(schema)
    for key, distribution in space.items():
        low, high = bounds_of(distribution, key in whole)
        if low > high or max(abs(low), abs(high)) > MAX_DRAWN or (distribution.log_uniform and low < MIN_LOG_DRAWN):
            kind = "whole number" if key in whole else "number"
            wanted = f"bounds with a {kind} between them, of size {MIN_LOG_DRAWN:g} to {MAX_DRAWN:g}"
            got = list(distribution.uniform or distribution.log_uniform or ())
            faults.append(_with_place(places, (block, "space", key), f"{block}.space.{key}: got {got}, expected {wanted}"))
    if faults:
        raise ConfigError(faults)


def num_settings_of(sweep: Sweep) -> int:
    """Returns the number of settings that the blocks expand to, without expanding them."""
    counts = [math.prod(map(len, sweep.grid.values())), max(map(len, sweep.zip.values()), default=1), len(sweep.list) or 1]
    return math.prod(counts) * (sweep.random.num_settings if sweep.random else 1)


def settings_at_bounds(space: Mapping[str, Distribution], places: Places, schema: type[Section]) -> Iterator[Setting]:
    """Yields settings of a single key each, at its bounds or at each of its choices, to be validated before the search."""
    whole = whole_keys(schema)
    for key, distribution in space.items():
        place = place_of(places, ("search", "space", key))
        for value in distribution.choice or bounds_of(distribution, key in whole):
            yield _flat(schema, Setting({key: value}, {key: place}))


def whole_keys(schema: type[Section]) -> set[str]:
    """Returns the keys whose values are whole numbers."""
    return {key.name for key in keys(schema) if key.type.startswith("integer")}


def _grid(sweep: Sweep, places: Places) -> list[Setting]:
    columns = [_column("grid", key, values, places) for key, values in sweep.grid.items()]
    return [_merged(combination) for combination in itertools.product(*columns)] if columns else []


def _zip(sweep: Sweep, places: Places) -> list[Setting]:
    columns = [_column("zip", key, values, places) for key, values in sweep.zip.items()]
    lengths = {key: len(values) for key, values in sweep.zip.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{length} of {key}" for key, length in lengths.items())
        raise ConfigError([_with_place(places, ("zip",), f"zip: got {got}, expected as many values of each")])
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
    place_by_key = {key: place_of(places, ("random", "space", key)) for key in sweep.random.space}
    return [
        Setting(
            {key: draw(distribution, key in whole, generator) for key, distribution in sweep.random.space.items()}, place_by_key
        )
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
    """Yields the keys of a section with their values; options are not a section and stay one value."""
    if isinstance(value, dict) and value and any(known.name.startswith(f"{key}.") for known in keys(schema)):
        for name, inner in value.items():
            yield from _leaves(schema, f"{key}.{name}", inner)
    else:
        yield key, value


def place_of(places: Places, path: DocumentPath) -> str:
    """Returns the place of a path, or of the nearest section around it that has one."""
    return next((places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in places), "")


def _with_place(places: Places, path: DocumentPath, text: str) -> str:
    place = place_of(places, path)
    return f"{place}: {text}" if place else text
