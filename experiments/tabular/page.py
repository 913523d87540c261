"""The page about a run on a table: scores with what they mean, calibration, importance, and an explorer of its densities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.page.blocks import Block, Bullets, Explorer, Grid, Paragraph, Section
from experiments.page.explorer import make_explorer
from experiments.page.plots import bars_of_importance, curve_of_coverage, curves_of_training, histogram_of_pit
from experiments.page.settings import settings_that_differ
from experiments.page.states import choose_states, text_of
from experiments.page.summaries import summarise
from experiments.pipeline import Result
from experiments.reading import LoadedTable
from experiments.schemas import TabularRun
from experiments.slice_report import table_of_wrong
from experiments.tabular.figures import MAX_ROWS_SHOWN, typical_and_extreme
from experiments.tabular.score_tables import HEADINGS, cells_of, table_of_atoms
from mdnjax.data.columns import Column, blocks
from mdnjax.data.dataset import joined, observed_rows, select_rows
from mdnjax.evaluation import Evaluation
from mdnjax.mixture import Mixture
from mdnjax.slices import Slices
from mdnjax.statistics.targets import marginals

MEANINGS = (
    "NLL: minus the mean log density of the observed targets, in nats. Lower is better; a difference of 0.1 means that the "
    "targets are 10 % more probable.",
    "CRPS: the distance of the predicted distribution from the observed target, in the target's units. Lower is better; for a "
    "prediction without uncertainty it is the absolute error.",
    "RMSE: the error of the predicted mean, in the target's units.",
    "In 50, 80 and 95 %: the share of test rows inside of the central intervals; it should be near the number in the heading.",
    "Width: the median width of these intervals. Of two calibrated predictions the narrower one is the more informative.",
    "PIT error: the mean distance of the distribution of the PIT from the uniform one. 0 is calibrated.",
    "Linear Gaussian: least squares with one standard deviation for all rows. Marginal Gaussian: mean and standard deviation of "
    "the training targets, without inputs. A network that is not better than these has learnt nothing from the inputs.",
)
OF_LATTICE = (
    "The values of the target are multiples of a step, such as whole numbers. The curve and its modes are those of the density "
    "before rounding; quantiles and intervals are values of the target."
)
OF_RECALIBRATION = (
    "The predictions are recalibrated. Quantiles and intervals are those after the map; the curve and its modes are those of the "
    "density before it."
)
OF_CENSORED = (
    "Some targets are censored. Their NLL is that of all values where the true target may be. Their PIT is drawn from those of "
    "these values, and says whether they are inside of an interval. CRPS and RMSE are those of the other rows."
)
MAX_COLUMNS_SHOWN = 60


class TableFindings(NamedTuple):
    """Scores of the contenders, rises of the NLL by columns, slices of rows, and sentences on the mixture and on faults."""

    evaluations: Mapping[str, Evaluation]
    rises: Mapping[str, np.ndarray]
    slices: Slices
    shares: Sequence[str]
    notes: Sequence[str]


def sections(config: TabularRun, table: LoadedTable, result: Result, mixture: Mixture, found: TableFindings) -> Iterator[Section]:
    """Yields the sections; `mixture` are the predictions for the test rows."""
    targets = ", ".join(table.columns.targets)
    question = f"Which values of {targets} are to be expected for a row, given its other columns, and with which probabilities?"
    answer = f"The answer is a distribution p({targets} | row), a mixture that neural networks compute."
    yield Section("Question", [Paragraph(f"{question} {answer}")])
    yield Section("Data", [Paragraph(_sizes(table, result)), _columns(table, result)])
    yield Section("Settings", [*settings_that_differ(config, TabularRun()), *_bullets(found.shares)])
    censored = [] if result.splits.test.censoring is None else [Paragraph(OF_CENSORED)]
    yield Section("Scores", [*censored, *_scores(found.evaluations, table.columns.targets)])
    yield Section("Calibration", list(_calibration(found.evaluations["network"], table.columns.targets)))
    yield Section("Where not to trust it", [*_wrong_slices(found.slices), *_bullets(found.notes)])
    yield Section("Importance", [bars_of_importance(dict(found.rises))] if found.rises else [])
    observed = result.predictor.observed
    changed = {OF_LATTICE: observed.lattice, OF_RECALIBRATION: observed.recalibration}
    yield Section("Explorer", [*(Paragraph(text) for text, of in changed.items() if of), explorer(table, result, mixture)])
    yield Section("Training", [curves_of_training(result.fit.history, noisy=result.noisy)])


def explorer(table: LoadedTable, result: Result, mixture: Mixture) -> Explorer:
    """Returns the explorer of the test rows; typical and extreme ones are the first."""
    train, validation, test = result.splits
    shown = observed_rows(test)
    test, mixture = select_rows(test, shown), mixture[shown]
    examples = typical_and_extreme(marginals(mixture)[0], result.test_scores["nll"][shown])
    states = choose_states(table.columns, test.x, joined(train, validation).x, examples[::-1])
    # The evaluation and the figures have compiled the programs of these numbers of rows.
    summaries = summarise(result.predictor, states.inputs, len(test.x), MAX_ROWS_SHOWN)
    names = [f"row {number + 1}" for number in table.rows.test[shown]]
    return make_explorer(
        [column.name for column in table.columns.inputs], table.columns.targets, states, summaries, test.y, names
    )


def _bullets(texts: Sequence[str]) -> list[Block]:
    return [Bullets(texts)] if texts else []


def _wrong_slices(slices: Slices) -> Iterator[Block]:
    """Yields what was looked at, and the slices in which the model is wrong."""
    yield Paragraph(slices.summary())
    header, *rows = table_of_wrong(slices)
    if rows:
        yield Grid("Slices of the test rows in which the model is wrong", header, rows)


def _sizes(table: LoadedTable, result: Result) -> str:
    train, validation, test = (f"{len(part.x):,}" for part in result.splits)
    known = f"{train} rows for training, {validation} for validation"
    held = sum(map(len, table.rows)) - sum(len(part.x) for part in result.splits)
    known += f", {held:,} for the guarantee of intervals" if held else ""
    return f"{table.path.name}: {known}, and {test} for the scores, which no network has seen."


def _columns(table: LoadedTable, result: Result) -> Grid:
    """Returns a table of the columns with the values of the rows of training."""
    x, y = result.splits.train.x, result.splits.train.y
    rows = [[name, "target", _range(y[:, d])] for d, name in enumerate(table.columns.targets)]
    for column, (_, block) in list(zip(table.columns.inputs, blocks(table.columns), strict=True))[:MAX_COLUMNS_SHOWN]:
        rows.append([column.name, *_kind_and_values(column, x[:, block])])
    more = len(table.columns.inputs) - MAX_COLUMNS_SHOWN
    caption = "Columns" if more <= 0 else f"Columns; {more} more are not shown"
    return Grid(caption, ["column", "kind", "training rows"], rows, 3)


def _kind_and_values(column: Column, x: np.ndarray) -> list[str]:
    if column.categories is not None:
        names = [f"{name} ({int(count)})" for name, count in zip(column.categories, x.sum(axis=0), strict=True)]
        return ["categories", ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")]
    missing = int(x[:, -1].sum()) if column.marked else 0
    known = x[x[:, -1] == 0] if column.marked else x
    if not len(known):
        return ["numbers", "all missing"]
    low, high = (text_of(column, known[place]) for place in (known[:, 0].argmin(), known[:, 0].argmax()))
    return ["date" if column.dates else "numbers", f"{low} to {high}" + (f", {missing} missing" if missing else "")]


def _range(values: np.ndarray) -> str:
    return f"{values.min():.6g} to {values.max():.6g}, median {np.median(values):.6g}"


def _scores(evaluations: Mapping[str, Evaluation], targets: Sequence[str]) -> list[Block]:
    found: list[Block] = [Grid("Scores on the test rows", HEADINGS, cells_of(evaluations, targets)), Bullets(MEANINGS)]
    if evaluations["network"].atoms is not None:
        header, *rows = table_of_atoms(evaluations)
        found.append(
            Grid("Which value with a probability of its own the target has, and the density of all others", header, rows)
        )
    return found


def _calibration(evaluation: Evaluation, targets: Sequence[str]) -> Iterator[Block]:
    for d, name in enumerate(targets):
        suffix = f" of {name}" if len(targets) > 1 else ""
        yield histogram_of_pit(evaluation.pit[:, d], f"Histogram of the PIT{suffix}")
        yield curve_of_coverage(evaluation.pit[:, d], f"Coverage of central intervals{suffix}")
