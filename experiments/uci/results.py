"""The tables of the benchmark: its scores, and their comparison with published ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import markdown, print_table, write_csv
from experiments.uci.published import CRPS, NLL, ORDER, SHORT_NAMES
from mdnjax.checkpoint import write_bytes

Row = dict[str, Any]
HEADER = ("table", "rows", "inputs", "by", "NLL", "CRPS", "RMSE", "in 95 %", "linear NLL", "scale floor", "at floor", "s a split")


def summary(scores: Sequence[Row]) -> list[list[str]]:
    """Returns a row of cells for each table and contender: means and standard errors over the splits."""
    summaries = []
    for name, contender in dict.fromkeys((row["table"], row["contender"]) for row in scores):
        rows = [row for row in scores if (row["table"], row["contender"]) == (name, contender)]
        finished = [row for row in rows if row["status"] == "finished"]
        by = contender + (f" ({len(finished)} of {len(rows)} splits)" if len(finished) < len(rows) else "")
        cells = [SHORT_NAMES.get(name, name), str(rows[0]["num_rows"]), str(rows[0]["num_inputs"]), by]
        cells += [_mean_and_error([row[key] for row in finished]) for key in ("nll", "crps", "rmse")]
        weights = [row["num_test"] for row in finished]
        covered = np.average([row["coverage_95"] for row in finished], weights=weights) if finished else math.nan
        at_floor, num_test = (sum(row[key] for row in finished) for key in ("num_at_floor", "num_test"))
        cells += [f"{100 * covered:.1f} %", f"{np.mean([row['linear_nll'] for row in rows]):.3f}"]
        cells += [f"{np.mean([row['scale_floor'] for row in rows]):.2g}", f"{at_floor} of {num_test}"]
        summaries.append([*cells, f"{np.mean([row['seconds'] for row in rows]):.0f}"])
    return summaries


def comparison(scores: Sequence[Row]) -> list[list[str]]:
    """Returns mean NLL and CRPS with published values, header first, for the tables that have any; else an empty list."""
    names = [short for short in ORDER if any(SHORT_NAMES.get(row["table"]) == short for row in scores)]
    if not names:
        return []
    finished = [row for row in scores if row["status"] == "finished"]
    rows = []
    for contender in dict.fromkeys(row["contender"] for row in scores):
        for key, label in (("nll", f"mdnjax, {contender}"), ("crps", f"CRPS: mdnjax, {contender}")):
            by_table = {
                short: [row[key] for row in finished if (SHORT_NAMES.get(row["table"]), row["contender"]) == (short, contender)]
                for short in names
            }
            rows.append([label, *(_mean_and_error(by_table[short]) for short in names)])
    for label, values in NLL.items():
        pairs = [values[ORDER.index(short)] for short in names]
        rows.append([label, *("" if pair is None else f"{pair[0]:.2f}" + f" ± {pair[1]:.2f}" * (pair[1] > 0) for pair in pairs)])
    for label, values in CRPS.items():
        cells = ["" if (value := values[ORDER.index(short)]) is None else f"{value:.3f}" for short in names]
        rows.append([f"CRPS: {label}", *cells])
    return [["mean test NLL", *names], *sorted(rows, key=lambda row: row[0].startswith("CRPS"))]


def write(folder: Path, scores: Sequence[Row]) -> None:
    """Writes the summary as CSV, and summary and comparison as Markdown."""
    rows = summary(scores)
    write_csv(folder / "table.csv", list(HEADER), rows)
    tables = [[list(HEADER), *rows], comparison(scores)]
    text = "\n\n".join(markdown(table) for table in tables if table)
    write_bytes(folder / "table.md", f"{text}\n".encode())


def show(scores: Sequence[Row]) -> None:
    """Prints summary and comparison."""
    title = "Scores on the test rows, mean ± standard error over the splits: NLL in nats; CRPS and RMSE in the target's units"
    print_table(title, [HEADER, *summary(scores)], left=HEADER[:1])
    if compared := comparison(scores):
        title = "Comparison with published scores (mostly on other splits; ± is a standard error or an sd)"
        print_table(title, compared, left=(compared[0][0], "by"))


def _mean_and_error(values: Sequence[float]) -> str:
    if not values:
        return ""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")
