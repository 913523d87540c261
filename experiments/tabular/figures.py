"""Figures of predictions for the rows of a table, one for each target."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH, as_label
from mdnjax.data.atoms import Atoms
from mdnjax.data.units import own_units
from mdnjax.mixed import atom_probabilities
from mdnjax.mixture import Mixture, prob
from mdnjax.observed import PLAIN, Observed
from mdnjax.statistics.quick import quick_interval, quick_quantile

MAX_ROWS_SHOWN = 400  # in the figure of observed values with their intervals
LEVEL = 0.8
NUM_GRID = 400
MAX_TICKS = 6  # along a panel of a density: more labels of many digits would touch
LABEL = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}


def plot_observed(mixture: Mixture, y: np.ndarray, name: str, observed: Observed = PLAIN, which: str = "test rows") -> Figure:
    """Plots observed values of a single target against predicted medians, with the central interval of each row.

    Args: `observed` is in the units of the mixture; `which` says in the title which rows these are. Medians on a lattice are
    those before rounding, which hide fewer rows.
    """
    rows = np.linspace(0, len(y) - 1, min(len(y), MAX_ROWS_SHOWN)).astype(int)
    shown = mixture[rows]
    before_rounding = ", before rounding" * (observed.lattice is not None)
    middle, ends, values = _median_of(shown, observed._replace(lattice=None)), _interval_of(shown, LEVEL, observed), y[rows, 0]
    inside = _is_inside(values, ends.T, observed)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        for part, colour, label in ((inside, MODEL, "observed inside"), (~inside, TRUTH, "observed outside")):
            axes.vlines(middle[part], ends[part, 0], ends[part, 1], color=colour, alpha=0.3, lw=1)
            axes.scatter(middle[part], values[part], s=9, color=colour, linewidths=0, label=f"{label} ({part.sum()})")
        low, high = (float(end(np.concatenate([middle, values]))) for end in (np.min, np.max))
        axes.plot([low, high], [low, high], color=DATA, lw=1, ls="--", zorder=0)
        low, high = min(low, float(np.quantile(ends[:, 0], 0.01))), max(high, float(np.quantile(ends[:, 1], 0.99)))
        margin = 0.05 * (high - low)
        axes.set(
            xlabel=f"predicted median of {name}{before_rounding}",
            ylabel=f"observed {name}",
            ylim=(low - margin, high + 3 * margin),
        )
        axes.set_title(f"{len(values)} {which} with their {100 * LEVEL:.0f} % intervals")
        axes.legend(loc="upper left")
    return figure


def typical_and_extreme(mixture: Mixture, nll: np.ndarray) -> list[tuple[str, int]]:
    """Returns up to six different rows, each with what it is an example of; if a row is taken already, the next one is used."""
    middle, ends = np.asarray(quick_quantile(mixture, 0.5))[:, 0], np.asarray(quick_interval(mixture, LEVEL))
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


def plot_densities(
    mixture: Mixture,
    y: np.ndarray,
    nll: np.ndarray,
    numbers: Sequence[int],
    name: str,
    observed: Observed = PLAIN,
) -> Figure:
    """Plots the density of a single target and its observed value at a few rows; `numbers` are their row numbers in the file.

    Args: `observed` is in the units of the mixture. Each atom is a bar with its probability, and values of a lattice are bars
    alone. The curve is the density of the mixture, before recalibration; the interval is that after it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.4), layout="constrained")
        panels = figure.subplots(2, 3)
        examples = typical_and_extreme(mixture, nll)
        for axes in list(panels.flat)[len(examples) :]:
            axes.set_axis_off()
        for axes, (label, row) in zip(panels.flat, examples, strict=False):
            wide, ends = (_interval_of(mixture[[row]], level, observed)[0] for level in (0.998, LEVEL))
            low, high = min(wide[0], y[row, 0]), max(wide[1], y[row, 0])
            margin = 0.05 * (high - low)
            if _draw_lattice(axes, mixture[[row]], observed, (low, high), ends):
                axes.set_ylabel("probability")
            else:
                _draw_density(axes, mixture[row], observed.atoms, (low - margin, high + margin), ends)
                axes.set(yticks=[])
            axes.axvline(y[row, 0], color=TRUTH, lw=1.4)
            axes.locator_params(axis="x", nbins=MAX_TICKS)
            axes.set(title=f"row {numbers[row]}: {label}", xlabel=name, ylim=(0, None))
        bars = "" if observed.lattice is not None or not len(observed.values) else ", bars for values with a probability"
        figure.suptitle(f"p({name} | row): {100 * LEVEL:.0f} % interval shaded, observed value in orange{bars}", fontsize=12)
    return figure


def _draw_lattice(axes: Axes, mixture: Mixture, observed: Observed, limits: tuple[float, float], ends: np.ndarray) -> bool:
    """Draws the probability of each value as a bar, those in the interval darker; returns False if there are too many or none."""
    values = np.zeros(0) if observed.lattice is None else observed.values
    shown = _is_inside(values, limits, observed)
    if observed.lattice is None or not 0 < shown.sum() <= NUM_GRID:
        return False
    shares, width = observed.probabilities(mixture, own_units(1))[0][shown], 0.8 * float(observed.lattice.step[0])
    for part, alpha in ((inside := _is_inside(values[shown], ends, observed), 0.75), (~inside, 0.25)):
        axes.bar(values[shown][part], shares[part], width, color=MODEL, alpha=alpha, lw=0)
    return True


def _draw_density(axes: Axes, single: Mixture, atoms: Atoms | None, limits: tuple[float, float], ends: np.ndarray) -> None:
    """Draws the density as a curve, filled in the interval, and the atoms as bars."""
    grid = np.linspace(*limits, NUM_GRID, dtype=np.float32)
    density = _density(single, grid, atoms)
    axes.plot(grid, density, color=MODEL, lw=1.8)
    axes.fill_between(grid, density, where=((grid >= ends[0]) & (grid <= ends[1])).tolist(), color=MODEL, alpha=0.2, lw=0)
    if atoms is not None:
        _draw_atoms(axes, single, atoms, float(density.max()))


def _is_inside(values: np.ndarray, ends: np.ndarray | tuple[float, float], observed: Observed) -> np.ndarray:
    """Returns which values are inside of intervals; on a lattice a difference below half a step is a rounding error."""
    half = 0.0 if observed.lattice is None else float(observed.lattice.step[0]) / 2
    return (ends[0] - half <= values) & (values <= ends[1] + half)


def _median_of(mixture: Mixture, observed: Observed) -> np.ndarray:
    """Returns the median of each row, after recalibration, and on its lattice or with its atoms."""
    if observed.recalibration is None:
        return np.asarray(observed.quantiles(np.asarray(quick_quantile(mixture, 0.5))))[:, 0]
    return np.asarray(observed.mixture_quantiles(mixture, np.array([0.5])))[:, 0]


def _interval_of(mixture: Mixture, level: float, observed: Observed) -> np.ndarray:
    """Returns both ends of the central interval of each row, after recalibration, and on its lattice or with its atoms."""
    if observed.recalibration is None:
        return np.asarray(observed.quantiles(np.asarray(quick_interval(mixture, level))))
    return np.asarray(observed.mixture_intervals(mixture, np.array([level])))[..., 0, :]


def _density(single: Mixture, y: np.ndarray, atoms: Atoms | None) -> np.ndarray:
    """Returns the density of a target at values, 0 beyond an atom that is the smallest or largest one."""
    if atoms is None:
        return np.asarray(prob(single, y[:, None]))
    shown = atoms._replace(low=np.where(atoms.censored > 0, atoms.high, atoms.low))  # predictions have no bounds of censoring
    density = np.asarray(prob(single, shown.latent(y[:, None]).astype(np.float32)))
    return np.where(shown.place_of(y[:, None])[:, 0] < 0, density, 0)


def _draw_atoms(axes: Axes, single: Mixture, atoms: Atoms, top: float) -> None:
    """Draws each atom as a bar whose height is its probability times that of the figure, and writes the probability beside it."""
    for place, share in zip(atoms.predicted, atom_probabilities(single[None], own_units(1), atoms)[0], strict=True):
        at = float(atoms.value[place])
        axes.vlines(at, 0, share * top, color=MODEL, lw=5, alpha=0.75)
        axes.annotate(f"P = {share:.2f}", (at, share * top), xytext=(5, 3), textcoords="offset points", fontsize=8, bbox=LABEL)


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
