"""The one table of the benchmark, beside the published rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import markdown, print_table, write_csv
from experiments.uci.published import CRPS, NLL, ORDER, SHORT
from mdnjax.checkpoint import write_bytes

Row = dict[str, Any]
HEADER = ("table", "rows", "inputs", "by", "NLL", "CRPS", "RMSE", "in 95 %", "linear NLL", "scale floor", "at floor", "s a split")


def lines_of(scores: Sequence[Row]) -> list[list[str]]:
    """A line for each table and contender: mean and standard error over the splits."""
    lines = []
    for name, contender in dict.fromkeys((row["table"], row["contender"]) for row in scores):
        own = [row for row in scores if (row["table"], row["contender"]) == (name, contender)]
        finished = [row for row in own if row["status"] == "finished"]
        by = contender + (f" ({len(finished)} of {len(own)} splits)" if len(finished) < len(own) else "")
        cells = [SHORT.get(name, name), str(own[0]["num_rows"]), str(own[0]["num_inputs"]), by]
        cells += [_mean_and_error([row[key] for row in finished]) for key in ("nll", "crps", "rmse")]
        weights = [row["num_test"] for row in finished]
        covered = np.average([row["coverage_95"] for row in finished], weights=weights) if finished else math.nan
        at_floor, num_test = (sum(row[key] for row in finished) for key in ("num_at_floor", "num_test"))
        cells += [f"{100 * covered:.1f} %", f"{np.mean([row['linear_nll'] for row in own]):.3f}"]
        cells += [f"{np.mean([row['scale_floor'] for row in own]):.2g}", f"{at_floor} of {num_test}"]
        lines.append([*cells, f"{np.mean([row['seconds'] for row in own]):.0f}"])
    return lines


def comparison(scores: Sequence[Row]) -> list[list[str]]:
    """Mean NLL beside the published ones, for the tables that have any; and a line of CRPS."""
    there = [short for short in ORDER if any(SHORT.get(row["table"]) == short for row in scores)]
    if not there:
        return []
    finished = [row for row in scores if row["status"] == "finished"]
    lines = []
    for contender in dict.fromkeys(row["contender"] for row in scores):
        for key, label in (("nll", f"mdnjax, {contender}"), ("crps", f"CRPS: mdnjax, {contender}")):
            of = {
                short: [row[key] for row in finished if (SHORT.get(row["table"]), row["contender"]) == (short, contender)]
                for short in there
            }
            lines.append([label, *(_mean_and_error(of[short]) for short in there)])
    for label, values in NLL.items():
        shown = [values[ORDER.index(short)] for short in there]
        lines.append([label, *("" if one is None else f"{one[0]:.2f}" + f" ± {one[1]:.2f}" * (one[1] > 0) for one in shown)])
    for label, of in CRPS.items():
        cells = ["" if (value := of[ORDER.index(short)]) is None else f"{value:.3f}" for short in there]
        lines.append([f"CRPS: {label}", *cells])
    return [["mean test NLL", *there], *sorted(lines, key=lambda line: line[0].startswith("CRPS"))]


def write(folder: Path, scores: Sequence[Row]) -> None:
    """The table as CSV, and both as Markdown."""
    lines = lines_of(scores)
    write_csv(folder / "table.csv", list(HEADER), lines)
    both = [[list(HEADER), *lines], comparison(scores)]
    text = "\n\n".join(markdown(table) for table in both if table)
    write_bytes(folder / "table.md", f"{text}\n".encode())


def show(scores: Sequence[Row]) -> None:
    """Prints both."""
    title = "Test rows, mean ± standard error over the splits; NLL in nats, the rest in the target's units"
    print_table(title, [HEADER, *lines_of(scores)], left=HEADER[:1])
    if compared := comparison(scores):
        title = "Beside the published (their splits differ, and ± is a standard error or an sd)"
        print_table(title, compared, left=(compared[0][0], "by"))


def _mean_and_error(values: Sequence[float]) -> str:
    if not values:
        return ""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")
