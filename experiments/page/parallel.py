"""Parallel coordinates: an upright axis for each key and score, and a line for each setting, which the reader can choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import ColumnDataSource, PlainText, Range1d

from experiments.page.blocks import Parallel
from experiments.page.plots import DATA, MODEL, TRUTH, add_hover, make_figure

LOGARITHMIC_FROM = 30.0  # the ratio of the largest to the smallest of positive values
MAX_RANGES = 4.0  # between the quartiles, above which larger values are drawn at the end of an axis
MAX_WORDS = 8  # that are written beside an axis


class _Axis(NamedTuple):
    """The heights of all values from 0 to 1, nan where there is none, and the heights and words of the labels."""

    heights: np.ndarray
    labels: list[tuple[float, str]]


def parallel_coordinates(
    names: Sequence[str], columns: Sequence[Sequence[Any]], texts: Sequence[Sequence[str]], num_scores: int
) -> Parallel:
    """Returns the plot of settings, the best first.

    Args: a column of values for each name, of which the last `num_scores` are scores, and the texts of each setting.
    """
    is_score = [i >= len(columns) - num_scores for i in range(len(columns))]
    axes = [_axis(column, [row[i] for row in texts], is_score[i]) for i, column in enumerate(columns)]
    heights = np.stack([axis.heights for axis in axes], axis=1)
    x = list(range(len(names)))
    settings = [", ".join(f"{name} {text}" for name, text in zip(names, row, strict=True)) for row in texts]
    lines = ColumnDataSource({"xs": [x] * len(texts), "ys": heights.tolist(), "setting": settings})
    ranges = {"x_range": Range1d(start=-0.35, end=len(names) - 0.45), "y_range": Range1d(start=-0.08, end=1.08)}
    plot = make_figure("", "", 360, **ranges)
    plot.segment(x, [0] * len(x), x, [1] * len(x), color=DATA, line_width=1.5)
    drawn = plot.multi_line("xs", "ys", source=lines, color=MODEL, line_alpha=0.45, line_width=1.5, hover_line_color=TRUTH)
    plot.multi_line("xs", "ys", source=ColumnDataSource({"xs": [], "ys": []}, name="chosen"), color=TRUTH, line_width=3.5)
    for place, axis in enumerate(axes):
        for height, word in axis.labels:
            plot.text([place + 0.03], [height], [word], text_font_size="11px", text_baseline="middle")
    plot.xaxis.ticker, plot.xaxis.major_label_overrides = x, {i: PlainText(text=name) for i, name in enumerate(names)}
    plot.yaxis.visible = plot.grid.visible = False
    add_hover(plot, [("", "@setting")], drawn, "mouse")
    known = [[None if math.isnan(height) else height for height in of] for of in heights.tolist()]
    rows = [{"texts": list(row), "heights": of} for row, of in zip(texts, known, strict=True)]
    return Parallel(names, [f"{rank}: {name}" for rank, name in enumerate(settings, start=1)], plot, {"rows": rows})


def _axis(values: Sequence[Any], texts: Sequence[str], is_score: bool) -> _Axis:
    """Returns the axis of one column: of words, or of numbers; logarithmic if those of a key differ by much."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    finite = [float(value) for value in values if math.isfinite(value)] if numeric else []
    if not finite:
        words = sorted(set(texts))
        heights = np.array([words.index(text) / max(len(words) - 1, 1) for text in texts])
        return _Axis(heights, [(i / max(len(words) - 1, 1), word[:16]) for i, word in enumerate(words[:MAX_WORDS])])
    quarter, three_quarters = np.quantile(finite, [0.25, 0.75])
    limit = float(three_quarters + MAX_RANGES * (three_quarters - quarter)) if is_score else math.inf
    low, high = min(finite), min(max(finite), limit)
    scale = np.log if not is_score and low > 0 and high / low > LOGARITHMIC_FROM else np.asarray
    numbers = np.array([min(float(value), high) if math.isfinite(value) else math.nan for value in values])
    length = float(scale(high) - scale(low)) or 1.0
    top = f"≥ {high:.4g}" if max(finite) > high else f"{high:.4g}"
    ends = [(0.0, f"{low:.4g}"), *([(1.0, top)] if high > low else [])]
    return _Axis((scale(numbers) - float(scale(low))) / length, ends)
