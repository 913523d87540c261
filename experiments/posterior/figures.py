"""Pictures of posteriors: draws beside the reference, two-sample scores, ranks, coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from experiments.posterior.published import PUBLISHED
from mdnjax.plots import DATA, MODEL, STYLE, TRUTH
from mdnjax.ranks import Ranks

MAX_POINTS = 3000  # of a cloud
MAX_COLUMNS = 4  # observations, or parameters
NUM_BINS = 20
ZOOM = 8  # times nearer, where there are two parameters


class Shown(NamedTuple):
    """What is shown of the networks of one number of simulations; `c2st` is empty without references."""

    num: int
    draws: list[np.ndarray]
    ranks: Ranks
    c2st: list[float]


def draw(shown: Sequence[Shown], references: list[np.ndarray] | None, two_moons: bool) -> Iterator[tuple[str, Figure]]:
    """Every figure, by name."""
    yield "posteriors", posteriors(shown, references)
    yield "ranks", ranks(shown)
    yield "coverage", coverage(shown)
    if references is not None:
        yield "c2st", scores(shown, two_moons)


def posteriors(shown: Sequence[Shown], references: list[np.ndarray] | None) -> Figure:
    """A row for each number of simulations and one for the reference, a column for each observation, the first from near too."""
    rows = [(f"{one.num:,} simulations", one.draws, MODEL) for one in shown]
    if references is not None:
        rows.append(("reference", references, TRUTH))
    num = min(MAX_COLUMNS, len(rows[0][1]))
    single = rows[0][1][0].shape[1] == 1
    near = [] if single else [_near(rows[-1][1][0])]
    with mpl.rc_context(STYLE):
        columns = num + len(near)
        figure = Figure(figsize=(0.6 + 2.5 * columns, 0.5 + 2.4 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), columns, squeeze=False, sharex="col", sharey=False)
        for panel, (name, draws, colour) in zip(panels, rows, strict=True):
            for column in range(num):
                _cloud(panel[column], draws[column], colour)
                if not single:
                    _window(panel[column], *_range(rows[-1][1][column]))
            for axes, window in zip(panel[num:], near, strict=True):
                _cloud(axes, draws[0], colour)
                _window(axes, *window)
            panel[0].set_ylabel(name if single else f"{name}\ntheta_2")
        for column, axes in enumerate(panels[0]):
            axes.set_title(f"observation {column + 1}" if column < num else f"1, {ZOOM} times nearer", fontsize=10)
        for axes in panels[-1]:
            axes.set_xlabel("theta" if single else "theta_1")
    return figure


def ranks(shown: Sequence[Shown]) -> Figure:
    """Histograms of ranks with the band that 95 % of calibrated bars stay in, a row for each number of simulations."""
    num = min(MAX_COLUMNS, shown[0].ranks.below.shape[1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1 + 3.2 * num, 0.6 + 2.2 * len(shown)), layout="constrained")
        panels = figure.subplots(len(shown), num, squeeze=False, sharex=True, sharey="row")
        for panel, one in zip(panels, shown, strict=True):
            tested = len(one.ranks.below)
            low, high = binom.ppf([0.025, 0.975], tested, 1 / NUM_BINS)
            for column, axes in enumerate(panel):
                shares = (one.ranks.below[:, column] + 0.5) / (one.ranks.num + 1)
                axes.hist(shares, bins=NUM_BINS, range=(0, 1), color=MODEL, alpha=0.75, edgecolor="white")
                axes.axhspan(low, high, color=TRUTH, alpha=0.25, lw=0, label="95 % of calibrated bars")
                axes.axhline(tested / NUM_BINS, color=TRUTH, lw=1)
            panel[0].set_ylabel(f"{one.num:,} simulations\ntests")
        for column in range(num):
            panels[0][column].set_title(f"theta_{column + 1}")
            panels[-1][column].set_xlabel("rank of the true value among draws")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def coverage(shown: Sequence[Shown]) -> Figure:
    """How often the true parameters lie inside of highest-density regions, against the promise."""
    levels = np.linspace(0, 1, 101)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.4), layout="constrained")
        axes = figure.subplots()
        tested = len(shown[0].ranks.above)
        low, high = binom.ppf([[0.025], [0.975]], tested, levels) / tested
        axes.fill_between(levels, low, high, color=TRUTH, alpha=0.25, lw=0, label="95 % band, calibrated")
        for number, one in enumerate(shown):
            covered = [one.ranks.coverage(level) for level in levels]
            axes.plot(levels, covered, color=_shade(number, len(shown)), lw=2, label=f"{one.num:,} simulations")
        axes.set(xlabel="probability of the region", ylabel="share of true parameters inside", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
    return figure


def scores(shown: Sequence[Shown], two_moons: bool) -> Figure:
    """The two-sample score of every observation and their mean, against the number of simulations."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 4.2), layout="constrained")
        axes = figure.subplots()
        nums = [one.num for one in shown]
        for number, one in enumerate(shown):
            label = "observations" if number == 0 else None
            axes.scatter([one.num] * len(one.c2st), one.c2st, s=14, color=MODEL, alpha=0.4, linewidths=0, label=label)
        axes.plot(nums, [float(np.mean(one.c2st)) for one in shown], "o-", color=MODEL, lw=2, label="mdnjax, mean")
        for (name, known), style in zip(PUBLISHED.items() if two_moons else (), ("--", ":"), strict=False):
            axes.plot(list(known), list(known.values()), style, color=TRUTH, lw=1.6, label=name)
        axes.axhline(0.5, color=DATA, lw=1)
        axes.set(xscale="log", xlabel="simulations", ylabel="two-sample score (0.5: none can tell)", ylim=(0.45, 1))
        axes.legend()
    return figure


def _cloud(axes: Axes, draws: np.ndarray, colour: str) -> None:
    if draws.shape[1] == 1:
        axes.hist(draws[:, 0], bins=60, density=True, color=colour, alpha=0.75)
    else:
        axes.scatter(*draws[:MAX_POINTS, :2].T, s=1.2, color=colour, alpha=0.6, linewidths=0, rasterized=True)


def _range(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a square window that holds nearly all of a cloud."""
    low, high = np.quantile(draws[:, :2], [0.002, 0.998], axis=0)
    margin = 0.1 * (high - low) + 1e-6 * np.abs(high) + 1e-12
    return low - margin, high + margin


def _near(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = _range(draws)
    half = (high - low) / (2 * ZOOM)
    within = np.all(np.abs(draws[:200, None, :2] - draws[None, :2000, :2]) < half, axis=2)
    centre = draws[:2000][within[within.sum(axis=1).argmax()], :2].mean(axis=0)
    return centre - half, centre + half


def _window(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def _shade(number: int, num: int) -> tuple[float, float, float, float]:
    return mpl.colormaps["Blues"](0.45 + 0.5 * (number + 1) / num)
