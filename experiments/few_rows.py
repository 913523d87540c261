"""Fits many small data sets, and compares NLL and coverage with those of least squares and of a constant."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field
from scipy import stats

import mdnjax as mdn
from experiments import command
from experiments.findings import Findings, write
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from mdnjax.config.section import Count, Folder, Section, Seed
from mdnjax.least_squares import NAMES, fit_least_squares, location_and_scale, log_probs
from mdnjax.progress import ProgressLine, pace

FILES = ("few_rows.csv", "few_rows.md", "environment.json")
LEVEL = 0.9
NUM_TEST = 1000
Problem = Literal["line", "line of three", "nothing", "sine", "weak line of five"]


class Law(NamedTuple):
    """The number of inputs, which are standard normal, the mean of the target, and the sd of its normal noise."""

    num_inputs: int
    mean: Callable[[np.ndarray], np.ndarray]
    sd: float


LAWS: dict[str, Law] = {
    "line": Law(1, lambda x: x[:, 0], 0.5),
    "line of three": Law(3, lambda x: x.sum(axis=1), 0.5),
    "nothing": Law(3, lambda x: np.zeros(len(x)), 1.0),
    "sine": Law(1, lambda x: np.sin(2 * x[:, 0]), 0.1),
    "weak line of five": Law(5, lambda x: 0.3 * x[:, 0], 1.0),
}


class FewRows(Section, frozen=True):
    """Which data sets are fitted, and where the table is written."""

    output: Folder = Field(default=Path("results/few_rows"), description="folder of the table")
    seed: Seed = Field(default=0, description="seed of the data sets and of the fits")
    problems: tuple[Problem, ...] = Field(default=get_args(Problem), description="laws that the data sets are drawn from")
    num_rows: tuple[Annotated[int, Field(ge=mdn.fit_examples.MIN_ROWS)], ...] = Field(
        default=(5, 10, 20, 50, 100), description="rows of a data set"
    )
    num_sets: Count = Field(default=50, description="data sets for each law and number of rows")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def measure(settings: FewRows, overwrite: bool) -> None:
    """Fits all data sets, and prints and writes their mean scores."""
    command.setup_runtime(settings.runtime, all_cores=True)
    create_run_folder(settings, settings.output, FILES, overwrite)
    header = ["law", "rows", "NLL", *(f"NLL of {name}" for name in NAMES), "above the better"]
    header += [f"in {100 * LEVEL:.0f} %", f"in {100 * LEVEL:.0f} % of least squares"]
    wanted, line, start = list(itertools.product(settings.problems, settings.num_rows)), ProgressLine(), time.perf_counter()
    rows = []
    for count, (problem, num) in enumerate(wanted):
        scores = []
        for index in range(settings.num_sets):
            scores.append(scores_of(LAWS[problem], num, settings.seed + index))
            done, total = count * settings.num_sets + index + 1, len(wanted) * settings.num_sets
            speed = pace(done, total - done, time.perf_counter() - start, "sets")
            text = f"{problem}, {num} rows: set {index + 1} of {settings.num_sets}{speed}"
            line.update(lambda _, text=text: text)
        rows.append([problem, str(num), *_cells(scores)])
    line.end()
    note = f"Means over {settings.num_sets} data sets, each scored on {NUM_TEST} new rows."
    note += " No numbers of least squares: it needs more rows than it has terms."
    write(settings.output, Findings([[header, *rows]], [note]), "few_rows")


def _cells(scores: list[list[float]]) -> list[str]:
    nll, constant, linear, *shares = np.mean(scores, axis=0).tolist()
    cells = [f"{value:.3f}" for value in (nll, constant, linear, nll - np.nanmin([constant, linear]))]
    return ["" if "nan" in cell else cell for cell in [*cells, *(f"{100 * share:.1f} %" for share in shares)]]


def scores_of(law: Law, num_rows: int, seed: int) -> list[float]:
    """Returns the NLL of the fit, of the constant and of least squares on new rows, and the coverage of the first and the last.

    Scores of least squares are NaN where the rows are not more than its terms.
    """
    generator = np.random.default_rng([seed, num_rows])
    (x, y), (new_x, new_y) = (_draw(law, num, generator) for num in (num_rows, NUM_TEST))
    predictor = mdn.fit(x, y, seed=seed)
    nll = -float(np.mean(predictor.log_prob(new_x, new_y)))
    ends = np.asarray(mdn.central_interval(predictor(new_x), LEVEL))
    inside = float(np.mean((ends[:, :1] <= new_y) & (new_y <= ends[:, 1:])))
    simple = fit_least_squares(x, y)
    constant, linear = (-np.mean(values) for values in log_probs(simple, mdn.data.Dataset(new_x, new_y)))
    loc, scale = location_and_scale(simple, new_x)
    inside_linear = np.mean(np.abs(new_y - loc[1]) <= scale[1] * stats.t.isf((1 - LEVEL) / 2, simple.df[1]))
    if not simple.weight[1]:
        linear = inside_linear = np.nan
    return [nll, float(constant), float(linear), inside, float(inside_linear)]


def _draw(law: Law, num: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = generator.standard_normal((num, law.num_inputs))
    return x, (law.mean(x) + law.sd * generator.standard_normal(num))[:, None]


if __name__ == "__main__":
    command.main("experiments.few_rows", __doc__ or "", FewRows, None, measure)
