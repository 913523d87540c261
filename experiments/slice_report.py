"""Where not to trust a model: table, file and figure of the slices of its test rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.charts import DATA, MODEL, STYLE, TRUTH, as_label
from experiments.report import print_table, write_csv
from experiments.sentences import say
from mdnjax.slices import Slice, Slices
from mdnjax.slices.report import Calibration

SLICES_FILE = "slices.csv"
MAX_PRINTED = 12
MAX_DRAWN = 25
ENDS = ("lowest", "highest", "observed")
PANELS = (
    ("inside_90", 0.9, "share inside of the 90 % intervals"),
    ("mean_pit", 0.5, "mean PIT (low: predictions too high)"),
)
HEADINGS = ("slice", "rows", "in 50 %", "in 90 %", "mean PIT", "p, corrected", "what is wrong")


def show_slices(slices: Slices) -> None:
    """Prints what was looked at, and the slices in which the model is wrong."""
    wrong = slices.wrong()
    if not wrong:
        say(slices.summary())
        return
    print_table(slices.summary(), table_of_wrong(slices), HEADINGS[:1])
    if len(wrong) > MAX_PRINTED:
        say(f"and {len(wrong) - MAX_PRINTED} more in {SLICES_FILE}")


def table_of_wrong(slices: Slices) -> list[list[str]]:
    """Returns the slices in which the model is wrong as a table of texts with its header; of many the first ones."""
    return [list(HEADINGS), *(_cells(one, slices.name(one)) for one in slices.wrong()[:MAX_PRINTED])]


def write_slices(folder: Path, slices: Slices) -> None:
    """Writes all slices, the worst first, with all digits."""
    plain = [name for name in Slice._fields if name not in ENDS]
    nested = [(kind, name) for kind in ENDS for name in Calibration._fields]
    rows = [
        [*(getattr(one, name) for name in plain), *(getattr(getattr(one, kind), name) for kind, name in nested)]
        for one in slices.worst_first()
    ]
    write_csv(folder / SLICES_FILE, [*plain, *(f"{kind}_{name}" for kind, name in nested)], rows)


def plot_slices(slices: Slices, width_label: str = "") -> Iterator[tuple[str, Figure]]:
    """Plots coverage and mean PIT of the worst slices, next to what chance explains; nothing if there are too few rows.

    With a label, a third panel has the median widths of the intervals, next to that of all rows.
    """
    shown = slices.worst_first()[:MAX_DRAWN]
    if not shown:
        return
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13 if width_label else 10, 1.4 + 0.25 * len(shown)), layout="constrained")
        panels = figure.subplots(1, 3 if width_label else 2, sharey=True)
        places = np.arange(len(shown))
        for axes, (name, expected, label) in zip(panels, PANELS, strict=False):
            low, high, observed = (_values(shown, kind, name) for kind in ENDS)
            axes.barh(places, high - low, left=low, height=0.62, color=DATA, alpha=0.25, label="range by chance")
            axes.use_sticky_edges = False
            _draw_values(axes, shown, observed, expected, label)
        if width_label:
            _draw_widths(panels[-1], slices, shown, width_label)
        panels[0].set_yticks(places, [as_label(_shortened(slices.name(one))) for one in shown])
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(f"Slices of {slices.num_rows} test rows, the worst first")
    yield "slices", figure


def _draw_values(axes: Axes, shown: Sequence[Slice], values: np.ndarray, expected: float, label: str) -> None:
    """Draws a dot for each slice, and a line at the expected value."""
    axes.axvline(expected, color=DATA, lw=1, ls="--")
    for wrong, colour, text in ((True, TRUTH, "wrong"), (False, MODEL, "not called wrong")):
        places = np.flatnonzero([one.is_wrong == wrong for one in shown])
        axes.scatter(values[places], places, s=24, color=colour, label=text, zorder=3)
    axes.set_xlabel(label)


def _draw_widths(axes: Axes, slices: Slices, shown: Sequence[Slice], label: str) -> None:
    """Draws the median widths of intervals; those of several targets are shares of the median width of all rows."""
    of_all = {one.target: one.median_width or 0.0 for one in slices.slices if one.kind == "all rows"}
    several = len(of_all) > 1  # a width of 0 is that of an atom
    unit = {target: (width or 1.0) if several else 1.0 for target, width in of_all.items()}
    widths = np.array([(one.median_width or 0.0) / unit[one.target] for one in shown])
    label += ",\nas a share of that of all rows" * several
    _draw_values(axes, shown, widths, 1.0 if several else max(of_all.values()), label)
    axes.set_xlim(0, 1.05 * max(widths[np.isfinite(widths)], default=0) or 1)


def _values(shown: Sequence[Slice], kind: str, name: str) -> np.ndarray:
    return np.array([getattr(getattr(one, kind), name) for one in shown])


def _shortened(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"


def _cells(one: Slice, name: str) -> list[str]:
    shares = [f"{100 * share:.1f} %" for share in one.observed[:2]]
    return [name, str(one.num_rows), *shares, f"{one.observed.mean_pit:.3f}", f"{one.corrected:.2g}", one.fault]
