"""Figures of real and sampled drawings, and of the density of the next point along a drawing."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH
from mdnjax.mixture import Mixture, log_prob

NUM_GRID = 150
STEPS_PER_BLOCK = 8  # bounds the memory of densities over the whole grid
DECADES = 3.5  # range of the plotted densities


def sheet(real: Sequence[np.ndarray], sampled: dict[float, list[np.ndarray]]) -> Figure:
    """Plots a row of real drawings, and a row of sampled drawings for each temperature."""
    rows = [("real", DATA, list(real)), *((f"temperature {at:g}", MODEL, drawings) for at, drawings in sampled.items())]
    num = max(len(drawings) for _, _, drawings in rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.35 * num + 0.6, 1.4 * len(rows) + 0.3), layout="constrained")
        grid = figure.subplots(len(rows), num, squeeze=False)
        for panels, (label, colour, drawings) in zip(grid, rows, strict=True):
            for axes in panels:
                _hide_frame(axes)
            for axes, points in zip(panels, drawings, strict=False):
                _plot_drawing(axes, points, colour)
            panels[0].set_ylabel(label, visible=True)
    return figure


def continued(pairs: Sequence[tuple[np.ndarray, list[np.ndarray]]], begin: int, temperatures: Sequence[float]) -> Figure:
    """Plots test drawings and the continuations of their first `begin` points, which have another colour."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * (1 + len(temperatures)), 1.7 * len(pairs) + 0.4), layout="constrained")
        grid = figure.subplots(len(pairs), 1 + len(temperatures), squeeze=False)
        for panels, (original, sampled) in zip(grid, pairs, strict=True):
            for axes, points in zip(panels, [original, *sampled], strict=True):
                _hide_frame(axes)
                num = min(begin, len(original) - 1)
                _plot_drawing(axes, points, DATA if points is original else MODEL)
                _plot_drawing(axes, points[:num], TRUTH)
        for axes, title in zip(grid[0], ["test drawing", *(f"temperature {at:g}" for at in temperatures)], strict=True):
            axes.set_title(title)
        figure.suptitle(f"The first {begin} points are given", fontsize=12)
    return figure


def next_points(points: np.ndarray, mixture: Mixture, unit: float) -> Figure:
    """Plots the density of the next point: summed over all steps of a drawing `[L, 3]`, and at three of its steps.

    `mixture` has the batch `[L, 1]`, over offsets in units of training.
    """
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(points[:, :2], axis=0)])
    low, high = position.min(axis=0), position.max(axis=0)
    margin = 0.2 * float((high - low).max()) + 1
    x, y = (np.linspace(low[d] - margin, high[d] + margin, NUM_GRID, dtype=np.float32) for d in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = np.concatenate([_densities(mixture, grid, position, unit, at) for at in range(0, len(points), STEPS_PER_BLOCK)])
    down, jumps = points[:-1, 2] == 0, np.flatnonzero(points[:-1, 2] == 1) + 1
    inside = np.flatnonzero(down[1:] & down[:-1]) + 2  # preceded by a line of the same stroke
    steps = [("the first point", 0)]
    for name, candidates in (("in a stroke", inside), ("after a lift", jumps)):
        if len(candidates):
            steps.append((name, int(candidates[len(candidates) // 3])))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        axes = figure.subplot_mosaic([["all", "all", 0, 1], ["all", "all", 2, 3]])
        panels = [("all", "every step of a test drawing", density.sum(axis=0), len(points))]
        panels += [(i, f"{name}, step {step + 1}", density[step], step) for i, (name, step) in enumerate(steps)]
        for key, title, values, num in panels:
            _plot_density(axes[key], x, y, values)
            _plot_strokes(axes[key], points[:num], "black")
            if key != "all":
                axes[key].plot(*position[num + 1], "x", color=TRUTH, ms=8, mew=2)
            axes[key].set_title(title, fontsize=10)
        for i in range(len(steps), 4):
            axes[i].set_axis_off()
        axes[3].text(
            0, 0.5, f"black: the drawing so far\nred cross: the next point\nblue: log density, {DECADES:g} decades", va="center"
        )
    return figure


def _densities(mixture: Mixture, grid: np.ndarray, position: np.ndarray, unit: float, start: int) -> np.ndarray:
    """Returns densities of absolute positions `[steps, G, G]` for a block of steps."""
    block = mixture[start : start + STEPS_PER_BLOCK]
    num = block.logits.shape[0]
    offsets = (grid[None] - position[start : start + num, None]) / unit
    return np.exp(np.asarray(log_prob(block, offsets.astype(np.float32)))).reshape(num, NUM_GRID, NUM_GRID)


def _plot_density(axes: Axes, x: np.ndarray, y: np.ndarray, density: np.ndarray) -> None:
    highest = float(np.log10(density.max()))
    log_density = np.log10(np.maximum(density, 10 ** (highest - DECADES)))
    axes.pcolormesh(x, y, log_density, cmap="Blues", shading="nearest", rasterized=True)
    _hide_frame(axes)


def _hide_frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.invert_yaxis()
    for spine in axes.spines.values():
        spine.set_visible(False)


def _plot_drawing(axes: Axes, points: np.ndarray, colour: str) -> None:
    _plot_strokes(axes, points, colour)
    axes.autoscale_view()


def _plot_strokes(axes: Axes, points: np.ndarray, colour: str) -> None:
    """Plots one line for each stroke, without the movement of the lifted pen to its first point."""
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(points[:, :2], axis=0)])
    after_lifts = np.flatnonzero(points[:, 2] == 1) + 2
    strokes = [stroke for stroke in np.split(position, after_lifts) if len(stroke)]
    axes.add_collection(LineCollection(strokes, colors=colour, linewidths=1.1))
