"""Plots of bokeh for a page, each with a sentence and a table that say the same; the script of the page sets their colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from bokeh.models import Band, ColumnDataSource, HoverTool, PlainText, Span
from bokeh.plotting import figure
from scipy.stats import binom

from experiments.page.blocks import Grid, Plot
from mdnjax.training.history import History
from mdnjax.types import Float

MODEL, TRUTH, DATA = "#2f7ed8", "#e07b1f", "#8a8f98"  # visible on white and on black
MAX_BINS, ROWS_PER_BIN = 20, 10
MAX_BARS = 20
MAX_POINTS = 400  # of a training loss


def make_figure(x: str, y: str, height: int = 300, **options: Any) -> Any:
    """Returns an empty plot as wide as the page, whose labels are taken as they are: dollar signs would begin a formula."""
    labels = {"x_axis_label": PlainText(text=x), "y_axis_label": PlainText(text=y)}
    plot = figure(height=height, sizing_mode="stretch_width", toolbar_location=None, tools="", **labels, **options)
    plot.background_fill_alpha = plot.border_fill_alpha = 0  # pyright: ignore[reportAttributeAccessIssue]
    plot.outline_line_color = None  # pyright: ignore[reportAttributeAccessIssue]
    plot.min_border_right = 12
    return plot


def add_hover(plot: Any, tooltips: list[tuple[str, str]], renderer: Any, mode: Literal["mouse", "vline"] = "vline") -> None:
    """Shows values of a renderer's source where the pointer is, numbers by printf's formats such as `@y{%.4g}`."""
    formatters: Any = {f"@{name}": "printf" for _, text in tooltips for name in re.findall(r"@(\w+)\{%", text)}
    plot.add_tools(HoverTool(tooltips=tooltips, renderers=[renderer], mode=mode, formatters=formatters))


def histogram_of_pit(pit: Float[np.ndarray, " N"], title: str = "Histogram of the PIT") -> Plot:
    """Plots a histogram of the PIT values of test rows."""
    description = "The PIT of a row is the probability that was predicted below its target."
    return histogram(pit, title, "PIT", "test rows", description)


def histogram(shares: Float[np.ndarray, " N"], title: str, x: str, y: str, description: str) -> Plot:
    """Plots a histogram of numbers that are uniform from 0 to 1 if a model is calibrated, with the band of 95 % of its bars."""
    num = int(np.clip(len(shares) // ROWS_PER_BIN, 4, MAX_BINS))
    counts, edges = np.histogram(shares, bins=num, range=(0, 1))
    low, high = binom.ppf([0.025, 0.975], len(shares), 1 / num)
    plot = make_figure(x, y, y_range=(0, 1.15 * max(*counts, high)))
    source = ColumnDataSource({"count": counts, "left": edges[:-1], "right": edges[1:]})
    bars = plot.quad(
        top="count", bottom=0, left="left", right="right", fill_color=MODEL, fill_alpha=0.7, line_color=None, source=source
    )
    band = ColumnDataSource({"x": [0, 1], "low": [low] * 2, "high": [high] * 2})
    plot.add_layout(Band(base="x", lower="low", upper="high", source=band, fill_color=TRUTH, fill_alpha=0.25, level="overlay"))
    add_hover(plot, [("from", "@left{%.2f}"), ("to", "@right{%.2f}"), ("number", "@count")], bars, "mouse")
    description += (
        f" Bars of equal height mean calibrated predictions. {int(np.sum((counts < low) | (counts > high)))} of {num} bars are "
    )
    description += "outside of the shaded band, which holds 95 % of the bars of a calibrated model. High bars at both ends mean "
    description += "distributions that are too narrow, a hill in the middle means too wide ones, and a slope means shifted ones."
    rows = [[f"{left:.2f} to {right:.2f}", str(count)] for left, right, count in zip(edges, edges[1:], counts, strict=False)]
    return Plot(title, description, plot, Grid("Heights of the bars", [x, y], rows))


def curve_of_coverage(pit: Float[np.ndarray, " N"], title: str = "Coverage of central intervals") -> Plot:
    """Plots the share of rows inside of central intervals against their probability."""
    levels = np.linspace(0, 1, 101)
    covered = np.mean(np.abs(pit - 0.5)[:, None] <= levels / 2, axis=0)
    plot = make_figure("probability of the interval", "share of test rows inside", x_range=(0, 1), y_range=(0, 1))
    plot.line([0, 1], [0, 1], color=TRUTH, line_dash="dashed", line_width=1.5, legend_label="calibrated")
    source = ColumnDataSource({"level": levels, "share": covered})
    line = plot.line("level", "share", source=source, color=MODEL, line_width=2.5, legend_label="network")
    plot.legend.location = "top_left"
    add_hover(plot, [("probability", "@level{0%}"), ("inside", "@share{0.0%}")], line)
    shown = [(level, covered[round(100 * level)]) for level in (0.5, 0.8, 0.9, 0.95)]
    description = "Of a calibrated model the share of rows inside is the probability of the interval. "
    description += (
        f"With {len(pit)} rows, chance alone moves the share by up to {100 / max(len(pit), 1) ** 0.5:.0f} percentage points."
    )
    rows = [[f"{100 * level:.0f} %", f"{100 * share:.1f} %"] for level, share in shown]
    return Plot(title, description, plot, Grid("Rows inside of central intervals", ["probability", "rows inside"], rows))


def bars_of_importance(rises: dict[str, np.ndarray]) -> Plot:
    """Plots the rise of the NLL when a column is shuffled: the mean over the shuffles, and their range."""
    names = sorted(rises, key=lambda name: -float(np.mean(rises[name])))[:MAX_BARS]
    short = _distinct([name if len(name) <= 24 else f"{name[:23]}…" for name in names])
    means, low, high = ([float(f(rises[name])) for name in names] for f in (np.mean, np.min, np.max))
    plot = make_figure("rise of the test NLL, nats", "", 110 + 24 * len(names), y_range=short[::-1])
    source = ColumnDataSource({"name": short, "mean": means, "low": low, "high": high})
    bars = plot.hbar("name", right="mean", height=0.6, color=MODEL, fill_alpha=0.7, line_color=None, source=source)
    plot.segment("low", "name", "high", "name", color=TRUTH, line_width=2.5, source=source)
    plot.add_layout(Span(location=0, dimension="height", line_color=DATA))
    add_hover(plot, [("column", "@name"), ("rise", "@mean{%.4f}"), ("range", "@low{%.4f} to @high{%.4f}")], bars, "mouse")
    num = len(next(iter(rises.values())))
    description = (
        f"How much worse the predictions get when a column is shuffled among the test rows (bar: mean of {num} shuffles, line: "
    )
    description += (
        "their range). A column whose range contains 0 may not matter. Of two columns that say the same, neither seems to matter."
    )
    description += f" Shown are the {len(names)} highest of {len(rises)}." if len(rises) > len(names) else ""
    rows = [[name, f"{m:.4f}", f"{a:.4f} to {b:.4f}"] for name, m, a, b in zip(names, means, low, high, strict=True)]
    return Plot("Importance of the columns", description, plot, Grid("Rise of the NLL", ["column", "mean", "range"], rows))


def curves_of_training(history: History, truth: float | None = None, noisy: bool = False) -> Plot:
    """Plots the training loss and the validation NLL against the step; `truth` is the NLL of the exact density."""
    finite = np.isfinite(history.loss)
    steps = np.unique(np.linspace(0, len(history.loss) - 1, min(len(history.loss), MAX_POINTS)).astype(int))
    steps, scores = steps[finite[steps]], np.asarray(history.validation_scores)
    of_scores = scores[np.isfinite(scores)]
    low = min(map(float, (history.loss[finite].min(), of_scores.min(), *([] if truth is None else [truth]))))
    high = max(float(np.quantile(part, 0.95)) for part in (history.loss[finite], of_scores))
    margin = 0.08 * (high - low)
    plot = make_figure("step", "nats per row", y_range=(low - margin, high + margin))
    label = "training loss, with noise on the rows" if noisy else "training loss"
    plot.line(steps, history.loss[steps], color=DATA, line_width=1, legend_label=label)
    source = ColumnDataSource({"step": history.report_steps, "score": scores})
    line = plot.line("step", "score", source=source, color=MODEL, line_width=2.5, legend_label="validation NLL")
    if truth is not None:
        plot.add_layout(Span(location=truth, dimension="width", line_color=TRUTH, line_dash="dashed", line_width=1.5))
    plot.legend.location = "top_right"
    add_hover(plot, [("step", "@step"), ("validation NLL", "@score{%.5g}")], line)
    best = int(np.nanargmin(scores)) if np.isfinite(scores).any() else 0
    description = (
        f"The validation NLL was lowest, {scores[best]:.4g} nats, at step {history.report_steps[best]} of {len(history.loss)}."
    )
    description += f" The dashed line is the NLL of the exact density, {truth:.4g}." if truth is not None else ""
    return Plot("Training", description, plot)


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns names that are all different; equal ones, which were shortened, get a number."""
    return [name if name not in names[:i] else f"{name} ({i + 1})" for i, name in enumerate(names)]
