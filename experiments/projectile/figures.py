"""Figures of the projectile: flights that hit, predicted angles compared with the exact ones, misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH, label_plainly
from experiments.projectile.evaluation import MAX_HIT_MISS, Launches
from experiments.projectile.flight import path

MAX_PANELS = 5
ARCS = (("low arc", MODEL), ("high arc", "#0f9d8a"))  # names and colours


def draw(examples: Launches, by_distance: Sequence[Launches], tested: Launches) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name; each of `by_distance` has many distances and one speed and wind."""
    yield "arcs", arcs(examples)
    yield "angles", angles(by_distance)
    yield "misses", misses(tested)


def arcs(examples: Launches) -> Figure:
    """Plots the flights of the predicted launch angles, one panel for each input."""
    num = min(MAX_PANELS, len(examples.x))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.5 + 3.1 * num, 3.2), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, num, sharey=True))
        for number, axes in enumerate(panels):
            _plot_flights(axes, examples, number)
            speed, distance, wind = examples.x[number]
            axes.set_title(f"{speed:g} m/s, {_wind_label(wind)}", fontsize=10)
            axes.set(xlabel="distance, m", xlim=(-2, 1.2 * distance))
        panels[0].set_ylabel("height, m")
        panels[0].set_ylim(0, panels[0].get_ylim()[1])
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def angles(by_distance: Sequence[Launches]) -> Figure:
    """Plots modes and exact angles against the distance; beyond the farthest landing no angle hits."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 3.4 * len(by_distance), 3.6), layout="constrained")
        panels = figure.subplots(1, len(by_distance), sharey=True, squeeze=False)[0]
        for axes, launches in zip(panels, by_distance, strict=True):
            distance = launches.x[:, 1]
            for side in range(2):
                axes.plot(distance, launches.exact[:, side], color=TRUTH, lw=5, alpha=0.4, label="exact" if side == 0 else None)
            repeated = np.repeat(distance[:, None], launches.angle.shape[1], axis=1)
            axes.scatter(repeated, launches.angle, s=4, color=MODEL, linewidths=0, label="modes")
            axes.axvline(float(launches.farthest[0]), color=DATA, lw=1, ls="--", label="farthest")
            axes.set(xlabel="distance, m", title=f"{launches.x[0, 0]:g} m/s, {_wind_label(launches.x[0, 2])}", ylim=(0, 90))
        panels[0].set_ylabel("launch angle, degrees")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=2)
    return figure


def misses(tested: Launches) -> Figure:
    """Plots the miss of the modes of both arcs against the distance as a share of the farthest landing."""
    share, percent = tested.x[:, 1] / tested.farthest, 100 * tested.miss_of_arc
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        axes = figure.subplots()
        for side, (name, colour) in enumerate(ARCS):
            axes.scatter(share, np.maximum(percent[:, side], 1e-4), s=5, color=colour, alpha=0.5, linewidths=0, label=name)
        axes.axhline(0.3, color=TRUTH, lw=1, ls="--", label="0.3 % of the distance")
        axes.axhline(100 * MAX_HIT_MISS, color=DATA, lw=1, ls=":", label=f"{100 * MAX_HIT_MISS:g} %: largest miss of a hit")
        axes.axvline(1, color=DATA, lw=1)
        axes.set(xlabel="distance / farthest landing", ylabel="miss of the mode, %", yscale="log")
        label_plainly(axes.yaxis)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    return figure


def _wind_label(wind: float) -> str:
    return f"wind {wind:+g} m/s" if wind else "no wind"


def _plot_flights(axes: Axes, examples: Launches, number: int) -> None:
    speed, distance, wind = map(float, examples.x[number])
    axes.axhline(0, color=DATA, lw=1)
    farthest = float(examples.farthest[number])
    if distance > farthest:  # by the laws of motion, whatever the network predicts
        axes.plot(*path(float(examples.farthest_angle[number]), speed, wind).T, color=DATA, lw=1.4, ls="--", label="farthest")
        _write(axes, f"out of reach:\nthe farthest is {farthest:.0f} m")
    modes = [(arc, examples.mode_of_arc[number, side]) for side, arc in enumerate(ARCS)]
    for (name, colour), mode in modes:
        if mode >= 0 and examples.predicted_within_reach[number]:
            axes.plot(*path(float(examples.angle[number, mode]), speed, wind).T, color=colour, lw=2, label=name)
    if distance <= farthest and not (examples.predicted_within_reach[number] and any(mode >= 0 for _, mode in modes)):
        _write(axes, "no angle predicted")
    axes.plot(distance, 0, "x", color=TRUTH, ms=9, mew=2.4, clip_on=False, zorder=5, label="target")


def _write(axes: Axes, text: str) -> None:
    """Writes into the upper right corner, above the arcs of a target that is not hit."""
    axes.text(0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=TRUTH)
