"""Plots of a mixture over its data for one input and one target; each draws on a matplotlib Axes and returns it.

Every function takes x and y, numbers `[N]` or `[N, 1]`, and the mixture of each row, such as `predictor(x)` or
`MDNRegressor.predict_distribution(x)`. Rows may have any order. Without `ax` a new figure is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdnjax.mixture import Mixture, locations, log_prob, num_targets, weights
from mdnjax.scores import pit
from mdnjax.statistics import central_interval, median
from mdnjax.types import AnyArray

DATA, MODEL, TRUTH = "#9aa0a6", "#1f4e9c", "#c2410c"
MIN_WEIGHT_SHOWN = 0.02
NUM_GRID = 300
MAX_BINS = 20
MIN_ROWS_PER_BIN = 10
MAX_TICKS = 6
CORNER_BINS, CORNER_SMOOTHING = 30, 1.0
MAX_CORNER = 8  # parameters of a corner plot


def ribbon(x: AnyArray, y: AnyArray, mixture: Mixture, ax: Axes | None = None) -> Axes:
    """Draws each component's location with a band of one scale on either side, where its weight is above 0.02, over the data."""
    x, y, mixture, ax = _sorted(x, y, mixture, ax)
    _scatter(ax, x, y)
    draw_components(ax, x, mixture)
    return _finish(ax, x, y)


def curves(x: AnyArray, y: AnyArray, mixture: Mixture, levels: Sequence[float] = (0.5, 0.9), ax: Axes | None = None) -> Axes:
    """Draws the median and central intervals of these levels over the data. Raises: ValueError for a level outside of (0, 1)."""
    if wrong := [level for level in levels if not 0 < level < 1]:
        raise ValueError(f"levels: got {wrong[0]!r}, expected numbers between 0 and 1")
    x, y, mixture, ax = _sorted(x, y, mixture, ax)
    _scatter(ax, x, y)
    for level in sorted(levels, reverse=True):
        low, high = np.asarray(central_interval(mixture, level)).T
        ax.fill_between(x, low, high, color=MODEL, alpha=0.22, lw=0, label=f"{100 * level:g} % interval")
    ax.plot(x, np.asarray(median(mixture))[:, 0], color=MODEL, lw=1.8, label="median")
    ax.legend(frameon=False)
    return _finish(ax, x, y)


def density(x: AnyArray, y: AnyArray, mixture: Mixture, ax: Axes | None = None) -> Axes:
    """Draws the square root of the density p(y|x), which makes faint branches visible, and the data on it."""
    x, y, mixture, ax = _sorted(x, y, mixture, ax)
    grid = np.linspace(*padded_range(y), NUM_GRID, dtype=y.dtype)
    p = np.exp(np.asarray(log_prob(mixture[:, None], grid[:, None])))
    draw_density(ax, x, grid, p, vmax=float(np.max(p)))
    ax.scatter(x, y, s=4, color=TRUTH, alpha=0.5, linewidths=0)
    return _finish(ax, x, y)


def calibration(y: AnyArray, mixture: Mixture, ax: Axes | None = None) -> Axes:
    """Draws a histogram of the PIT, F(y|x), with the band that holds 95 % of the bars of a calibrated model.

    The bars are level if the model is calibrated, a valley if its intervals are too narrow, and a hill if they are too wide.
    There are at most 20 bars, each of 10 rows or more on average. Source: Gneiting et al. (2007), section 3.1.
    """
    y, ax = _column("y", y), _axes(ax)
    _check_mixture(mixture, len(y))
    draw_pit(ax, np.asarray(pit(mixture, y[:, None])))
    return ax


def draw_components(ax: Axes, x: np.ndarray, mixture: Mixture) -> None:
    """Draws locations and bands of one scale along x `[G]`, wherever a component's weight is above 0.02."""
    low, loc, high = (np.asarray(locations(mixture, step))[..., 0] for step in (-1.0, 0.0, 1.0))
    weight = np.asarray(weights(mixture))
    for k, colour in enumerate(component_colours(loc.shape[1])):
        shown = weight[:, k] > MIN_WEIGHT_SHOWN
        ax.fill_between(x, low[:, k], high[:, k], where=shown.tolist(), color=colour, alpha=0.3, lw=0)
        ax.plot(x, np.where(shown, loc[:, k], np.nan), color=colour, lw=1.6)


def draw_density(ax: Axes, x: np.ndarray, y: np.ndarray, p: np.ndarray, vmax: float) -> Any:
    """Draws the square root of a density `[G_x, G_y]`, and returns the image."""
    return ax.pcolormesh(x, y, np.sqrt(p).T, cmap="Blues", vmin=0, vmax=np.sqrt(vmax), shading="nearest", rasterized=True)


def draw_pit(ax: Axes, values: np.ndarray) -> None:
    """Draws a histogram of PIT values `[N]` with the 95 % band of calibrated bars."""
    num_bins = int(np.clip(len(values) // MIN_ROWS_PER_BIN, 2, MAX_BINS))
    half = 1.96 * np.sqrt(num_bins / len(values) * (1 - 1 / num_bins))
    ax.hist(values, bins=num_bins, range=(0, 1), density=True, color=MODEL, alpha=0.75, edgecolor="white")
    ax.axhspan(max(0, 1 - half), 1 + half, color=TRUTH, alpha=0.25, lw=0, label="95 % band of calibrated bars")
    ax.axhline(1, color=TRUTH, lw=1.2)
    ax.set(xlabel="PIT (probability below the observed value)", ylabel="density", xlim=(0, 1))
    ax.set_ylim(0, ax.get_ylim()[1] * 1.18)
    ax.legend(loc="upper center", frameon=False)


def padded_range(values: np.ndarray) -> tuple[float, float]:
    """Returns the range of the values, extended by an eighth of its length on either side."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = (high - low) / 8 or 0.5  # equal values need a range too
    return low - margin, high + margin


def component_colours(num_components: int) -> list:
    """Returns the colour of each component, the same in every figure."""
    if num_components <= 10:
        return [mpl.colormaps["tab10"](k) for k in range(num_components)]
    return [mpl.colormaps["turbo"](k / (num_components - 1)) for k in range(num_components)]


def corner(draws: AnyArray, names: Sequence[str], truth: Any = None, reference: AnyArray | None = None) -> Figure:
    """Draws a histogram of each parameter of `[S, D]` draws, and the regions of 50 and 90 % of each pair of them.

    `truth` are D true parameters, marked by lines; `reference` are draws of a second colour. Of more than eight parameters the
    first eight are drawn.
    Raises: ImportError if the package corner is not installed; ValueError if shapes do not fit together.
    """
    draws, names = np.asarray(draws, np.float64), list(names)
    if draws.ndim != 2 or draws.shape[1] != len(names):
        raise ValueError(f"draws: got shape {draws.shape}, expected [S, {len(names)}], a column for each name")
    if truth is not None and np.shape(truth) != (len(names),):
        raise ValueError(f"truth: got shape {np.shape(truth)}, expected [{len(names)}]")
    num = min(len(names), MAX_CORNER)
    shown = [(draws, MODEL)] if reference is None else [(np.asarray(reference, np.float64), TRUTH), (draws, MODEL)]
    figure = Figure(figsize=(1 + 1.9 * num, 1 + 1.9 * num))
    for values, colour in shown:
        _draw_corner(figure, values[:, :num], names[:num], None if truth is None else np.asarray(truth)[:num], colour)
    return figure


def _draw_corner(figure: Figure, draws: Any, names: Sequence[str], truth: Any, colour: str) -> None:
    """Draws one set of parameters on a figure, with the axes of the sets that are on it already."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # corner imports ArviZ where it is installed, which warns
            import corner as library
    except ImportError as error:
        raise ImportError(f"plots of posteriors need corner: pip install -e '.[posterior]' ({error})") from error
    low, high = np.quantile(draws, [0.002, 0.998], axis=0)
    if truth is not None:
        low, high = np.minimum(low, truth), np.maximum(high, truth)
    margin = 0.1 * (high - low) + 1e-9 * (np.abs(high) + np.abs(low)) + 1e-30
    ends = np.stack([low - margin, high + margin])
    diagonal = list(figure.axes[:: len(names) + 1])  # corner places the panels row by row
    tops = [axes.get_ylim()[1] for axes in diagonal]
    if diagonal:
        old = np.array([axes.get_xlim() for axes in diagonal]).T
        ends = np.stack([np.minimum(ends[0], old[0]), np.maximum(ends[1], old[1])])
    options: Any = {"truths": truth, "truth_color": "black", "color": colour, "levels": (0.5, 0.9), "bins": CORNER_BINS}
    options |= {"plot_datapoints": False, "smooth": CORNER_SMOOTHING, "hist_kwargs": {"density": True}}
    library.corner(draws, range=list(ends.T), labels=list(names), fig=figure, **options)
    for axes, top in zip(diagonal, tops, strict=True):
        axes.set_ylim(0, max(top, axes.get_ylim()[1]))


def _sorted(x: AnyArray, y: AnyArray, mixture: Mixture, ax: Axes | None) -> tuple[np.ndarray, np.ndarray, Mixture, Axes]:
    """Returns the rows in the order of x, and the axes to draw on."""
    x, y = _column("x", x), _column("y", y)
    if len(x) != len(y):
        raise ValueError(f"y: got {len(y)} numbers for {len(x)} rows of x")
    _check_mixture(mixture, len(x))
    order = np.argsort(x, kind="stable")
    return x[order], y[order], mixture[order], _axes(ax)


def _column(name: str, values: AnyArray) -> np.ndarray:
    numbers = np.asarray(values)
    if numbers.ndim not in (1, 2) or numbers.size != len(numbers) or not len(numbers):
        raise ValueError(f"{name}: got shape {numbers.shape}, expected [N] or [N, 1]: one number per row")
    return numbers.reshape(-1)


def _check_mixture(mixture: Mixture, num: int) -> None:
    if not isinstance(mixture, Mixture):
        raise TypeError(f"mixture: got {type(mixture).__name__}, expected a Mixture, such as predictor(x)")
    if num_targets(mixture) != 1:
        raise ValueError(
            f"mixture: got {num_targets(mixture)} targets, expected one; select it with mdnjax.marginal(mixture, (0,))"
        )
    if mixture.logits.shape[:-1] != (num,):
        raise ValueError(f"mixture: got batch shape {mixture.logits.shape[:-1]}, expected ({num},): one mixture for each row")


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only here: a program that draws on its own Axes may not want a backend with windows

    return plt.subplots(layout="constrained")[1]


def _scatter(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    ax.scatter(x, y, s=6, color=DATA, alpha=0.5, linewidths=0)


def _finish(ax: Axes, x: np.ndarray, y: np.ndarray) -> Axes:
    ax.set(xlim=(x[0], x[-1]), ylim=padded_range(y), xlabel="x", ylabel="y")
    ax.locator_params(nbins=MAX_TICKS)  # more labels would touch each other on small axes
    return ax
