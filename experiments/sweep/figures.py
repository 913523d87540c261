"""Figures of a sweep: the scores of all members against each swept key, a map of two keys, and learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH, label_plainly
from experiments.members.parts import Row, finished
from experiments.sweep.summary import Summary, short, text

PANELS = (("validation_nll", "validation NLL (nats)"), ("excess_nll", "excess over the truth (nats)"))
MAX_CURVES = 8
MAX_LABELS = 12
MAX_CELLS = 30
NUM_GROUPS, MIN_GROUP, MAX_P_VALUE = 5, 3, 0.01  # a trend is drawn if groups along an axis differ by the Kruskal-Wallis test
Curve = tuple[int, np.ndarray, np.ndarray]  # setting, steps, validation NLL


def of_sweep(summaries: Sequence[Summary], rows: Sequence[Row], curves: Sequence[Curve]) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name."""
    trained = finished(rows)
    if not trained:
        return
    values = {summary.setting: summary.values for summary in summaries}
    keys = list(summaries[0].values)
    for key in keys or ["seed"]:
        xs = [values[row["setting"]].get(key) if keys else row["seed"] for row in trained]
        yield f"by_{key}", plot_key(key, xs, trained)
    if len(keys) == 2 and _fills_a_map(keys, summaries):
        yield "map", plot_map(keys, summaries)
    if any(np.isfinite(scores).all() for _, _, scores in curves):
        yield "learning_curves", plot_curves(summaries, curves)


def plot_key(key: str, values: Sequence[Any], rows: Sequence[Row]) -> Figure:
    """Plots the scores of all members against one key: a point for each member, and medians.

    Along an axis of numbers, medians are those of five groups of members, and only drawn if the groups differ.
    """
    positions, labels, is_log = _axis(values)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        for axes, (metric, title) in zip(figure.subplots(1, 2), _panels(rows), strict=True):
            scores = np.array([row[metric] for row in rows])
            _draw_members(axes, positions, scores, spread=0.0 if labels is None else 0.12)
            axes.set(title=title, xlabel=key)
            if labels is not None:
                slanted = sum(map(len, labels)) > 40
                axes.set_xticks(range(len(labels)), labels, rotation=25 if slanted else 0, ha="right" if slanted else "center")
            elif is_log:
                axes.set_xscale("log")
                label_plainly(axes.xaxis)
            _cut_outliers(axes, scores)
    return figure


def _panels(rows: Sequence[Row]) -> Sequence[tuple[str, str]]:
    """Returns the two metrics that are shown, with titles; where the truth is unknown, test NLL instead of excess."""
    truth_is_known = any(np.isfinite(row["excess_nll"]) for row in rows)
    return PANELS if truth_is_known else (PANELS[0], ("test_nll", "test NLL (nats)"))


def plot_map(keys: Sequence[str], summaries: Sequence[Summary]) -> Figure:
    """Plots the mean validation NLL over two keys."""
    columns, rows = (_ordered([summary.values[key] for summary in summaries]) for key in keys)
    grid = np.full((len(rows), len(columns)), np.nan)
    for summary in summaries:
        if summary.statistics:
            cell = rows.index(text(summary.values[keys[1]], 4)), columns.index(text(summary.values[keys[0]], 4))
            grid[cell] = np.fmin(grid[cell], summary.score)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4 + 0.75 * len(columns), 2.2 + 0.45 * len(rows)), layout="constrained")
        axes = figure.subplots()
        low = float(np.nanmin(grid))
        high = float(np.nanquantile(grid, 0.9))
        image = axes.imshow(grid, cmap="viridis_r", vmin=low, vmax=max(high, low + 1e-3), aspect="auto", origin="lower")
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                on_light = value < low + 0.5 * (high - low)  # low values have the light colours of this map
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="black" if on_light else "white")
        axes.set_xticks(range(len(columns)), columns, rotation=30 if len(columns) > 6 else 0)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel=keys[0], ylabel=keys[1], title="Mean validation NLL (nats)")
        figure.colorbar(image, ax=axes, extend="max")
    return figure


def plot_curves(summaries: Sequence[Summary], curves: Sequence[Curve]) -> Figure:
    """Plots the validation NLL against the step: a thin line for each member, a thick line for the median of each setting.

    Only the best settings are shown, of those with a member whose scores are all finite.
    """
    complete = {setting for setting, _, scores in curves if np.isfinite(scores).all()}
    shown = [summary for summary in summaries if summary.setting in complete][:MAX_CURVES]
    colours = [mpl.colormaps["tab10"](k) for k in range(len(shown))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        axes = figure.subplots()
        late_scores = []  # they determine the range of the axis: scores at the start are far larger
        for summary, colour in reversed(list(zip(shown, colours, strict=True))):
            of_setting = [
                (steps, scores) for setting, steps, scores in curves if setting == summary.setting and np.isfinite(scores).all()
            ]
            for steps, scores in of_setting:
                axes.plot(steps, scores, color=colour, alpha=max(0.08, min(0.5, 3 / len(of_setting))), lw=0.8)
            steps, median = of_setting[0][0], np.median([scores for _, scores in of_setting], axis=0)
            axes.plot(steps, median, color=colour, lw=2, label=_label(summary, shown))
            late_scores += [median[len(median) // 3 :], *(scores[-1:] for _, scores in of_setting)]
        late = np.concatenate(late_scores)
        margin = 0.06 * max(float(np.ptp(late)), 0.02)
        axes.set_ylim(float(late.min()) - margin, float(np.quantile(late, 0.99)) + 3 * margin)
        of_best = f" of the best {len(shown)} of {len(summaries)} settings" if len(summaries) > len(shown) else ""
        axes.set(title=f"Learning curves{of_best}", xlabel="step", ylabel="validation NLL (nats)")
        handles, labels = axes.get_legend_handles_labels()
        title = "medians, best first" if len(shown) > 1 else None
        axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1, 1), title=title)
    return figure


def _draw_members(axes: Axes, positions: np.ndarray, scores: np.ndarray, spread: float) -> None:
    jitter = spread * np.random.default_rng(0).uniform(-1, 1, len(scores))
    axes.scatter(positions + jitter, scores, s=14, color=MODEL, alpha=max(0.15, min(0.7, 60 / len(scores))), linewidths=0)
    distinct = np.unique(positions)
    if spread and len(distinct) < 0.7 * len(positions):
        medians = [np.median(scores[positions == position]) for position in distinct]
        axes.plot(distinct, medians, color=TRUTH, marker="_", ms=16, mew=2, label="median", ls="")
        axes.legend(loc="best")
    elif not spread and len(distinct) >= NUM_GROUPS:
        from scipy.stats import kruskal  # here, since importing it takes long

        groups = np.array_split(np.argsort(positions, kind="stable"), NUM_GROUPS)
        if min(map(len, groups)) >= MIN_GROUP and kruskal(*(scores[group] for group in groups)).pvalue < MAX_P_VALUE:
            middle = [[np.median(values[group]) for group in groups] for values in (positions, scores)]
            axes.plot(*middle, color=TRUTH, marker="o", ms=4, lw=1.6, label="medians of five groups")
            axes.legend(loc="best")
    axes.grid(axis="y", color=DATA, alpha=0.25)


def _axis(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None, bool]:
    """Returns positions of the values, labels if the values are few or not numbers, and whether the axis is logarithmic."""
    distinct = _ordered(values)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numeric or (len(distinct) <= MAX_LABELS and 2 * len(distinct) <= len(values)):  # numbers drawn at random all differ
        labels = [Path(label).stem if label.endswith(".yaml") else label for label in distinct]
        return np.array([distinct.index(text(value, 4)) for value in values], float), labels, False
    positions = np.array(values, float)
    return positions, None, bool(positions.min() > 0 and positions.max() > 8 * positions.min())


def _ordered(values: Sequence[Any]) -> list[str]:
    numeric = all(isinstance(value, int | float) for value in values)
    return list(dict.fromkeys(text(value, 4) for value in (sorted(values) if numeric else values)))


def _cut_outliers(axes: Axes, scores: np.ndarray) -> None:
    """Limits the axis to the range of most members, and writes how many are above it: one bad run would flatten the others."""
    low, middle, high = np.quantile(scores, [0, 0.5, 0.9])
    limit = high + 3 * max(high - low, 1e-6)
    if (outside := int((scores > limit).sum())) and middle < limit:
        axes.set_ylim(top=limit)
        axes.annotate(f"{outside} above", (0.98, 0.97), xycoords="axes fraction", ha="right", va="top", fontsize=9)


def _label(summary: Summary, shown: Sequence[Summary]) -> str:
    """Returns the values of a setting in which it differs from the other settings that are shown."""
    keys = [key for key in summary.values if len({text(other.values[key]) for other in shown}) > 1]
    label = ", ".join(f"{short(key, keys)} {text(summary.values[key], 3)}" for key in keys) or f"{summary.num_members} seeds"
    return label if len(label) <= 48 else label[:45] + "..."


def _fills_a_map(keys: Sequence[str], summaries: Sequence[Summary]) -> bool:
    """Returns whether at least half of the combinations of two keys were trained; keys drawn at random leave a map empty."""
    sizes = [len(_ordered([summary.values[key] for summary in summaries])) for key in keys]
    return len(summaries) > 3 and max(sizes) <= MAX_CELLS and len(summaries) >= 0.5 * sizes[0] * sizes[1]
