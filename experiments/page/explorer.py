"""The explorer of a page: the predicted density of chosen rows, of which the script of the page shows one at a time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d, Span

from experiments.page.blocks import Explorer
from experiments.page.plots import MODEL, TRUTH, add_hover, make_figure
from experiments.page.states import Row, States
from experiments.page.summaries import INTERVALS, LEVELS, Summary

SHOWN_INTERVALS = tuple(level for level in reversed(INTERVALS) if level <= 0.95)
MAX_STEPS = 2**16 - 1  # the curves are stored as whole numbers of 16 bits


def make_explorer(
    inputs: Sequence[str],
    targets: Sequence[str],
    states: States,
    summaries: Sequence[Summary],
    y: np.ndarray,
    names: Sequence[str],
) -> Explorer:
    """Returns the explorer of test rows.

    Args: summaries of each target for all states; the targets `[N, D]` and names of all test rows.
    """
    rows = [_row(row, names[row.place], y[row.place]) for row in states.rows]
    of_targets = [_target(name, summary) for name, summary in zip(targets, summaries, strict=True)]
    data = {"levels": list(LEVELS), "intervals": list(SHOWN_INTERVALS), "rows": rows, "targets": of_targets}
    return Explorer(inputs, targets, _plot(), data)


def _row(row: Row, name: str, y: np.ndarray) -> dict[str, Any]:
    label = f"{name}: {row.label}" if row.label else name
    return {
        "label": label,
        "state": row.state,
        "y": y.tolist(),
        "texts": row.texts,
        "sliders": [s._asdict() for s in row.sliders],
    }


def _target(name: str, summary: Summary) -> dict[str, Any]:
    """Returns what the script needs of one target; numbers are float32, relative to an offset."""
    known = summary.quantiles[np.isfinite(summary.quantiles).all(axis=1)]
    offset, width = (
        float(np.median(values)) if len(known) else 0.0 for values in (known[:, len(LEVELS) // 2], known[:, -2] - known[:, 1])
    )
    low, high = summary.curve_y[:, :1], summary.curve_y[:, -1:]
    top = np.maximum(summary.density.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    steps = [(summary.curve_y - low) / np.maximum(high - low, np.finfo(np.float64).tiny), summary.density / top]
    return {
        "name": name,
        "offset": offset,
        "decimals": int(np.clip(3 - np.floor(np.log10(width or 1.0)), 0, 30)),
        "quantiles": _floats(summary.quantiles - offset),
        "modes": _floats(summary.modes - offset),
        "heights": _floats(summary.heights),
        "ends": _floats(np.concatenate([low - offset, high - offset, top], axis=1)),
        "curve": _whole_numbers(np.stack(steps, axis=1)),
        "atom_values": summary.atom_values.tolist(),
        "atoms": _floats(summary.atoms),
    }


def _floats(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _whole_numbers(shares: np.ndarray) -> str:
    steps = np.rint(np.clip(np.nan_to_num(shares), 0, 1) * MAX_STEPS)
    return base64.b64encode(np.ascontiguousarray(steps, "<u2").tobytes()).decode()


def _plot() -> Any:
    """Returns the plot of the density, whose sources the script fills; it finds them by their names."""
    plot = make_figure("target", "density", 340, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1))
    empty = {
        name: ColumnDataSource({"y": [], "density": []}, name=name) for name in ("curve", "inner", "outer", "modes", "atoms")
    }
    for name, alpha in (("outer", 0.18), ("inner", 0.25)):
        plot.varea("y", y1=0, y2="density", source=empty[name], fill_color=MODEL, fill_alpha=alpha)
    line = plot.line("y", "density", source=empty["curve"], color=MODEL, line_width=2.5)
    plot.vbar("y", top="density", width=0.01, source=empty["atoms"], color=MODEL, name="atom-bars")
    plot.scatter("y", "density", source=empty["modes"], size=9, marker="triangle", color=MODEL)
    for name, dash, colour in (("median", "dashed", MODEL), ("truth", "solid", TRUTH)):
        plot.add_layout(Span(location=0, dimension="height", line_color=colour, line_dash=dash, line_width=2, name=name))
    add_hover(plot, [("target", "@y{%.7g}"), ("density", "@density{%.4g}")], line)
    return plot
