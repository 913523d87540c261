"""The tables of the benchmark: the scores of the networks, their comparison with published ones, and those of peers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.report import markdown, print_table, write_csv
from experiments.uci.published import CRPS, NLL, ORDER, SHORT_NAMES
from experiments.uci.runs import NETWORK, SINGLE
from mdnjax.checkpoint import write_bytes

Row = dict[str, Any]
HEADER = ("table", "rows", "inputs", "by", "NLL", "CRPS", "RMSE", "in 95 %", "linear NLL", "scale floor", "at floor", "s a split")
PEERS_HEADER = ("table", "by", "NLL", "CRPS", "RMSE", "in 90 %", "width 90 %", "s a split")

MEANS = "Scores on the test rows, mean ± standard error over the splits: NLL in nats"


class Shown(NamedTuple):
    """A table that is printed: the file that holds it as CSV, its title, and its cells with the header first."""

    file: str | None
    title: str
    cells: list[list[str]]


def summary(scores: Sequence[Row]) -> list[list[str]]:
    """Returns a row of cells for each table and contender: means and standard errors over the splits."""
    summaries = []
    for name, by, rows, finished in _groups(scores):
        cells = [name, str(rows[0]["num_rows"]), str(rows[0]["num_inputs"]), by]
        cells += [_mean_and_error([row[key] for row in finished]) for key in ("nll", "crps", "rmse")]
        at_floor, num_test = (sum(row[key] for row in finished) for key in ("num_at_floor", "num_test"))
        cells += [_covered(finished, "coverage_95"), f"{np.mean([row['linear_nll'] for row in rows]):.3f}"]
        cells += [f"{np.mean([row['scale_floor'] for row in rows]):.2g}", f"{at_floor} of {num_test}"]
        summaries.append([*cells, f"{np.mean([row['seconds'] for row in rows]):.0f}"])
    return summaries


def beside_peers(scores: Sequence[Row]) -> list[list[str]]:
    """Returns a row of cells for each table and contender, the peers after the networks; a score without a value is empty."""
    summaries = []
    for name, by, _, finished in sorted(_groups(scores), key=lambda group: group[0]):
        cells = [name, by, *(_mean_and_error([row[key] for row in finished]) for key in ("nll", "crps", "rmse"))]
        cells += [_covered(finished, "coverage_90"), _mean_and_error([row["width_90"] for row in finished])]
        summaries.append([*cells, f"{np.mean([row['seconds'] for row in finished]):.1f}" if finished else ""])
    return summaries


def _groups(scores: Sequence[Row]) -> Iterator[tuple[str, str, list[Row], list[Row]]]:
    """Yields, for each table and contender, their names, all rows and the finished ones."""
    for name, contender in dict.fromkeys((row["table"], row["contender"]) for row in scores):
        rows = [row for row in scores if (row["table"], row["contender"]) == (name, contender)]
        finished = [row for row in rows if row["status"] == "finished"]
        by = contender + (f" ({len(finished)} of {len(rows)} splits)" if len(finished) < len(rows) else "")
        yield SHORT_NAMES.get(name) or name, by, rows, finished


def _covered(finished: Sequence[Row], key: str) -> str:
    weights = [row["num_test"] for row in finished]
    return f"{100 * np.average([row[key] for row in finished], weights=weights):.1f} %" if finished else ""


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
    """Writes members.csv with a row of scores for each split, table.csv, peers.csv if there are peers, and all as Markdown."""
    columns = list(dict.fromkeys(key for row in scores for key in row))
    write_csv(folder / "members.csv", columns, [[row.get(column, "") for column in columns] for row in scores])
    shown = tables(scores)
    for table in shown:
        if table.file:
            write_csv(folder / table.file, table.cells[0], table.cells[1:])
    write_bytes(folder / "table.md", ("\n\n".join(markdown(table.cells) for table in shown) + "\n").encode())


def show(scores: Sequence[Row]) -> None:
    """Prints all tables."""
    for table in tables(scores):
        print_table(table.title, table.cells, left=(table.cells[0][0], "by"))


def tables(scores: Sequence[Row]) -> list[Shown]:
    """Returns the tables that have rows: the networks, the networks next to published scores, and the networks next to peers."""
    networks = [row for row in scores if row["contender"] in (NETWORK, SINGLE)]
    shown = []
    if networks:
        shown.append(Shown("table.csv", f"{MEANS}; CRPS and RMSE in the target's units", [list(HEADER), *summary(networks)]))
    if compared := comparison(networks):
        title = "Comparison with published scores (mostly on other splits; ± is a standard error or an sd)"
        shown.append(Shown(None, title, compared))
    if len(networks) < len(scores):
        title = f"{MEANS}; CRPS, RMSE and the median width of the 90 % interval in the target's units"
        shown.append(Shown("peers.csv", title, [list(PEERS_HEADER), *beside_peers(scores)]))
    return shown


def _mean_and_error(values: Sequence[float]) -> str:
    if not values or all(map(math.isnan, values)):
        return ""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")
