"""Figures of posteriors: draws compared with the reference, two-sample scores, ranks, coverage."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import binom

from experiments.charts import DATA, MODEL, STYLE, TRUTH, label_plainly
from experiments.posterior.problem import Problem
from experiments.posterior.published import PUBLISHED
from mdnjax.plots import corner
from mdnjax.posteriors.checks import Predicted
from mdnjax.posteriors.ranks import Ranks, level_of

MAX_POINTS = 3000  # plotted of the draws for one observation
MAX_COLUMNS = 4  # observations, or parameters
MAX_RESULTS = 20
NUM_BINS = 20
PUBLISHED_STYLES = ("--", ":", "s", "^")  # the last two are of a single number of simulations
SECOND = "#2a9d8f"  # colour of a second method
APART = 1.06  # factor between the places of two methods on the axis of simulations
ZOOM = 8  # magnification of the last column, which exists where theta has two parameters or more


class PosteriorEvaluation(NamedTuple):
    """Draws of theta `[S, D]` for each observation, ranks of the test simulations, and two-sample scores of each observation.

    They are those of the networks trained on `num_simulations` by a method; `c2st` is empty without references. `label` names
    both where several methods are compared, `num_problems` counts what is wrong with the posteriors, and `reproduced` are
    simulations with draws for each observation, where there is a simulator.
    """

    num_simulations: int
    draws: list[np.ndarray]
    ranks: Ranks
    c2st: list[float]
    method: str = "posterior"
    label: str = ""
    num_problems: int = 0
    reproduced: Sequence[Predicted] = ()
    num_rounds: int = 1

    @property
    def name(self) -> str:
        """The name of the row in figures."""
        return self.label or f"{self.num_simulations:,} simulations"

    @property
    def verdict(self) -> str:
        """Whether the checks found nothing wrong with the posteriors."""
        if self.num_problems:
            return f"{self.name}: NOT trusted ({self.num_problems} problem{'s' * (self.num_problems > 1)}, see the notes)"
        if self.num_rounds > 1:  # the networks of single observations have no ranks
            return f"{self.name}: tested by simulations with its draws alone, which found no problem"
        return f"{self.name}: trusted, the checks found no problem"


def draw(evaluations: Sequence[PosteriorEvaluation], problem: Problem) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name."""
    yield "posteriors", posteriors(evaluations, problem.references)
    from_prior = [evaluation for evaluation in evaluations if evaluation.num_rounds == 1]
    yield "ranks", ranks(from_prior, problem.names)
    yield "coverage", coverage(from_prior)
    if problem.references is not None:
        yield "c2st", scores(from_prior, problem.task)
    if importlib.util.find_spec("corner"):  # of the extra `posterior`
        yield "corner", corner_of_first(evaluations[-1], problem)
    if evaluations[-1].reproduced:
        yield "reproduced", reproduced(evaluations[-1])


def corner_of_first(evaluation: PosteriorEvaluation, problem: Problem) -> Figure:
    """Plots all pairs of parameters of the first observation, with reference draws and the true parameters where known."""
    truth = None if problem.truths is None else problem.truths[0]
    reference = None if problem.references is None else problem.references[0]
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = corner(evaluation.draws[0], problem.names, truth, reference)
        figure.suptitle(f"Observation 1\n{evaluation.verdict}", fontsize=10)
        figure.subplots_adjust(top=1 - 0.7 / figure.get_figheight())  # room for the title
        known = {"draws": MODEL, "reference draws": reference is not None and TRUTH, "true parameters": truth is not None and "k"}
        lines = [Line2D([], [], color=colour, lw=2, label=label) for label, colour in known.items() if colour]
        figure.legend(handles=lines, loc="upper right", bbox_to_anchor=(0.97, 1 - 0.7 / figure.get_figheight()))
    return figure


def reproduced(evaluation: PosteriorEvaluation) -> Figure:
    """Plots, for each observation, the observed numbers over the intervals of simulations with draws of its posterior.

    Numbers are standardised by these simulations.
    """
    shown = evaluation.reproduced[:MAX_COLUMNS]
    with mpl.rc_context(STYLE):
        num = min(MAX_RESULTS, len(shown[0].names))
        figure = Figure(figsize=(1.6 + 3 * len(shown), 2.4 + 0.3 * num), layout="constrained")
        panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for number, (axes, each) in enumerate(zip(panels, shown, strict=True), 1):
            mean, sd = each.simulated.mean(axis=0), each.simulated.std(axis=0)
            scaled, rows = (each.simulated - mean) / np.where(sd > 0, sd, 1), np.arange(num)
            axes.use_sticky_edges = False  # so that no bar ends at the edge of the panel
            for level, alpha in ((0.9, 0.3), (0.5, 0.5)):
                low, high = np.quantile(scaled, [0.5 - level / 2, 0.5 + level / 2], axis=0)[:, :num]
                axes.barh(rows, high - low, left=low, color=MODEL, alpha=alpha, height=0.7, label=f"{100 * level:.0f} %")
            axes.plot(((each.observed - mean) / np.where(sd > 0, sd, 1))[:num], rows, "o", color=TRUTH, ms=4, label="observed")
            axes.set(xlabel="standardised by the simulations", yticks=rows, yticklabels=each.names[:num])
            axes.set_title(f"observation {number}", fontsize=10)
        panels[0].invert_yaxis()
        figure.suptitle(f"Simulations with draws of the posterior\n{evaluation.verdict}", fontsize=10)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def posteriors(evaluations: Sequence[PosteriorEvaluation], references: list[np.ndarray] | None) -> Figure:
    """Plots draws: a row for each number of simulations and for the reference, a column for each observation.

    A last column enlarges the first observation where its draws are densest.
    """
    rows = [(evaluation.name, evaluation.draws, MODEL) for evaluation in evaluations]
    if references is not None:
        rows.append(("reference", references, TRUTH))
    last_row = rows[-1][1]  # its draws set the windows of all rows
    num = min(MAX_COLUMNS, len(last_row))
    single = last_row[0].shape[1] == 1
    windows = [] if single else [*map(_window, last_row[:num]), _enlarged_window(last_row[0])]
    with mpl.rc_context(STYLE):
        columns = num + (not single)
        figure = Figure(figsize=(0.6 + 2.5 * columns, 0.5 + 2.4 * len(rows)), layout=ConstrainedLayoutEngine(wspace=0.06))
        panels = figure.subplots(len(rows), columns, squeeze=False, sharex="col", sharey=False)
        for panel, (name, draws, colour) in zip(panels, rows, strict=True):
            for axes, observation in zip(panel, [*range(num), 0], strict=False):
                _plot_draws(axes, draws[observation], colour)
            for axes, (low, high) in zip(panel, windows, strict=False):
                axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
                axes.xaxis.set_major_locator(MaxNLocator(3))  # so that labels of neighbouring panels do not touch
                axes.yaxis.set_major_locator(MaxNLocator(5))
            panel[0].set_ylabel(_in_lines(name) if single else f"{_in_lines(name)}\ntheta_2")
        for column, axes in enumerate(panels[0]):
            axes.set_title(f"observation {column + 1}" if column < num else f"observation 1, {ZOOM} x enlarged", fontsize=10)
        for axes in panels[-1]:
            axes.set_xlabel("theta" if single else "theta_1")
        figure.suptitle("\n".join(evaluation.verdict for evaluation in evaluations), fontsize=10)
    return figure


def ranks(evaluations: Sequence[PosteriorEvaluation], names: Sequence[str]) -> Figure:
    """Plots histograms of ranks with the band that holds 95 % of calibrated bars, a row for each number of simulations.

    The titles say whether the ranks of a parameter are uniform, at a level of 1 % for all parameters together.
    """
    num = min(MAX_COLUMNS, evaluations[0].ranks.below.shape[1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1 + 3.2 * num, 0.6 + 2.2 * len(evaluations)), layout="constrained")
        panels = figure.subplots(len(evaluations), num, squeeze=False, sharex=True, sharey="row")
        for panel, evaluation in zip(panels, evaluations, strict=True):
            num_tests = len(evaluation.ranks.below)
            low, high = binom.ppf([0.025, 0.975], num_tests, 1 / NUM_BINS)
            for column, axes in enumerate(panel):
                shares = (evaluation.ranks.below[:, column] + 0.5) / (evaluation.ranks.num + 1)
                axes.hist(shares, bins=NUM_BINS, range=(0, 1), color=MODEL, alpha=0.75, edgecolor="white")
                axes.axhspan(low, high, color=TRUTH, alpha=0.25, lw=0, label="95 % of calibrated bars")
                axes.axhline(num_tests / NUM_BINS, color=TRUTH, lw=1)
            panel[0].set_ylabel(f"{_in_lines(evaluation.name)}\ntests")
            for axes, name, p in zip(panel, names, evaluation.ranks.p_values(), strict=False):
                axes.set_title(f"{name}: {'uniform' if p > level_of(len(names)) else 'NOT uniform'} (p = {p:.2g})", fontsize=10)
        for column in range(num):
            panels[-1][column].set_xlabel("rank of the true value among draws")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def coverage(evaluations: Sequence[PosteriorEvaluation]) -> Figure:
    """Plots how often the true parameters lie inside of highest-density regions, against the probability of the region."""
    levels = np.linspace(0, 1, 101)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.4), layout="constrained")
        axes = figure.subplots()
        num_tests = min(len(evaluation.ranks.above) for evaluation in evaluations)
        low, high = binom.ppf([[0.025], [0.975]], num_tests, levels) / num_tests
        axes.fill_between(levels, low, high, color=TRUTH, alpha=0.25, lw=0, label="95 % band, calibrated")
        for number, evaluation in enumerate(evaluations):
            covered = [evaluation.ranks.coverage(level) for level in levels]
            colour = mpl.colormaps["Blues"](0.45 + 0.5 * (number + 1) / len(evaluations))
            axes.plot(levels, covered, color=colour, lw=2, label=evaluation.name)
        axes.set(xlabel="probability of the region", ylabel="share of true parameters inside", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
    return figure


def scores(evaluations: Sequence[PosteriorEvaluation], task: str | None) -> Figure:
    """Plots the two-sample score of every observation and their mean, against the number of simulations."""
    methods = {evaluation.method: MODEL for evaluation in evaluations}
    methods |= dict.fromkeys([*methods][1:], SECOND)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 4.8), layout="constrained")
        axes = figure.subplots()
        for place, (method, colour) in enumerate(methods.items()):
            of_method = [evaluation for evaluation in evaluations if evaluation.method == method]
            for number, (num_simulations, _, _, c2st, *_) in enumerate(of_method):
                label = "observations" if number == 0 and colour == MODEL else None
                axes.scatter(
                    [num_simulations * APART**place] * len(c2st), c2st, s=14, color=colour, alpha=0.4, linewidths=0, label=label
                )
            nums, means = zip(*((each.num_simulations, float(np.mean(each.c2st))) for each in of_method), strict=True)
            name = "mdnjax, mean" if len(methods) == 1 else f"mdnjax, {method}, mean"
            axes.plot(np.array(nums) * APART**place, means, "o-", color=colour, lw=2, label=name)
        for (name, published), style in zip(PUBLISHED.get(task or "", {}).items(), PUBLISHED_STYLES, strict=False):
            axes.plot(list(published), list(published.values()), style, color=TRUTH, lw=1.6, label=name)
        axes.axhline(0.5, color=DATA, lw=1)
        axes.set(xscale="log", xlabel="simulations", ylabel="two-sample score (0.5: indistinguishable)", ylim=(0.45, 1))
        label_plainly(axes.xaxis)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _in_lines(name: str) -> str:
    """Returns the name of a row with its method in a line of its own."""
    return name.replace("simulations, ", "simulations\n")


def _plot_draws(axes: Axes, draws: np.ndarray, colour: str) -> None:
    if draws.shape[1] == 1:
        axes.hist(draws[:, 0], bins=60, density=True, color=colour, alpha=0.75)
    else:
        axes.scatter(*draws[:MAX_POINTS, :2].T, s=1.2, color=colour, alpha=0.6, linewidths=0, rasterized=True)


def _window(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower left and upper right corners of a window around nearly all draws of the first two parameters."""
    low, high = np.quantile(draws[:, :2], [0.002, 0.998], axis=0)
    margin = 0.1 * (high - low) + 1e-6 * np.abs(high) + 1e-12
    return low - margin, high + margin


def _enlarged_window(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of a window of 1 / ZOOM of the size, where draws are densest."""
    low, high = _window(draws)
    half = (high - low) / (2 * ZOOM)
    within = np.all(np.abs(draws[:200, None, :2] - draws[None, :2000, :2]) < half, axis=2)
    centre = draws[:2000][within[within.sum(axis=1).argmax()], :2].mean(axis=0)
    return centre - half, centre + half
