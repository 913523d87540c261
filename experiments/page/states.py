"""The rows of inputs whose predictions an explorer shows: test rows, and test rows in which one input has other values.

The other inputs then are those of the test row, so that each slider shows one curve through the space of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdnjax.data.columns import Column, Columns, blocks
from mdnjax.data.dates import date_inputs, text_of_day
from mdnjax.types import Float

MAX_STATES, MAX_STATES_OF_SLIDERS = 280, 800  # of all rows; of the sliders of a single row
MAX_ROWS = 60
NUM_VALUES, NUM_VALUES_ALONE = 8, 200  # of a slider; of that of a single input
SHARE_OUTSIDE = 0.01  # of the values of a column on either side of a slider's ends


class Slider(NamedTuple):
    """The values of one input as texts, the number of the state of each, and which of them is that of the row itself."""

    texts: list[str]
    states: list[int]
    own: int


class Row(NamedTuple):
    """A test row: its place among them, why it was chosen, its state, its values as texts, and its sliders, if it has any."""

    place: int
    label: str
    state: int
    texts: list[str]
    sliders: list[Slider]


class States(NamedTuple):
    """All rows of inputs whose predictions are stored, and the test rows, those with sliders first."""

    inputs: Float[np.ndarray, "S X"]
    rows: list[Row]


def choose_states(columns: Columns, test: np.ndarray, known: np.ndarray, examples: Sequence[tuple[str, int]]) -> States:
    """Chooses the rows of an explorer.

    Args: inputs `[N, X]` of the test rows, and of rows that give the range of each slider; and test rows that are examples of
    something, each with what it is an example of. As many of these as MAX_STATES allows have sliders.
    """
    alone = len(columns.inputs) == 1
    num_values = NUM_VALUES_ALONE if alone else NUM_VALUES
    parts = [(column, block) for column, (_, block) in zip(columns.inputs, blocks(columns), strict=True)]
    values = [values_of(column, known[:, block], num_values) for column, block in parts]
    others = [index for index in spread(len(test)) if index not in {index for _, index in examples}]
    others = others[: MAX_ROWS - len(examples)]
    num_free = MAX_STATES - len(examples) - len(others)
    num_moved = max(1, sum(len(of) - 1 for of in values))
    at_least = 1 if num_moved <= MAX_STATES_OF_SLIDERS else 0  # of a very wide table no row has sliders
    num_with_sliders = MAX_ROWS if alone else max(at_least, num_free // num_moved)
    states, rows, shared = list[np.ndarray](), list[Row](), dict[int, int]()
    for place, (label, index) in enumerate([*examples, *(("", index) for index in others)]):
        own, state = test[index], len(states)
        states.append(own)
        row = Row(index, label, state, [text_of(column, own[block]) for column, block in parts], [])
        if place < num_with_sliders:
            for (column, block), of in zip(parts, values, strict=True):
                row.sliders.append(_slider(column, block, of, own, state, states, shared if alone else {}))
        rows.append(row)
    return States(np.stack(states), rows)


def spread(num: int) -> list[int]:
    """Returns up to MAX_ROWS row numbers below `num` at equal distances."""
    return np.unique(np.linspace(0, num - 1, min(num, MAX_ROWS)).astype(int)).tolist()


def values_of(column: Column, block: Float[np.ndarray, "N W"], num: int) -> list[np.ndarray]:
    """Returns the inputs `[W]` of up to `num` values for a slider: numbers in ascending order, or the first categories."""
    if column.categories is not None:
        return list(np.eye(column.width)[:num])
    known = block[block[:, -1] == 0, 0] if column.marked else block[:, 0]
    if not len(known):
        return [_inputs(column, 0.0)]
    found = np.unique(known)
    if len(found) > num:
        low, high = np.quantile(known, [SHARE_OUTSIDE, 1 - SHARE_OUTSIDE])
        found = np.linspace(low, high, num)
        whole = column.dates is not None or np.all(known == np.round(known))
        found = np.unique(np.round(found) if whole else [float(f"{value:.4g}") for value in found])
    return [_inputs(column, value) for value in found]


def _inputs(column: Column, value: float) -> np.ndarray:
    """Returns the inputs of a number or a day that is not missing."""
    parts = date_inputs(np.array(value), column.dates) if column.dates else [value]
    return np.array([*parts, 0.0] if column.marked else parts, np.float64)


def text_of(column: Column, inputs: Float[np.ndarray, " W"]) -> str:
    """Returns the value of a column as text."""
    if column.categories is not None:
        return column.categories[int(inputs.argmax())] if inputs.any() else "(a category that training did not see)"
    if column.marked and inputs[-1]:
        return "(missing)"
    return text_of_day(float(inputs[0])) if column.dates else f"{inputs[0]:.6g}"


def _slider(
    column: Column,
    block: slice,
    values: list[np.ndarray],
    own: np.ndarray,
    state: int,
    states: list[np.ndarray],
    shared: dict[int, int],
) -> Slider:
    """Returns a slider, on which the row's own value replaces the nearest one; appends the states that are not shared."""
    distance = [abs(value[0] - own[block][0]) if column.categories is None else -value @ own[block] for value in values]
    nearest, numbers, texts = int(np.argmin(distance)), list[int](), list[str]()
    for place, value in enumerate(values):
        inputs = own.copy()
        if place != nearest:
            inputs[block] = value
            if place not in shared:
                shared[place] = len(states)
                states.append(inputs)
        numbers.append(state if place == nearest else shared[place])
        texts.append(text_of(column, inputs[block]))
    return Slider(texts, numbers, nearest)
