"""The page about a run on data of one input and one target whose density is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.charts import Names
from experiments.figures import NUM_GRID
from experiments.page.blocks import Bullets, Explorer, Grid, Paragraph, Section
from experiments.page.explorer import make_explorer
from experiments.page.pictures import pictures_of
from experiments.page.plots import curve_of_coverage, curves_of_training, histogram_of_pit
from experiments.page.settings import settings_that_differ
from experiments.page.states import choose_states
from experiments.page.summaries import summarise
from experiments.pipeline import Result
from mdnjax.config import load
from mdnjax.data.columns import numbered_columns
from mdnjax.data.dataset import joined

MEANINGS = (
    "NLL: minus the mean log density, in nats. Lower is better. Apart from chance, no model can be better than the truth on the "
    "same points, and the excess over the truth is the error of the network. An excess of 0.1 means that the points are 10 % "
    "less probable.",
    "The known limit of the NLL is the entropy of the exact density.",
    "CRPS: the distance of the predicted distribution from the observed target, in the target's units. Lower is better.",
    "Coverage: the share of the test points inside of the central intervals of 50 and 90 %.",
)
PICTURES = {
    "density": "The learnt density of the target along the input, beside the exact density, in the same colours.",
    "intervals": "Highest-density regions of 50 and 90 % along the input over the training points, and the modes as lines.",
    "ribbon": "The location of each component along the input, with one scale on either side, over the training points.",
    "regression": "Least squares: one prediction for each input, over the points that it was trained on.",
    "inverse_regression": "Least squares for the inverse problem: a prediction between several branches of points.",
}


def sections(
    question: str, default: Path, result: Result, table: Sequence[Sequence[str]], names: Names, folder: Path
) -> Iterator[Section]:
    """Yields the sections.

    Args: `default` is the configuration of the bare command, and `table` are the printed scores. The figures in `folder` are
    shown as pictures.
    """
    train, validation, test = (len(part.x) for part in result.splits)
    sizes = (
        f"{train:,} points to train on, {validation:,} for validation and {test:,} for the scores, drawn from a known density."
    )
    yield Section("Question", [Paragraph(question)])
    yield Section("Data", [Paragraph(sizes)])
    yield Section("Settings", settings_that_differ(result.config, load(type(result.config), default)))
    yield Section("Scores", [Grid("Scores and their known limits", table[0], table[1:]), Bullets(MEANINGS)])
    yield Section("Calibration", [histogram_of_pit(result.pit), curve_of_coverage(result.pit)])
    yield Section("Where not to trust it", [Bullets(result.notes)] if result.notes else [])
    yield Section("Explorer", [_explorer(result, names)])
    yield Section("Pictures", pictures_of(folder, PICTURES))
    yield Section("Training", [curves_of_training(result.fit.history, result.metrics["truth_train_nll"], result.noisy)])


def _explorer(result: Result, names: Names) -> Explorer:
    """Returns the explorer of test points and of a grid of inputs."""
    train, validation, test = result.splits
    columns = numbered_columns(1, 1)
    known = joined(train, validation)
    states = choose_states(columns, np.asarray(test.x, np.float64), np.asarray(known.x, np.float64), [])
    summaries = summarise(result.predictor, states.inputs, NUM_GRID, NUM_GRID)
    points = [f"test point {i + 1}" for i in range(len(test.x))]
    return make_explorer([names.x], [names.y], states, summaries, test.y, points)
