"""Figures of data, training runs and mixtures of one input and one target; `plot_*` returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from mdnjax.mixture import Mixture
from mdnjax.plots import (
    DATA,
    MIN_WEIGHT_SHOWN,
    MODEL,
    TRUTH,
    component_colours,
    draw_components,
    draw_density,
    draw_pit,
    padded_range,
)
from mdnjax.statistics import Region
from mdnjax.training.history import History

STYLE: dict[Any, Any] = {
    "figure.dpi": 130,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
MIN_OPACITY = 0.06  # of a component of weight 0
MAX_POINTS = 900  # over regions
SHARE_BELOW_DARKEST = 0.9  # of the exact densities that are not negligible: a single peak would leave all others pale

Points: TypeAlias = tuple[np.ndarray, np.ndarray]  # x[N, 1] and y[N, 1]


class Names(NamedTuple):
    """Labels of the axes of the input x and the target y."""

    x: str
    y: str


def plot_points(points: Sequence[tuple[str, np.ndarray, np.ndarray]], names: Names, title: str) -> Figure:
    """Plots one or two sets of points (label, x[N, 1], y[N, 1]), the first in the colour of data, the second in the model's."""
    figure, axes = _figure(title, names)
    for (label, x, y), colour in zip(points, (DATA, MODEL), strict=False):
        axes.scatter(x, y, s=7, color=colour, alpha=0.6, linewidths=0, label=label, rasterized=True)
    _legend_of_points(axes)
    return figure


def plot_regression(points: Points, x: np.ndarray, prediction: np.ndarray, names: Names, title: str) -> Figure:
    """Plots a prediction y[G, 1] along x[G, 1] over the data."""
    figure, axes = _figure(title, names)
    axes.scatter(*points, s=7, color=DATA, alpha=0.6, linewidths=0, label="data")
    axes.plot(x, prediction, color=MODEL, lw=2.2, label="network")
    _legend_of_points(axes)
    return figure


def plot_history(
    history: History, truth_nll: float | None = None, truth_train_nll: float | None = None, *, noisy: bool = False
) -> Figure:
    """Plots the training loss and the validation NLL against the step, with the NLL of the true distribution if it is known.

    Args: `noisy` says whether noise was added to the examples of the training loss, which raises it.
    """
    figure, axes = _figure("Training of the mixture density network", Names("step", "nats per example"))
    steps, finite = np.arange(len(history.loss)), history.loss[np.isfinite(history.loss)]
    axes.plot(
        steps, history.loss, color=DATA, lw=1, label="training loss, with noise added to the points" if noisy else "training loss"
    )
    axes.plot(history.report_steps, history.validation_scores, color=MODEL, lw=1.8, label="NLL, validation points")
    if truth_train_nll is not None:
        axes.axhline(truth_train_nll, color=TRUTH, lw=1.2, ls="--", label="NLL of the truth, training points")
    floors = [floor for floor in (truth_train_nll, truth_nll) if floor is not None]
    low, high = min([*floors, finite.min()]), np.quantile(finite, 0.995)
    if not floors:  # then the validation NLL has to be visible, as the only reference
        low, high = min(low, history.validation_scores.min()), max(high, np.quantile(history.validation_scores, 0.9))
    axes.set_ylim(low - 0.08 * (high - low), high + 0.15 * (high - low))
    with mpl.rc_context(STYLE):
        axes.legend()
    return figure


def plot_components(x: np.ndarray, values: np.ndarray, weight: np.ndarray, names: Names, title: str, log: bool = False) -> Figure:
    """Plots one curve per component, values[G, K] along x[G], with an opacity that increases with the component's weight."""
    figure, axes = _figure(title, names)
    for k, colour in enumerate(component_colours(values.shape[1])):
        _draw_weighted_curve(axes, x, values[:, k], weight[:, k], colour)
    if log := log and bool((values > 0).any()):  # a logarithmic axis cannot show values that all round to 0
        axes.set_yscale("log")
    shown = values[weight > MIN_WEIGHT_SHOWN]
    axes.set_xlim(x[0], x[-1])
    smallest = max(shown.min(), np.finfo(np.float32).tiny)
    axes.set_ylim(*((smallest / 1.5, shown.max() * 1.5) if log else padded_range(shown)))
    if log:
        label_plainly(axes.yaxis)
    _component_legend(axes, values.shape[1])
    return figure


def plot_ribbon(points: Points, x: np.ndarray, mixture: Mixture, names: Names, title: str) -> Figure:
    """Plots the locations, with a ribbon of one scale on either side, over the data."""
    figure, axes = _figure(title, names)
    draw_ribbon(axes, points, x, mixture)
    _component_legend(axes, mixture.logits.shape[-1])
    return figure


def plot_density(x: np.ndarray, y: np.ndarray, learnt: np.ndarray, exact: np.ndarray, names: Names, title: str) -> Figure:
    """Plots two densities p(y|x)[G_x, G_y] side by side with the same colour scale."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        figure.suptitle(title, fontsize=12)
        vmax = float(np.quantile(exact[exact > 0.01 * exact.max()], SHARE_BELOW_DARKEST))
        for axes, density, label in ((left, learnt, "learnt"), (right, exact, "exact")):
            image = draw_density(axes, x, y, density, vmax)
            axes.set(title=label, xlabel=names.x)
        left.set_ylabel(names.y)
        figure.colorbar(image, ax=(left, right), label="square root of the density", pad=0.01, extend="max")
    return figure


def plot_intervals(
    points: Points, x: np.ndarray, regions: Sequence[tuple[str, Region]], branches: np.ndarray, names: Names, title: str
) -> Figure:
    """Plots highest-density regions (label, Region of batch [G]) along x[G], largest first, branches[B, G] of modes and data."""
    figure, axes = _figure(title, names)
    shown = np.linspace(0, len(points[0]) - 1, min(len(points[0]), MAX_POINTS)).astype(int)  # more would hide the regions
    axes.scatter(*(values[shown] for values in points), s=5, color=DATA, alpha=0.5, linewidths=0, label="data", zorder=2)
    step = (x[1] - x[0]) / 2
    for number, (label, region) in enumerate(regions):
        low, high = np.asarray(region.low), np.asarray(region.high)
        cells = [
            [(x[i] - step, low[i, j]), (x[i] + step, low[i, j]), (x[i] + step, high[i, j]), (x[i] - step, high[i, j])]
            for i, j in np.argwhere(~np.isnan(low))
        ]
        shade = mpl.colormaps["Blues"](0.2 + 0.25 * number)
        axes.add_collection(PolyCollection(cells, facecolors=shade, edgecolors="none", antialiased=False, zorder=1, label=label))
    for number, branch in enumerate(branches):
        axes.plot(x, branch, color=TRUTH, lw=1.6, zorder=3, label="modes" if number == 0 else None)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(*padded_range(points[1]))
    with mpl.rc_context(STYLE):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return figure


def plot_calibration(pit: np.ndarray) -> Figure:
    """Plots a histogram of the PIT with the 95 % band of a calibrated model, and the coverage of central intervals next to it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        figure.suptitle("Calibration on the test points", fontsize=12)
        draw_pit(left, pit)
        levels = np.linspace(0, 1, 101)
        covered = np.mean(np.abs(pit - 0.5)[:, None] <= levels / 2, axis=0)
        right.plot([0, 1], [0, 1], color=TRUTH, lw=1.2, ls="--", label="calibrated")
        right.plot(levels, covered, color=MODEL, lw=2, label="network")
        right.set(
            xlabel="level of the central interval", ylabel="share of points inside", xlim=(0, 1), ylim=(0, 1), aspect="equal"
        )
        right.legend(loc="upper left")
    return figure


def plot_overview(
    points: Points,
    x: np.ndarray,
    mixture: Mixture,
    y: np.ndarray,
    density: np.ndarray,
    sampled: Points,
    names: Names,
) -> Figure:
    """Plots the ribbons over the data, the density and samples side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.9), layout="constrained")
        first, second, third = figure.subplots(1, 3, sharex=True, sharey=True)
        draw_ribbon(first, points, x, mixture)
        first.set_title("data and components")
        draw_density(second, x, y, density, vmax=float(density.max()))
        second.set_title("learnt density")
        third.scatter(*sampled, s=7, color=MODEL, alpha=0.6, linewidths=0)
        third.set_title("samples from the fit")
        for axes in (first, second, third):
            axes.set_xlabel(names.x)
        first.set_ylabel(names.y)
    return figure


def draw_ribbon(axes: Axes, points: Points, x: np.ndarray, mixture: Mixture) -> None:
    """Draws the data, and each component's location with a ribbon of one scale along x[G]."""
    axes.scatter(*points, s=6, color=DATA, alpha=0.5, linewidths=0)
    draw_components(axes, x, mixture)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(*padded_range(points[1]))


def as_label(name: str) -> str:
    """Returns a user's name as matplotlib shows it literally: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def label_plainly(axis: Axis) -> None:
    """Labels a logarithmic axis, whose limits are set, by plain numbers such as 0.6, at more of them where it is short."""
    low, high = axis.get_view_interval()
    decades = abs(float(np.log10(high / low)))
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 6, 8) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _figure(title: str, names: Names) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.set(title=title, xlabel=names.x, ylabel=names.y)
    return figure, axes


def _draw_weighted_curve(axes: Axes, x: np.ndarray, y: np.ndarray, weight: np.ndarray, colour: tuple) -> None:
    """Draws a curve that is fainter where the weight is smaller."""
    points = np.stack([x, y], axis=1)
    segments = np.stack([points[:-1], points[1:]], axis=1)
    colours = np.tile(np.array(colour), (len(segments), 1))
    colours[:, 3] = np.clip(3 * weight[:-1], MIN_OPACITY, 1)
    axes.add_collection(LineCollection(list(segments), colors=colours, linewidths=1.8))


def _legend_of_points(axes: Axes) -> None:
    with mpl.rc_context(STYLE):
        legend = axes.legend(loc="upper left", markerscale=2)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)


def _component_legend(axes: Axes, num_components: int) -> None:
    if num_components > 20:
        return
    with mpl.rc_context(STYLE):
        handles = [Line2D([], [], color=c, lw=2.5) for c in component_colours(num_components)]
        labels = [str(k + 1) for k in range(num_components)]
        axes.legend(handles, labels, title="component", loc="center left", bbox_to_anchor=(1, 0.5))
