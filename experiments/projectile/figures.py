"""Pictures of aiming: arcs that hit, angles against the exact ones, misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.projectile.answers import HIT, Answers
from experiments.projectile.flight import path
from mdnjax.plots import DATA, MODEL, STYLE, TRUTH

MAX_QUESTIONS_SHOWN = 5
SECOND = "#0f9d8a"


def draw(asked: Answers, along: Sequence[Answers], tested: Answers) -> Iterator[tuple[str, Figure]]:
    """Every figure, by name; `along` are answers along the distance, for one speed and wind each."""
    yield "arcs", arcs(asked)
    yield "angles", angles(along)
    yield "misses", misses(tested)


def arcs(asked: Answers) -> Figure:
    """The flights that the network's modes launch, a panel for each question."""
    num = min(MAX_QUESTIONS_SHOWN, len(asked.question))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.5 + 3.1 * num, 3.2), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, num, sharey=True))
        for number, axes in enumerate(panels):
            _flights(axes, asked, number)
            speed, distance, wind = asked.question[number]
            axes.set_title(f"{speed:g} m/s, {_wind(wind)}", fontsize=10)
            axes.set(xlabel="m", xlim=(-2, 1.2 * distance))
        panels[0].set_ylabel("height, m")
        panels[0].set_ylim(0, panels[0].get_ylim()[1])
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def angles(along: Sequence[Answers]) -> Figure:
    """The modes against the distance, over the angles that truly hit; beyond the farthest there are none."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 3.4 * len(along), 3.6), layout="constrained")
        panels = figure.subplots(1, len(along), sharey=True, squeeze=False)[0]
        for axes, one in zip(panels, along, strict=True):
            distance = one.question[:, 1]
            for side in range(2):
                axes.plot(distance, one.exact[:, side], color=TRUTH, lw=5, alpha=0.4, label="exact" if side == 0 else None)
            shown = np.repeat(distance[:, None], one.angle.shape[1], axis=1)
            axes.scatter(shown, one.angle, s=4, color=MODEL, linewidths=0, label="modes")
            axes.axvline(float(one.farthest[0]), color=DATA, lw=1, ls="--", label="farthest")
            axes.set(xlabel="distance, m", title=f"{one.question[0, 0]:g} m/s, {_wind(one.question[0, 2])}", ylim=(0, 90))
        panels[0].set_ylabel("launch angle, degrees")
        panels[0].legend(loc="upper right")
    return figure


def misses(tested: Answers) -> Figure:
    """How far off the two modes land, against how far the target is."""
    share = tested.question[:, 1] / tested.farthest
    off = 100 * np.abs(np.take_along_axis(tested.miss, np.maximum(tested.of_arcs, 0), axis=1))
    off = np.where(tested.of_arcs < 0, np.nan, off)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        axes = figure.subplots()
        for side, name, colour in ((0, "low arc", MODEL), (1, "high arc", SECOND)):
            axes.scatter(share, np.maximum(off[:, side], 1e-4), s=5, color=colour, alpha=0.5, linewidths=0, label=name)
        axes.axhline(0.3, color=TRUTH, lw=1, ls="--", label="0.3 %")
        axes.axhline(100 * HIT, color=DATA, lw=1, ls=":", label=f"{100 * HIT:g} %: no hit")
        axes.axvline(1, color=DATA, lw=1)
        axes.set(xlabel="distance over the farthest that can be reached", ylabel="miss at the mode, %", yscale="log")
        axes.legend(loc="upper left", markerscale=2)
    return figure


def _wind(wind: float) -> str:
    return f"wind {wind:+g} m/s" if wind else "no wind"


def _flights(axes: Axes, asked: Answers, number: int) -> None:
    speed, distance, wind = map(float, asked.question[number])
    axes.axhline(0, color=DATA, lw=1)
    if not asked.within_reach[number]:
        axes.plot(*path(float(asked.farthest_angle[number]), speed, wind).T, color=DATA, lw=1.4, ls="--", label="farthest")
        axes.text(distance, 2.5, "out of reach", ha="center", va="bottom", fontsize=9, color=TRUTH)
    else:
        for side, (name, colour) in enumerate((("low arc", MODEL), ("high arc", SECOND))):
            mode = asked.of_arcs[number, side]
            if mode >= 0:
                axes.plot(*path(float(asked.angle[number, mode]), speed, wind).T, color=colour, lw=2, label=name)
    axes.plot(distance, 0, "x", color=TRUTH, ms=9, mew=2.4, clip_on=False, zorder=5, label="target")
