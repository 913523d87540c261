"""Sets of rows in which a model is looked at: parts of each column, slabs of one or two columns, and neighbourhoods of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mdnjax.data.columns import MISSING, Column, Columns, blocks
from mdnjax.data.dates import text_of_day
from mdnjax.slices.chance import Sets
from mdnjax.slices.report import MIN_ROWS
from mdnjax.types import Bool, Float

NUM_BLOCKS = 10  # of a column of numbers
MIN_SHARE = 0.1  # of the rows, in a slab
NUM_DIRECTIONS = 40  # of slabs of two columns
NUM_CENTRES = 200
NEIGHBOUR_SHARE = 0.1
MAX_SCALED = 3.0  # standard deviations, beyond which a number adds no distance
MAX_COLUMNS_SHOWN = 3  # of a neighbourhood
MAX_SHARE_OF_SPREAD = 0.7  # neighbours are alike in a column if their spread is less than this share of that of all rows
Values = list[tuple[Column, Float[np.ndarray, " N"]]]


class SetInWords(NamedTuple):
    """A set of rows in words, and for a part of a column, or of a sum of two, its range (of days for a date) or its category."""

    text: str
    column: str | None = None
    low: float | None = None
    high: float | None = None
    category: str | None = None


class Family(NamedTuple):
    """Sets of one kind, and a function that describes one of them."""

    kind: str
    sets: Sets
    describe: Callable[[int], SetInWords]


def families_of(columns: Columns, inputs: Float[np.ndarray, "N X"], generator: np.random.Generator) -> list[Family]:
    """Returns all families of sets that have enough rows: "all rows", "column", "slab" and "near".

    Columns: up to ten parts of about equally many rows of a column of numbers or dates, its missing values, and each category.
    Slabs: rows with a <= v'x <= b that are at least a tenth of all rows (Cauchois, Gupta and Duchi 2021, Knowing what you know),
    for ends a and b between the ten parts of v'x. Directions v are single columns of numbers or dates, and random ones of two
    columns of numbers, by which a slab can be named; a random direction of all columns could not be.
    Near: the tenth of the rows that is nearest to a row, for 200 rows, in standardised numbers and indicators of categories.
    """
    values = values_of(columns, inputs)
    everything = Family("all rows", _sets(np.ones((1, len(inputs)), bool)), lambda _: SetInWords("all rows"))
    if len(inputs) < 2 * MIN_ROWS:
        return [everything]
    found = [everything, _column_family(values), _slab_family(values, generator), _near_family(values, generator)]
    return [family for family in found if len(family.sets.start)]


def values_of(columns: Columns, inputs: Float[np.ndarray, "N X"]) -> Values:
    """Returns the values of each column: numbers or days, nan if missing; or places of categories, -1 for unknown ones."""
    found = []
    for column, (_, block) in zip(columns.inputs, blocks(columns), strict=True):
        part = np.asarray(inputs[:, block], np.float64)
        if column.categories is not None:
            values = np.where(part.any(axis=1), part.argmax(axis=1), -1.0)
        else:
            values = np.where(part[:, -1] > 0, np.nan, part[:, 0]) if column.marked else part[:, 0]
        found.append((column, values))
    return found


def _column_family(values: Values) -> Family:
    parts = [part for column, of_column in values for part in _parts_of_column(column, of_column)]
    parts = [(part, rows) for part, rows in parts if MIN_ROWS <= rows.sum() < len(rows)]
    described = [part for part, _ in parts]
    return Family("column", _sets(np.array([rows for _, rows in parts], bool)), described.__getitem__)


def _parts_of_column(column: Column, values: np.ndarray) -> Iterator[tuple[SetInWords, Bool[np.ndarray, " N"]]]:
    name = column.name
    if column.categories is not None:
        for place in np.unique(values).astype(int):
            category = column.categories[place] if place >= 0 else None
            text = f"{name} = {category}" if category is not None else f"{name} has a category that training did not see"
            yield SetInWords(f"{name} is missing" if category == MISSING else text, name, category=category), values == place
        return
    for rows in _blocks(values):
        yield _range(column, name, values[rows]), rows
    yield SetInWords(f"{name} is missing", name), np.isnan(values)


def _slab_family(values: Values, generator: np.random.Generator) -> Family:
    directions = [(column, column.name, of_column) for column, of_column in values if column.categories is None]
    numbers = [pair for pair in values if pair[0].categories is None and not pair[0].dates and _sd(pair[1]) > 0]
    directions += [_direction(numbers, generator) for _ in range(NUM_DIRECTIONS * (len(numbers) > 1))]
    found, spans, owners = list[np.ndarray](), list[tuple[int, int]](), list[int]()
    for owner, (_, _, projected) in enumerate(directions):
        parts = _blocks(projected)
        counts = np.cumsum([0, *(rows.sum() for rows in parts)])
        for start, stop in itertools.combinations(range(len(counts)), 2):
            if max(MIN_ROWS, MIN_SHARE * len(projected)) <= counts[stop] - counts[start] < len(projected):
                spans.append((len(found) + start, len(found) + stop))
                owners.append(owner)
        found += parts
    starts, stops = np.array(spans, int).reshape(-1, 2).T
    sets = Sets(np.array(found, bool), starts, stops, is_search=True)

    def describe(index: int) -> SetInWords:
        column, name, projected = directions[owners[index]]
        return _range(column, name, projected[sets.rows(index)])

    return Family("slab", sets, describe)


def _direction(numbers: Values, generator: np.random.Generator) -> tuple[Column, str, np.ndarray]:
    """Returns a random direction of two standardised columns: a column, its name, such as "age - 0.3 price", and its values."""
    chosen = [numbers[i] for i in generator.choice(len(numbers), 2, replace=False)]
    angle = generator.uniform(0, np.pi)
    ordered = sorted(zip((np.cos(angle), np.sin(angle)), chosen, strict=True), key=lambda pair: -abs(pair[0]))
    (first, (column, values)), (second, (other, other_values)) = ordered
    ratio = second / first * _sd(values) / _sd(other_values)
    name = f"{column.name} {'+' if ratio > 0 else '-'} {_text(abs(ratio), 3)} {other.name}"
    return Column(name), name, values + ratio * other_values


def _near_family(values: Values, generator: np.random.Generator) -> Family:
    features = [_features(column, of_column) for column, of_column in values]
    points = np.concatenate(features, axis=1)
    centres = np.sort(generator.choice(len(points), min(NUM_CENTRES, len(points)), replace=False))
    num = max(MIN_ROWS, round(NEIGHBOUR_SHARE * len(points)))
    distances = np.sum(points**2, axis=1) - 2 * points[centres] @ points.T  # squared, up to a number for each centre
    nearest = np.argpartition(distances, num - 1, axis=1)[:, :num]
    rows = np.zeros((len(centres), len(points)), bool)
    np.put_along_axis(rows, nearest, True, axis=1)
    spread = [part.var(axis=0).sum() for part in features]

    def describe(index: int) -> SetInWords:
        within = [part[rows[index]].var(axis=0).sum() for part in features]
        ratios = np.array([np.sqrt(few / all) if all > 0 else np.inf for few, all in zip(within, spread, strict=True)])
        alike = [i for i in np.argsort(ratios)[:MAX_COLUMNS_SHOWN] if ratios[i] < MAX_SHARE_OF_SPREAD]
        at = [_part_of_value(values[i][0], values[i][1][centres[index]]) for i in alike or [int(ratios.argmin())]]
        return SetInWords("near " + ", ".join(at))

    return Family("near", _sets(rows)._replace(is_search=True), describe)


def _features(column: Column, values: np.ndarray) -> Float[np.ndarray, "N F"]:
    """Returns what distances are measured by: standardised numbers, 0 and a mark if missing, or an indicator of each category."""
    if column.categories is not None:
        return (values[:, None] == np.arange(-1, len(column.categories))).astype(np.float64)
    missing, sd = np.isnan(values), _sd(values)
    scaled = np.zeros(len(values)) if sd == 0 else np.clip((values - np.nanmean(values)) / sd, -MAX_SCALED, MAX_SCALED)
    return np.stack([np.where(missing, 0, scaled), missing], axis=1)


def _sd(values: np.ndarray) -> float:
    """Returns the standard deviation of the values that are not missing, 0 if all are."""
    present = values[~np.isnan(values)]
    return float(present.std()) if len(present) else 0.0


def _part_of_value(column: Column, value: float) -> str:
    if column.categories is None and not np.isnan(value):
        return _range(column, column.name, np.array([value])).text
    return next(part.text for part, rows in _parts_of_column(column, np.array([value])) if rows.any())


def _blocks(values: np.ndarray) -> list[Bool[np.ndarray, " N"]]:
    """Returns which rows are in each of up to NUM_BLOCKS parts with about equally many values, in increasing order.

    Equal values are in one part, and a few different values are parts of their own. A missing value is in none.
    """
    present = ~np.isnan(values)
    num = min(NUM_BLOCKS, int(present.sum()) // MIN_ROWS)
    if num < 2:
        return []
    distinct = np.unique(values[present])
    cuts = distinct[:-1] if len(distinct) <= num else np.unique(np.quantile(values[present], np.arange(1, num) / num))
    place = np.searchsorted(cuts, values, side="left")
    parts = [present & (place == i) for i in range(len(cuts) + 1)]
    return [rows for rows in parts if rows.any()]


def _sets(rows: Bool[np.ndarray, "J N"]) -> Sets:
    """Returns a set for each block."""
    return Sets(rows, np.arange(len(rows)), np.arange(len(rows)) + 1)


def _range(column: Column, name: str, values: np.ndarray) -> SetInWords:
    low, high = float(np.min(values)), float(np.max(values))
    if column.dates:
        texts = [text_of_day(day) for day in (low, high)]
    else:
        digits = 2 + int(np.ceil(np.log10(max(abs(low), abs(high)) / (high - low)))) if high > low else 4
        texts = [_text(value, max(3, digits)) for value in (low, high)]
    text = f"{name} = {texts[0]}" if low == high else f"{name} from {texts[0]} to {texts[1]}"
    return SetInWords(text, name, low, high)


def _text(value: float, digits: int) -> str:
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
