"""Measures how often slices are called wrong over many draws of data, for right models and for models with a known hole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from experiments import command
from experiments.findings import Findings, write
from experiments.recording import record
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from experiments.slice_report import plot_slices
from mdnjax.components import Diagonal
from mdnjax.config.section import Count, Folder, Section, Seed
from mdnjax.data.columns import Column, Columns, to_inputs
from mdnjax.data.units import own_units
from mdnjax.mixture import Mixture
from mdnjax.progress import ProgressLine
from mdnjax.slices import RATE, Slice, Slices
from mdnjax.slices.report import MIN_ROWS
from mdnjax.slices.search import pit_of, prepare_search, slices_in

FILES = ("slices.csv", "slices.md", "environment.json", "slices.png")
DRAWN = "noise 3 times larger for x2 > 0.7"
NUM_NUMBERS = 5
MISSING = 0.15
COLUMNS = Columns(
    (*(Column(f"x{i + 1}", fill=0.0, marked=i == 0) for i in range(NUM_NUMBERS)), Column("kind", ("a", "b", "c"))), ("y",)
)
Table = dict[str, np.ndarray]


class SliceRates(Section, frozen=True):
    """How many data sets are drawn, and where the table is written."""

    output: Folder = Field(default=Path("results/slices"), description="folder of the table")
    seed: Seed = Field(default=0, description="seed of the data")
    num_draws: Count = Field(default=200, description="data sets for each model and number of rows")
    num_rows: tuple[Annotated[int, Field(ge=MIN_ROWS)], ...] = Field(default=(300,), description="rows of a data set")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


class Case(NamedTuple):
    """A model N(0, 1) of a target that is drawn from N(shift, sd^2), functions of the inputs, and then recorded.

    A slice of the hole has one of the texts `hole` in its name.
    """

    sd: Callable[[Table], np.ndarray] = lambda x: np.ones(len(x["x2"]))
    shift: Callable[[Table], np.ndarray] = lambda x: np.zeros(len(x["x2"]))
    recorded: str = "as it is"
    weighted: bool = False
    hole: tuple[str, ...] = ()


CASES = {
    "right": Case(),
    "right, whole numbers": Case(recorded="rounded"),
    "right, half of the targets are 0": Case(recorded="clipped"),
    "right, rows with weights": Case(weighted=True),
    "noise 3 times larger for x2 > 0.7": Case(sd=lambda x: np.where(x["x2"] > 0.7, 3.0, 1.0), hole=("x2",)),
    "shifted by 1 sd where kind = c (15 %)": Case(shift=lambda x: 1.0 * (x["kind"] == "c"), hole=("kind = c",)),
    "noise 3 times larger for x2 > 0.6 and x3 > 0.6": Case(
        sd=lambda x: np.where((x["x2"] > 0.6) & (x["x3"] > 0.6), 3.0, 1.0), hole=("x2", "x3")
    ),
    "shifted by 1 sd where x1 is missing (15 %)": Case(shift=lambda x: 1.0 * np.isnan(x["x1"]), hole=("x1 is missing",)),
    "noise 1.5 times larger everywhere": Case(sd=lambda x: np.full(len(x["x2"]), 1.5)),
}
KINDS = ("all rows", "column", "slab", "near")
HEADER = ["data", "rows", "anything wrong", "all rows", "part of a column", "slab", "neighbourhood", "worst slice in the hole"]


def measure(settings: SliceRates, overwrite: bool) -> None:
    """Draws all data sets, and prints and writes how often slices are called wrong."""
    command.setup_runtime(settings.runtime)
    create_run_folder(settings, settings.output, FILES, overwrite)
    rows, line, drawn = [], ProgressLine(), dict[str, Figure]()
    for count, (name, num) in enumerate(itertools.product(CASES, settings.num_rows)):
        case, generator = CASES[name], np.random.default_rng([settings.seed, count])
        x = draw_inputs(num, generator)
        weight = generator.choice([0.5, 1.0, 3.0], num) if case.weighted else np.ones(num)
        search, found = prepare_search(COLUMNS, to_inputs(COLUMNS, x), weight), list[Slices]()
        for draw in range(settings.num_draws):
            done = f"{name}, {num} rows: {draw + 1} of {settings.num_draws} draws"
            line.update(lambda _, text=done: text)
            found.append(slices_in(search, draw_pit(case, x, generator)))
        rows.append([name, str(num), *cells_of(case, found)])
        drawn |= dict(plot_slices(found[0])) if name == DRAWN else {}
    line.end()
    note = (
        f"Shares of {settings.num_draws} data sets in which at least one slice, or one of a kind, is called wrong, with a rate "
    )
    note += f"of {100 * RATE:.0f} % of false alarms for all slices together. Figure: the first data set with {DRAWN}."
    write(settings.output, Findings([[HEADER, *rows]], [note], figures=drawn), "slices")


def draw_inputs(num: int, generator: np.random.Generator) -> Table:
    """Draws five uniform numbers, of which the first is missing in some rows, and a category."""
    x = {f"x{i + 1}": generator.random(num) for i in range(NUM_NUMBERS)}
    x["x1"] = np.where(generator.random(num) < MISSING, np.nan, x["x1"])
    return x | {"kind": generator.choice(["a", "b", "c"], num, p=[0.5, 0.35, 0.15]).astype(object)}


def draw_pit(case: Case, x: Table, generator: np.random.Generator) -> np.ndarray:
    """Draws the targets of all rows, and returns their PIT `[N, 1]` by the model N(0, 1)."""
    num = len(x["x1"])
    y, observed = record(case.recorded, case.shift(x) + case.sd(x) * generator.normal(size=num))
    zeros = jnp.zeros((num, 1, 1))
    return pit_of(Mixture(jnp.zeros((num, 1)), Diagonal(zeros, jnp.ones_like(zeros))), y[:, None], own_units(1), observed)


def cells_of(case: Case, found: Sequence[Slices]) -> list[str]:
    """Returns the shares of data sets in which any slice, or one of a kind, is wrong, and the worst one is in the hole."""
    wrong = [slices.wrong() for slices in found]
    shares = [np.mean([bool(one) for one in wrong])]
    shares += [np.mean([any(one.kind == kind for one in some) for some in wrong]) for kind in KINDS]
    shown = [f"{100 * share:.1f} %" for share in shares]
    return [*shown, f"{100 * np.mean([is_in_hole(case, some) for some in wrong]):.1f} %" if case.hole else ""]


def is_in_hole(case: Case, wrong: Sequence[Slice]) -> bool:
    """Returns whether the worst slice that is called wrong, all rows aside, is named by the columns of the hole."""
    others = [one for one in wrong if one.kind != "all rows"]
    return bool(others) and any(name in others[0].text for name in case.hole)


if __name__ == "__main__":
    command.main("experiments.slices", __doc__ or "", SliceRates, None, measure)
