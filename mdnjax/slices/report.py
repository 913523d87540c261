"""Slices of rows as values and in plain sentences: how often targets are where a model expects them, and what chance explains."""

from __future__ import annotations

from typing import Any, NamedTuple

RATE = 0.05  # of false alarms in all slices together
MIN_ROWS = 20  # of a slice
NAMES = {
    "column": "{} parts of columns",
    "slab": "{} slabs (ranges of a column or of a sum of two)",
    "near": "{} neighbourhoods of rows",
}


class Calibration(NamedTuple):
    """The shares of targets inside of the central 50 and 90 % intervals, and the mean PIT; a right model has 0.5, 0.9 and 0.5."""

    inside_50: float
    inside_90: float
    mean_pit: float


class Slice(NamedTuple):
    """A set of rows, and how often one target is where the model expects it.

    `kind` is "all rows", "column" (with its category or range, in days for a date), "slab" (with a range of a column, or of a sum
    of two), or "near" (the rows nearest to one). Values of `observed` from `lowest` to `highest` are explained by chance, at RATE
    for all slices together. `p_value` is that of this slice alone, or of the worst slab or neighbourhood among all of them;
    `corrected` allows for all slices and targets. `score` is the |z| of the value of `observed` with the smallest p-value, and
    `fault` is what is wrong, or empty. `median_width` is that of the intervals of its rows, if `slices_of` gets their widths.
    """

    target: str
    kind: str
    text: str
    column: str | None
    low: float | None
    high: float | None
    category: str | None
    num_rows: int
    observed: Calibration
    lowest: Calibration
    highest: Calibration
    score: float
    p_value: float
    corrected: float
    fault: str
    median_width: float | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether chance does not explain the slice, at the level RATE."""
        return self.corrected <= RATE

    def numbers(self) -> dict[str, Any]:
        """Returns all fields, for a JSON file."""
        return {name: value._asdict() if isinstance(value, Calibration) else value for name, value in self._asdict().items()}


class Slices(NamedTuple):
    """The slices of `num_rows` rows, with only the worst slab and neighbourhood, and how many sets of each kind were tested."""

    slices: tuple[Slice, ...]
    num_rows: int
    num_sets: dict[str, int]

    def worst_first(self) -> list[Slice]:
        """Returns all slices: those of all rows first, and then by corrected p-values."""
        return sorted(self.slices, key=lambda one: (one.kind != "all rows", one.corrected, -one.score))

    def wrong(self) -> list[Slice]:
        """Returns the slices in which the model is wrong, in the order of `worst_first`."""
        return [one for one in self.worst_first() if one.is_wrong]

    def numbers(self) -> dict[str, Any]:
        """Returns what was looked at, all rows, and the slices in which the model is wrong, for a JSON file."""
        shown = [one.numbers() for one in self.worst_first() if one.is_wrong or one.kind == "all rows"]
        return {"num_rows": self.num_rows, "num_sets": self.num_sets, "rate": RATE, "slices": shown}

    def summary(self) -> str:
        """Returns what was tested, and what was found or would have been found, in plain sentences."""
        if not self.slices:
            return f"Where not to trust it: not tested, since there are {self.num_rows} test rows, and {MIN_ROWS} are needed."
        wrong, kinds = self.wrong(), [NAMES[kind].format(num) for kind, num in self.num_sets.items() if kind in NAMES]
        looked = ", ".join([f"Looked at: all {self.num_rows} test rows", *kinds])
        looked += f"; in a right model, anything is found with a probability of {100 * RATE:.0f} %."
        if not wrong:
            return f"Where not to trust it: nothing was found. {looked} {self._visible()}"
        if any(one.kind == "all rows" for one in wrong):
            looked += " All rows together are wrong; others are named where they are also worse than all rows."
        return f"Where not to trust it: {len(wrong)} slice{'s' * (len(wrong) > 1)} of the test rows. {looked}"

    def sentences(self) -> list[str]:
        """Returns the summary, and a sentence for each slice in which the model is wrong."""
        return [self.summary(), *(f"{self.name(one)} {_numbers_of(one)}" for one in self.wrong())]

    def name(self, one: Slice) -> str:
        """Returns the name of a slice, which begins with its target if there are several."""
        return f"{one.target}: {one.text}" if len({other.target for other in self.slices}) > 1 else one.text

    def _visible(self) -> str:
        """Returns what would have been found in an ordinary slice."""
        parts = sorted([one for one in self.slices if one.kind == "column"] or self.slices, key=lambda one: one.num_rows)
        middle = parts[len(parts) // 2]
        low, high = 100 * middle.lowest.inside_90, 100 * middle.highest.inside_90
        above = f", or more than {high:.0f} %," if high < 100 else ""
        inside = f"fewer than {low:.0f} %{above} of the targets inside of the 90 % intervals"
        return f"In a slice of {middle.num_rows} rows, {inside} would have been found."


def _numbers_of(one: Slice) -> str:
    observed = f"{100 * one.observed.inside_90:.0f} % inside of the 90 % intervals, mean PIT {one.observed.mean_pit:.2f}"
    return f"({one.num_rows} rows): {one.fault}; {observed} (p = {one.corrected:.2g})"
