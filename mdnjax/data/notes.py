"""Notes on examples: what in them makes a prediction or a score less trustworthy, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mdnjax.data.centre import wild_values
from mdnjax.data.dataset import Dataset, Splits, joined

MIN_OUTLIER_DISTANCE = 1e4  # from the median, in units of the distance within which three quarters of the values are
WILD = "no other value is near it, so that training counts it as one of the farthest others"
NOT_WILD = "other values lie between, so that it counts as it is, in the units of training too"
MIN_SHARE_OF_ONE_VALUE = 0.1  # of a target; it must also be three times as frequent as any other value
MIN_ROWS, MIN_ROWS_PER_INPUT = 50, 5
MIN_TEST_ROWS = 20
MIN_OTHER_VALUES = 5  # an input is nearly constant if fewer rows have another value than the most frequent one


def notes_on(splits: Splits, names: Sequence[str] | None = None, cells: bool = False) -> Iterator[str]:
    """Yields all notes on the parts of a data set, without those on outliers, which need the numbers of the rows.

    Args: `names` are those of the inputs and targets; `cells` says that values of targets have probabilities, not densities.
    """
    num = len(splits.train.x) + len(splits.validation.x)
    known = joined(splits.train, splits.validation)
    yield from few_rows(num, known.x.shape[1], len(splits.test.x))
    yield from () if cells else repeated_targets(known, names)
    yield from nearly_constant_inputs(known, names)


def few_rows(num_rows: int, num_inputs: int, num_test: int) -> Iterator[str]:
    """Yields a sentence if there are few rows to learn from, and one if there are few to test with."""
    if num_rows < max(MIN_ROWS, MIN_ROWS_PER_INPUT * num_inputs):
        yield (
            f"{num_rows} rows for {num_inputs} input{'s' * (num_inputs > 1)} are few: intervals may be far too narrow for new "
            "rows; use fewer columns, or a linear model, and trust no interval that the test rows do not confirm"
        )
    if num_test < MIN_TEST_ROWS:
        yield (
            f"{num_test} test rows are few: the share of them inside of an interval is known to about {50 / num_test**0.5:.0f} "
            "percentage points; raise data.test_share, or average over several values of data.seed"
        )


def repeated_targets(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yields a sentence for each target of which many rows have one and the same value."""
    for target, values in enumerate(dataset.y.T):
        found, counts = np.unique(values, return_counts=True)
        first, *others = np.sort(counts)[::-1].tolist()
        if first >= MIN_SHARE_OF_ONE_VALUE * len(values) and first >= 3 * max(others, default=0):
            label = _label("target", dataset.x.shape[1] + target, target, names)
            yield (
                f"{label} is {found[counts.argmax()]:g} in {100 * first / len(values):.0f} % of the rows: a density has no such "
                "atom, so a narrow component stands for it, whose width is the scale floor, and the NLL depends on that floor; "
                "compare models by CRPS and coverage, or predict apart whether a row has this value"
            )


def nearly_constant_inputs(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yields a sentence for each input that has one value in nearly all rows."""
    if len(dataset.x) < MIN_ROWS:
        return
    for column, values in enumerate(dataset.x.T):
        found, counts = np.unique(values, return_counts=True)
        other = len(values) - int(counts.max())
        if 0 < other < MIN_OTHER_VALUES:
            label = _label("input", column, column, names)
            yield (
                f"{label} is {found[counts.argmax()]:g} in all but {other} of {len(values)} rows: what it does is learnt from "
                "these alone; leave it out by data.features unless it matters"
            )


def outliers(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yields a sentence for each column with a value so far from the others that it is wild, or nearly so.

    Args: `names` are those of the inputs and targets. Rows are counted from 1, as in a file.
    """
    for kind, values in (("input", dataset.x), ("target", dataset.y)):
        wide = values.astype(np.float64)
        median, wild = np.median(wide, axis=0), np.atleast_1d(wild_values(wide).any(axis=0))
        spread = np.quantile(np.abs(wide - median), 0.75, axis=0)
        for column in np.flatnonzero(spread > 0):
            distance = np.abs(wide[:, column] - median[column]) / spread[column]
            if wild[column] or distance.max() > MIN_OUTLIER_DISTANCE:
                row = int(distance.argmax())
                label = _label(kind, int(column) + (dataset.x.shape[1] if kind == "target" else 0), int(column), names)
                yield (
                    f"{label} is {values[row, column]:g} in row {row + 1}, {distance[row]:.0g} times as far from the median as "
                    f"most values: {WILD if wild[column] else NOT_WILD}; correct or remove it if it is an error"
                )


def _label(kind: str, index: int, column: int, names: Sequence[str] | None) -> str:
    return f"{kind} {names[index]!r}" if names else f"{kind} {column}"
