"""Figures of predictions for the rows of a table, one for each target."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH, as_label
from mdnjax.mixture import Mixture, prob
from mdnjax.statistics import central_interval, median

MAX_ROWS_SHOWN = 400  # in the figure of observed values with their intervals
LEVEL = 0.8
NUM_GRID = 400


def plot_observed(mixture: Mixture, y: np.ndarray, name: str) -> Figure:
    """Plots observed values of a single target against predicted medians, with the central interval of each row."""
    rows = np.linspace(0, len(y) - 1, min(len(y), MAX_ROWS_SHOWN)).astype(int)
    shown = mixture[rows]
    middle, ends, observed = np.asarray(median(shown))[:, 0], np.asarray(central_interval(shown, LEVEL)), y[rows, 0]
    inside = (ends[:, 0] <= observed) & (observed <= ends[:, 1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        for part, colour, label in ((inside, MODEL, "observed inside"), (~inside, TRUTH, "observed outside")):
            axes.vlines(middle[part], ends[part, 0], ends[part, 1], color=colour, alpha=0.3, lw=1)
            axes.scatter(middle[part], observed[part], s=9, color=colour, linewidths=0, label=f"{label} ({part.sum()})")
        low, high = (float(end(np.concatenate([middle, observed]))) for end in (np.min, np.max))
        axes.plot([low, high], [low, high], color=DATA, lw=1, ls="--", zorder=0)
        low, high = min(low, float(np.quantile(ends[:, 0], 0.01))), max(high, float(np.quantile(ends[:, 1], 0.99)))
        margin = 0.05 * (high - low)
        axes.set(xlabel=f"predicted median of {name}", ylabel=f"observed {name}", ylim=(low - margin, high + 3 * margin))
        axes.set_title(f"{len(observed)} test rows with their {100 * LEVEL:.0f} % intervals")
        axes.legend(loc="upper left")
    return figure


def typical_and_extreme(mixture: Mixture, nll: np.ndarray) -> list[tuple[str, int]]:
    """Returns up to six different rows, each with what it is an example of; if a row is taken already, the next one is used."""
    middle, ends = np.asarray(median(mixture))[:, 0], np.asarray(central_interval(mixture, LEVEL))
    order, width = np.argsort(middle), np.argsort(ends[:, 1] - ends[:, 0])
    half = len(order) // 2
    candidates = {
        "largest NLL": np.argsort(-nll),
        "lowest median": order,
        "highest median": order[::-1],
        "narrowest interval": width,
        "widest interval": width[::-1],
        "middle median": np.concatenate([order[half:], order[:half][::-1]]),
    }
    rows: dict[str, int] = {}
    for label, ranked in list(candidates.items())[: len(order)]:
        rows[label] = next(int(row) for row in ranked if row not in rows.values())
    return list(rows.items())


def plot_densities(mixture: Mixture, y: np.ndarray, nll: np.ndarray, numbers: Sequence[int], name: str) -> Figure:
    """Plots the density of a single target and its observed value at a few rows; `numbers` are their row numbers in the file."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.4), layout="constrained")
        panels = figure.subplots(2, 3)
        examples = typical_and_extreme(mixture, nll)
        for axes in list(panels.flat)[len(examples) :]:
            axes.set_axis_off()
        for axes, (label, row) in zip(panels.flat, examples, strict=False):
            single = mixture[row]
            wide = np.asarray(central_interval(single, 0.998))
            low, high = min(wide[0], y[row, 0]), max(wide[1], y[row, 0])
            margin = 0.05 * (high - low)
            grid = np.linspace(low - margin, high + margin, NUM_GRID, dtype=np.float32)
            density = np.asarray(prob(single, grid[:, None]))
            ends = np.asarray(central_interval(single, LEVEL))
            axes.plot(grid, density, color=MODEL, lw=1.8)
            axes.fill_between(grid, density, where=((grid >= ends[0]) & (grid <= ends[1])).tolist(), color=MODEL, alpha=0.2, lw=0)
            axes.axvline(y[row, 0], color=TRUTH, lw=1.4)
            axes.set(title=f"row {numbers[row]}: {label}", xlabel=name, ylim=(0, None), yticks=[])
        figure.suptitle(f"p({name} | row): {100 * LEVEL:.0f} % interval shaded, observed value in orange", fontsize=12)
    return figure


def plot_importance(rises: dict[str, np.ndarray], max_columns: int = 20) -> Figure:
    """Plots how much the NLL rises when a column is shuffled among the test rows: mean and range over the shuffles."""
    names = sorted(rises, key=lambda name: float(np.mean(rises[name])))[-max_columns:]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.5 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots()
        means = np.array([np.mean(rises[name]) for name in names])
        ranges = np.array([[np.min(rises[name]), np.max(rises[name])] for name in names])
        axes.barh(range(len(names)), means, color=MODEL, alpha=0.75, height=0.6)
        axes.hlines(range(len(names)), ranges[:, 0], ranges[:, 1], color=TRUTH, lw=1.6)
        axes.set_yticks(range(len(names)), [as_label(name if len(name) <= 30 else f"{name[:29]}…") for name in names])
        axes.axvline(0, color=DATA, lw=1)
        num = len(next(iter(rises.values())))
        axes.set(xlabel=f"rise of the test NLL when a column is shuffled, nats\n(bar: mean of {num} shuffles, line: their range)")
        shown = f", the {max_columns} highest of {len(rises)}" if len(rises) > max_columns else ""
        axes.set_title(f"How much each column matters{shown}")
    return figure
