"""Notes on examples: what in them makes a prediction or a score less trustworthy, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mdnjax.data.atoms import Atoms
from mdnjax.data.centre import wild_values
from mdnjax.data.dataset import Dataset, Splits, joined, select_rows
from mdnjax.types import Float, Int

MIN_OUTLIER_DISTANCE = 1e4  # from the median, in units of the distance within which three quarters of the values are
WILD = "no other value is near it, so that training counts it as one of the farthest others"
NOT_WILD = "other values lie between, so that it counts as it is, in the units of training too"
MIN_SHARE_OF_ONE_VALUE = 0.1  # of a target; it must also be three times as frequent as any other value
MIN_ROWS, MIN_ROWS_PER_INPUT = 50, 5
MIN_TEST_ROWS = 20
MIN_SHARE_OF_TEST_COPIES, MIN_SHARE_OF_COPIES = 0.01, 0.2
MAX_VALUES_OF_LATTICE = 20  # rows of so few different whole numbers are equal by chance
MIN_REPEATS, MIN_SHARE_OF_CODE = 3, 0.005  # rows with a value that may be a code
MIN_GAP, MIN_GAP_OF_ZERO = 0.1, 0.25  # between it and the others, in units of the width of their 80 % interval
MIN_GAP_IN_STEPS = 2.0  # in units of the widest step between the others
MIN_GAP_OF_FEW = 3.0  # in units of the range of the others, if these are few different values
FEW_VALUES = 10
MIN_OTHER_VALUES = 5  # an input is nearly constant if fewer rows have another value than the most frequent one


def notes_on(splits: Splits, names: Sequence[str] | None = None, cells: bool = False) -> Iterator[str]:
    """Yields all notes on the parts of a data set, without those of `outliers` and `codes`, which need all rows of a file.

    Args: `names` are those of the inputs and targets; `cells` says that values of targets have probabilities, not densities.
    """
    num = len(splits.train.x) + len(splits.validation.x)
    known = joined(splits.train, splits.validation)
    yield from few_rows(num, known.x.shape[1], len(splits.test.x))
    yield from copied_rows(known, splits.test)
    observed = known if known.censoring is None else select_rows(known, known.censoring == 0)
    yield from () if cells else repeated_targets(observed, names)
    yield from nearly_constant_inputs(known, names)


def few_rows(num_rows: int, num_inputs: int, num_test: int) -> Iterator[str]:
    """Yields a sentence if there are few rows to learn from, and one if there are few to test with."""
    if num_rows < max(MIN_ROWS, MIN_ROWS_PER_INPUT * num_inputs):
        yield (
            f"{num_rows} rows for {num_inputs} input{'s' * (num_inputs > 1)} are few: hardly more than a linear function can be "
            "learned from them; use fewer columns, and compare the share of test rows inside of the intervals"
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
                "data.atoms gives a value of a single target its own probability; else compare models by CRPS and coverage"
            )


def notes_on_atoms(name: str, atoms: Atoms, y: Float[np.ndarray, "N 1"]) -> Iterator[str]:
    """Yields a sentence for each atom of a target, and for each bound beyond which it is censored."""
    place = atoms.place_of(y)[:, 0]
    for i in np.flatnonzero(np.asarray(atoms.used)):
        share = f"in {100 * np.mean(place == i):.0f} % of the rows"
        if atoms.censored[i]:
            side = "or more" if atoms.value[i] <= atoms.low[i] else "or less"
            yield (
                f"target {name!r} is {atoms.value[i]:g} {side} {share}: these rows only say that it lies there, and predictions "
                "are those of the target without the bound"
            )
        else:
            yield (
                f"target {name!r} is {atoms.value[i]:g} {share}: this value has a probability of its own, and all others have a "
                "density (data.atoms)"
            )


def notes_on_censoring(name: str, censoring: Int[np.ndarray, " N"]) -> Iterator[str]:
    """Yields a sentence about the rows of which the target is only known up to a bound of their own."""
    sides = {"that large or larger": np.mean(censoring > 0), "that small or smaller": np.mean(censoring < 0)}
    shown = " and ".join(f"{100 * share:.0f} % are only known to be {words}" for words, share in sides.items() if share)
    yield (
        f"target {name!r} is observed in {100 * np.mean(censoring == 0):.0f} % of the rows, and {shown}: predictions are those "
        "of the true target; CRPS and RMSE are those of the observed rows, whose targets differ from the others"
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


def copied_rows(known: Dataset, test: Dataset) -> Iterator[str]:
    """Yields a sentence if test rows are copies of known rows, and one if many of all rows are copies of others."""
    keys, test_keys = _row_keys(known), _row_keys(test)
    distinct = set(keys)
    shared, num = sum(key in distinct for key in test_keys), len(keys) + len(test_keys)
    share = 1 - len(distinct | set(test_keys)) / num
    if max(share, shared) == 0 or (_is_lattice(known.x) and _is_lattice(known.y)):
        return
    if shared >= MIN_SHARE_OF_TEST_COPIES * len(test_keys):
        yield (
            f"{shared} of {len(test_keys)} test rows have an exact copy among the training rows, so the scores are too good: set "
            "data.split=grouped and data.split_by to a column that is the same in all copies of a row, or remove the copies"
        )
    if share >= MIN_SHARE_OF_COPIES:
        yield (
            f"{100 * share:.0f} % of the rows are copies of other rows: training counts each of them as a measurement of its "
            "own, so intervals may be too narrow; remove the copies if they are the same measurement"
        )


def codes(dataset: Dataset, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yields a sentence for each column with an extreme value, such as -1 or 999, that repeats and lies apart from all others.

    Args: `names` are those of the inputs and targets.
    """
    for kind, values in (("input", dataset.x), ("target", dataset.y)):
        for column, numbers in enumerate(values.T):
            for code in {float(numbers.min()), float(numbers.max())}:
                others = numbers[numbers != code]
                num = len(numbers) - len(others)
                if num >= max(MIN_REPEATS, MIN_SHARE_OF_CODE * len(numbers)) and _lies_apart(code, others):
                    label = _label(kind, column + (dataset.x.shape[1] if kind == "target" else 0), column, names)
                    where = f"in {num} rows and from {others.min():g} to {others.max():g} in all others"
                    remedy = (
                        f"set data.missing_values=[{code:.15g}] and data.missing=impute"
                        if kind == "input"
                        else "remove these rows"
                    )
                    yield (f"{label} is {code:.15g} {where}: it may be a code for a missing value; if it is, {remedy}")


def outliers(
    dataset: Dataset, names: Sequence[str] | None = None, first_row: int = 1, rows: np.ndarray | None = None
) -> Iterator[str]:
    """Yields a sentence for each column with a value so far from the others that it is wild, or nearly so.

    Args: `names` are those of the inputs and targets; `first_row` is the number of the first row, 1 as in a file, or 0. `rows`
    are the numbers of the rows in the file, from 0, if they are only some of its rows.
    """
    counted = "" if first_row == 1 else f" (from {first_row})"
    for kind, values in (("input", dataset.x), ("target", dataset.y)):
        wide = values.astype(np.float64)
        median, wild = np.median(wide, axis=0), np.atleast_1d(wild_values(wide).any(axis=0))
        spread = np.quantile(np.abs(wide - median), 0.75, axis=0)
        for column in np.flatnonzero(spread > 0):
            distance = np.abs(wide[:, column] - median[column]) / spread[column]
            if wild[column] or distance.max() > MIN_OUTLIER_DISTANCE:
                row = int(distance.argmax())
                place = f"row {(row if rows is None else int(rows[row])) + first_row}{counted}"
                label = _label(kind, int(column) + (dataset.x.shape[1] if kind == "target" else 0), int(column), names)
                yield (
                    f"{label} is {values[row, column]:g} in {place}, {distance[row]:.0g} times as far from the median as "
                    f"most values: {WILD if wild[column] else NOT_WILD}; correct or remove it if it is an error"
                )


def _row_keys(dataset: Dataset) -> list[bytes]:
    """Returns a key of each row, which is the same for equal rows."""
    rows = np.concatenate([np.asarray(part, np.float64) for part in dataset[:2]], axis=1) + 0.0  # -0.0 becomes 0.0
    return [row.tobytes() for row in rows]


def _is_lattice(values: np.ndarray) -> bool:
    """Returns whether each column has a few different whole numbers."""
    return bool((values == np.floor(values)).all()) and all(len(np.unique(c)) <= MAX_VALUES_OF_LATTICE for c in values.T)


def _lies_apart(code: float, others: np.ndarray) -> bool:
    """Returns whether an extreme value is so far from the others that it may be a code."""
    distinct = np.unique(others)
    if len(distinct) < 2 or not _looks_like_code(code):
        return False
    gap = float(np.abs(distinct - code).min())
    if len(distinct) < FEW_VALUES:
        return bool(gap >= MIN_GAP_OF_FEW * (distinct[-1] - distinct[0]))
    low, high = np.quantile(others, (0.1, 0.9))
    width = (MIN_GAP if code else MIN_GAP_OF_ZERO) * (high - low)
    return bool(gap >= max(width, MIN_GAP_IN_STEPS * np.diff(distinct).max()))


def _looks_like_code(value: float) -> bool:
    """Returns whether a value is 0, -1, or written with nines alone, such as -999 or 99.9."""
    return value in (0, -1) or set(f"{abs(value):.15g}".replace(".", "")) == {"9"}


def _label(kind: str, index: int, column: int, names: Sequence[str] | None) -> str:
    return f"{kind} {names[index]!r}" if names else f"{kind} {column}"
