"""Measures the coverage of intervals with a guarantee over many draws of data, for right and for wrong predictions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from experiments import command
from experiments.findings import Findings, write
from experiments.recording import record
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from mdnjax.components import Diagonal
from mdnjax.config.section import Count, Folder, Section, Seed
from mdnjax.conformity import Conformal, mass_of, scores_of
from mdnjax.data.units import own_units
from mdnjax.mixture import Mixture
from mdnjax.observed import Observed
from mdnjax.progress import ProgressLine

FILES = ("guarantees.csv", "guarantees.md", "environment.json")
MAX_ROWS = 2**17  # of a call
Level = Annotated[float, Field(gt=0, lt=1)]


class Guarantees(Section, frozen=True):
    """How many data sets are drawn, and where the table is written."""

    output: Folder = Field(default=Path("results/guarantees"), description="folder of the table")
    seed: Seed = Field(default=0, description="seed of the data")
    num_draws: Count = Field(default=1000, description="data sets for each prediction and number of rows")
    num_rows: tuple[Count, ...] = Field(default=(20, 100, 1000), description="rows with scores in a data set")
    levels: tuple[Level, ...] = Field(default=(0.5, 0.9, 0.99), description="levels of the intervals")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


class Case(NamedTuple):
    """A prediction of a target that is drawn from y = x +- gap + e, e from N(0, 1), both signs alike, and then recorded.

    It is half of N(loc x - gap, scale^2) and half of N(loc x + gap, scale^2). The sets are central intervals, or with `highest`
    those of highest density.
    """

    loc: float
    scale: float
    recorded: str = "as it is"
    gap: float = 0.0
    highest: bool = False


CASES = {
    "right": Case(1.0, 1.0),
    "ten times too narrow": Case(1.0, 0.1),
    "wrong sign, and too narrow": Case(-1.0, 0.02),
    "right, whole numbers": Case(1.0, 1.0, "rounded"),
    "too wide, whole numbers": Case(1.0, 5.0, "rounded"),
    "right, half of the targets are 0": Case(1.0, 1.0, "clipped"),
    "right, two modes, sets of highest density": Case(1.0, 1.0, gap=4.0, highest=True),
    "too narrow, two modes, sets of highest density": Case(1.0, 0.1, gap=4.0, highest=True),
    "right, whole numbers, sets of highest density": Case(1.0, 1.0, "rounded", gap=4.0, highest=True),
}


def measure(settings: Guarantees, overwrite: bool) -> None:
    """Draws all data sets, and prints and writes the coverage of new rows."""
    command.setup_runtime(settings.runtime)
    create_run_folder(settings, settings.output, FILES, overwrite)
    header = ["prediction", "rows", *(f"coverage of {100 * level:g} %" for level in settings.levels), "inside of the limits"]
    rows, line = [], ProgressLine()
    for count, (name, num) in enumerate(itertools.product(CASES, settings.num_rows)):
        text = f"{name}, {num} rows: {count + 1} of {len(CASES) * len(settings.num_rows)}"
        line.update(lambda _, text=text: text)
        generator = np.random.default_rng([settings.seed, count])
        covered = coverage_of(CASES[name], num, settings, generator)
        shown = [f"{100 * share:.2f} %" for share in covered]
        inside = all(is_inside(*pair, num, settings.num_draws) for pair in zip(covered, settings.levels, strict=True))
        rows.append([name, str(num), *shown, "yes" if inside else "no"])
    line.end()
    note = f"Shares of {settings.num_draws} data sets in which a new row is inside; limits: level to level + 1 / (rows + 1), "
    note += "up to three standard errors; with too few rows for a level its intervals are infinite."
    write(settings.output, Findings([[header, *rows]], [note]), "guarantees")


def coverage_of(case: Case, num: int, settings: Guarantees, generator: np.random.Generator) -> list[float]:
    """Returns the share of data sets in which the interval of each level contains the target of one more row."""
    x = generator.normal(size=settings.num_draws * (num + 1))
    y = x + generator.normal(size=len(x))
    if case.gap:
        y += case.gap * generator.choice((-1, 1), len(x))
    y, observed = record(case.recorded, y)
    both = np.concatenate(
        [scores_of_case(case, x[i : i + MAX_ROWS], y[i : i + MAX_ROWS], observed) for i in range(0, len(x), MAX_ROWS)]
    )
    shares = []
    for level in settings.levels:
        inside = []
        for draw in both.reshape(settings.num_draws, num + 1):
            scores = draw[:-1, None]
            known = Conformal(scores, scores, scores, draw[:-1], np.zeros(num, int))
            inside.append(draw[-1] <= known.thresholds(draw[:-1], level, np.zeros(1, int))[0])
        shares.append(float(np.mean(inside)))
    return shares


def is_inside(share: float, level: float, num: int, num_draws: int) -> bool:
    """Returns whether a coverage is in [level, level + 1 / (n + 1)], up to three standard errors of the simulation."""
    error = 3 * np.sqrt(level * (1 - level) / num_draws)
    infinite = num < level / (1 - level) - 1e-9  # the interval is the whole line
    return share >= level - error and (infinite or share <= level + 1 / (num + 1) + error)


def scores_of_case(case: Case, x: np.ndarray, y: np.ndarray, observed: Observed) -> np.ndarray:
    """Returns the scores of central intervals, or of sets of highest density."""
    gaps = np.array([-case.gap, case.gap]) if case.gap else np.zeros(1)
    loc = jnp.asarray(case.loc * x[:, None] + gaps, jnp.float32)[..., None]
    mixture = Mixture(jnp.zeros(loc.shape[:2]), Diagonal(loc, jnp.full_like(loc, case.scale)))
    known = mixture, own_units(1), observed, y[:, None]
    return mass_of(*known) if case.highest else np.maximum(*scores_of(*known))


if __name__ == "__main__":
    command.main("experiments.guarantees", __doc__ or "", Guarantees, None, measure)
