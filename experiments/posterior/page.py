"""The page about posteriors from simulations: scores, ranks and coverage, and draws for the first observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import gridplot
from bokeh.models import ColumnDataSource
from scipy.stats import binom

from experiments.page.blocks import Block, Bullets, Grid, Paragraph, Plot, Section
from experiments.page.plots import MODEL, TRUTH, curves_of_training, histogram, make_figure
from experiments.page.settings import settings_that_differ
from experiments.posterior.figures import PosteriorEvaluation
from experiments.posterior.outcome import Outcome
from experiments.posterior.problem import Problem
from experiments.posterior.schema import Posterior
from mdnjax.posteriors.ranks import level_of

MAX_OBSERVATIONS, MAX_PARAMETERS, MAX_POINTS, MAX_NUMBERS = 4, 5, 600, 20  # of the plots of draws
MAX_PANELS = 20  # of these plots together; making one takes about 40 ms
MEANINGS = (
    "Test NLL: minus the mean log density of the true parameters of simulations that no network has seen, in nats; lower is "
    "better.",
    "In 50 % and in 90 %: the share of these simulations whose true parameters lie in the highest-density region of this "
    "probability.",
    "Rank error: the mean distance between the distribution of a true parameter's rank among draws and the uniform one.",
    "C2ST: how well a classifier separates the draws from reference draws. 0.5 is perfect; at 1 they have nothing in common.",
)


def sections(
    config: Posterior,
    defaults: Posterior,
    problem: Problem,
    outcomes: list[Outcome],
    table: list[list[str]],
    notes: Sequence[str],
) -> Iterator[Section]:
    """Yields the sections; `table` are the printed scores, `notes` sentences about what looks wrong."""
    names, last = problem.names, outcomes[-1].evaluation
    from_prior = [outcome.evaluation for outcome in outcomes if outcome.evaluation.num_rounds == 1]
    verdicts = [outcome.evaluation.verdict for outcome in outcomes]
    question = (
        f"Which values of {', '.join(names)} explain an observation, and with which probabilities? The answer is the posterior "
    )
    question += "p(theta | x), which networks learn from simulations."
    sizes = ", ".join(f"{size:,}" for size in problem.sizes)
    data = f"Networks were trained on {sizes} simulations, and scored on {len(problem.test.x):,} others. "
    data += f"There are {len(problem.observed)} observations of {problem.observed.shape[1]} numbers."
    yield Section("Question", [Paragraph(question)])
    yield Section("Data", [Paragraph(data)])
    yield Section("Settings", settings_that_differ(config, defaults))
    yield Section("Scores", [Grid("Scores on test simulations", table[0], table[1:], 2), Bullets(MEANINGS)])
    yield Section("Calibration", [*_ranks(from_prior[-1], names), _coverage(from_prior)])
    yield Section("Where not to trust it", [Bullets([*verdicts, *notes]), *_reproduced(last)])
    yield Section("Posteriors", list(draws_of(last, problem.references, names)))
    yield Section("Training", [curves_of_training(outcomes[-1].result.fit.history)])


def _ranks(evaluation: PosteriorEvaluation, names: Sequence[str]) -> Iterator[Block]:
    """Yields a histogram of the ranks of each parameter."""
    for name, below, p in zip(names, evaluation.ranks.below.T, evaluation.ranks.p_values(), strict=True):
        shares = (below + 0.5) / (evaluation.ranks.num + 1)
        uniform = "are uniform" if p > level_of(len(names)) else "are NOT uniform"
        description = f"{evaluation.name}: the ranks {uniform} (p = {p:.2g})."
        yield histogram(shares, f"Ranks of {name}", "rank of the true value among draws, as a share", "simulations", description)


def _coverage(evaluations: Sequence[PosteriorEvaluation]) -> Plot:
    """Plots the share of true parameters inside of highest-density regions against their probability."""
    levels, num = np.linspace(0, 1, 101), min(len(evaluation.ranks.above) for evaluation in evaluations)
    plot = make_figure("probability of the region", "share of true parameters inside", x_range=(0, 1), y_range=(0, 1))
    low, high = binom.ppf([[0.025], [0.975]], num, levels) / num
    plot.varea(levels, low, high, fill_color=TRUTH, fill_alpha=0.25, legend_label="95 % band, calibrated")
    for place, evaluation in enumerate(evaluations):
        covered = [evaluation.ranks.coverage(level) for level in levels]
        alpha = 0.4 + 0.6 * (place + 1) / len(evaluations)
        plot.line(levels, covered, color=MODEL, alpha=alpha, line_width=2.5, legend_label=evaluation.name)
    plot.legend.location = "top_left"
    rows = [[e.name, *(f"{100 * e.ranks.coverage(level):.1f} %" for level in (0.5, 0.8, 0.9, 0.95))] for e in evaluations]
    description = (
        "Of a calibrated posterior the share of true parameters inside of a region is its probability, within the shaded band. "
    )
    description += "Below it posteriors are too narrow, above it too wide."
    grid = Grid("True parameters inside of highest-density regions", ["", "50 %", "80 %", "90 %", "95 %"], rows)
    return Plot("Coverage of regions", description, plot, grid)


def _reproduced(evaluation: PosteriorEvaluation) -> Iterator[Block]:
    """Yields a table for each of the first observations, of its numbers beside simulations with draws of its posterior."""
    for number, each in enumerate(evaluation.reproduced[:MAX_OBSERVATIONS], 1):
        ends = np.quantile(each.simulated, [0.05, 0.95], axis=0)
        columns = zip(each.names, each.observed, *ends, each.p_values(), strict=True)
        rows = [
            [name, *(f"{value:.4g}" for value in (observed, low, high)), f"{p:.2g}"] for name, observed, low, high, p in columns
        ]
        caption = f"Observation {number} and simulations with draws of its posterior"
        yield Grid(caption, ["number", "observed", "5 %", "95 %", "p-value"], rows[:MAX_NUMBERS])


def draws_of(evaluation: PosteriorEvaluation, references: list[np.ndarray] | None, names: Sequence[str]) -> Iterator[Block]:
    """Yields the draws for the first observations: each parameter against each other one, or, after many panels, quantiles."""
    num = min(len(names), MAX_PARAMETERS)
    num_drawn = max(1, MAX_PANELS // (num * (num + 1) // 2))
    for number, draws in enumerate(evaluation.draws[:MAX_OBSERVATIONS]):
        ends = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
        rows = [[name, *(f"{value:.4g}" for value in of)] for name, of in zip(names, ends.T, strict=True)]
        if number >= num_drawn:
            yield Grid(f"Quantiles of the draws for observation {number + 1}", ["parameter", "5 %", "median", "95 %"], rows)
            continue
        reference = None if references is None else references[number]
        description = f"Draws of {evaluation.name}" + ("" if reference is None else ", and reference draws in orange")
        description += ": a histogram of each parameter, and each pair of parameters as points."
        grid = Grid("Quantiles of the draws", ["parameter", "5 %", "median", "95 %"], rows)
        yield Plot(f"Posterior for observation {number + 1}", description, _corner(draws, reference, names), grid)


def _corner(draws: np.ndarray, reference: np.ndarray | None, names: Sequence[str]) -> Any:
    """Returns a grid of plots: histograms on the diagonal, pairs of parameters below it."""
    num, both = min(len(names), MAX_PARAMETERS), [(draws, MODEL), *([] if reference is None else [(reference, TRUTH)])]
    sources = [(ColumnDataSource({f"p{i}": part[:MAX_POINTS, i] for i in range(num)}), colour) for part, colour in both]
    rows: list[list[Any]] = []
    for i in range(num):
        row: list[Any] = [None] * num
        for j in range(i + 1):
            row[j] = plot = make_figure(names[j], "density" if i == j else names[i], 240)
            for (source, colour), (part, _) in zip(sources, both, strict=True):
                if i == j:
                    density, edges = np.histogram(part[:, i], bins=40, density=True)
                    plot.quad(top=density, bottom=0, left=edges[:-1], right=edges[1:], color=colour, fill_alpha=0.5, line_alpha=0)
                else:
                    plot.scatter(f"p{j}", f"p{i}", source=source, size=3, color=colour, fill_alpha=0.5, line_color=None)
        rows.append(row)
    return gridplot(rows, sizing_mode="stretch_width", toolbar_location=None)
