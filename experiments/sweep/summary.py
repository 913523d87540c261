"""Tables of a sweep: one row for each member, and one for each setting, ranked by validation NLL and never by test NLL."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.members.parts import Row, finished
from experiments.pipeline import METRICS
from experiments.report import print_table, write_csv
from experiments.sentences import say

MAX_SHOWN_SETTINGS = 40
NEAR_BEST = 0.05  # nats
COLUMNS = (*METRICS, "training_seconds")

SHOWN_COLUMNS = (  # heading, metric, statistic
    ("validation", "validation_nll", "mean"),
    ("± se", "validation_nll", "se"),
    ("train", "train_nll", "mean"),
    ("test", "test_nll", "mean"),
    ("excess: mean", "excess_nll", "mean"),
    ("median", "excess_nll", "median"),
    ("worst", "excess_nll", "max"),
    ("of train, worst", "train_excess_nll", "max"),
    ("s", "training_seconds", "median"),
)
STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {
    "mean": np.mean,
    "sd": lambda values: np.std(values, ddof=1) if len(values) > 1 else math.nan,
    "se": lambda values: np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan,
    "min": np.min,
    "median": np.median,
    "max": np.max,
}


class Summary(NamedTuple):
    """A setting over its seeds; `statistics` are those of the members that finished, by metric and name.

    A member is near the best if its excess (its test NLL, where no truth is known) is within 0.05 nats of the smallest one that
    any member of the sweep reached on the same problem.
    """

    setting: int
    values: dict[str, Any]
    num_members: int
    num_diverged: int
    num_near_best: int
    statistics: dict[str, dict[str, float]]

    @property
    def score(self) -> float:
        """The mean validation NLL, by which settings are ranked; infinite if all members diverged."""
        return self.statistics["validation_nll"]["mean"] if self.statistics else math.inf


def summarise(settings: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[Summary]:
    """Summarises every setting over its seeds, problem by problem, with the lowest mean validation NLL first."""
    by_setting: dict[int, list[Row]] = {}
    best: dict[str, float] = {}
    for row in rows:
        by_setting.setdefault(row["setting"], []).append(row)
        best[row["problem"]] = min(best.get(row["problem"], math.inf), _excess_or_nll(row))
    summaries = [_summary(setting, settings[setting], of_setting, best) for setting, of_setting in by_setting.items()]
    problems = list(best)

    def rank(summary: Summary) -> tuple[int, float, int]:
        return problems.index(by_setting[summary.setting][0]["problem"]), summary.score, summary.setting

    return sorted(summaries, key=rank)


def best_row(best: Summary, rows: Sequence[Row]) -> Row:
    """Returns the row of the best setting's member with the lowest validation NLL."""
    of_setting = [row for row in finished(rows) if row["setting"] == best.setting]
    return min(of_setting, key=lambda row: row["validation_nll"])


def write_members(path: Path, settings: Sequence[dict[str, Any]], rows: Sequence[Row]) -> None:
    """Writes one row for each member: its settings, seed, status and numbers."""
    keys = [key for key in settings[0] if key != "seed"]  # every member has a column of its seed already
    first, *names = [name for name in rows[0] if name not in ("setting", "config", "problem")]
    cells = [[row[first], *(text(settings[row["setting"]][k]) for k in keys), *(row[name] for name in names)] for row in rows]
    write_csv(path, [first, *keys, *names], cells)


def write_summary(path: Path, summaries: Sequence[Summary]) -> None:
    """Writes one row for each setting, the best first; a statistic that is not defined (sd of one member) is empty."""
    keys = list(summaries[0].values)
    columns = [(metric, name) for metric in COLUMNS for name in STATISTICS]
    header = [
        "rank",
        "setting",
        *keys,
        "num_members",
        "num_diverged",
        "num_near_best",
        *(f"{metric}_{name}" for metric, name in columns),
    ]
    write_csv(path, header, [_csv_row(rank, summary, columns) for rank, summary in enumerate(summaries, start=1)])


def show(name: str, summaries: Sequence[Summary], seconds: float) -> None:
    """Prints the table of settings."""
    num_members, diverged = (sum(getattr(summary, key) for summary in summaries) for key in ("num_members", "num_diverged"))
    say(f"{name}: {num_members} members of {len(summaries)} settings, {diverged} diverged; ranked by mean validation NLL (nats)")
    keys = list(summaries[0].values)
    print_table(None, table_of(summaries), left=[short(key, keys) for key in keys])
    if len(summaries) > MAX_SHOWN_SETTINGS:
        say(f"and {len(summaries) - MAX_SHOWN_SETTINGS} more settings in summary.csv")
    say(f"training and scores: {seconds:.1f} s, {seconds / max(num_members, 1):.2f} s per member")


def table_of(summaries: Sequence[Summary]) -> list[list[str]]:
    """Returns the table of the best settings with its header."""
    keys = list(summaries[0].values)
    rows = [
        ["#", *(short(key, keys) for key in keys), "seeds", "diverged", *(heading for heading, *_ in SHOWN_COLUMNS), "near best"]
    ]
    for rank, summary in enumerate(summaries[:MAX_SHOWN_SETTINGS], start=1):
        values = [text(summary.values[key], 4) for key in keys]
        rows.append([str(rank), *values, str(summary.num_members), str(summary.num_diverged), *_numbers(summary)])
    return rows


def short(key: str, keys: Sequence[str]) -> str:
    """Returns the last part of a dotted key, or the whole key if another key ends in the same part."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in keys) > 1 else last


def text(value: Any, digits: int = 17) -> str:
    """Returns a value as the text of a table cell."""
    if isinstance(value, float):
        return f"{value:.{digits}g}" if digits < 17 else repr(value)
    return value if isinstance(value, str) else json.dumps(value)


def _excess_or_nll(row: Row) -> float:
    """Returns a member's excess over the truth, or its test NLL where no truth is known; infinite if it diverged."""
    if row["status"] != "finished":
        return math.inf
    return row["test_nll"] if math.isnan(row["excess_nll"]) else row["excess_nll"]


def _summary(setting: int, values: dict[str, Any], rows: Sequence[Row], best: dict[str, float]) -> Summary:
    near_best = sum(_excess_or_nll(row) <= best[row["problem"]] + NEAR_BEST for row in rows)
    trained = finished(rows)
    numbers = {metric: np.array([row[metric] for row in trained]) for metric in COLUMNS} if trained else {}
    statistics = {metric: {name: float(f(of)) for name, f in STATISTICS.items()} for metric, of in numbers.items()}
    return Summary(setting, values, len(rows), len(rows) - len(trained), near_best, statistics)


def _csv_row(rank: int, summary: Summary, columns: Sequence[tuple[str, str]]) -> list[Any]:
    numbers = [summary.statistics[metric][name] if summary.statistics else math.nan for metric, name in columns]
    cells = ["" if math.isnan(number) else number for number in numbers]
    counts = (summary.num_members, summary.num_diverged, summary.num_near_best)
    return [rank, summary.setting, *map(text, summary.values.values()), *counts, *cells]


def _numbers(summary: Summary) -> list[str]:
    if not summary.statistics:
        return [""] * len(SHOWN_COLUMNS) + ["0 %"]
    numbers = [summary.statistics[metric][name] for _, metric, name in SHOWN_COLUMNS]
    cells = ["" if math.isnan(number) else f"{number:.3f}" if abs(number) < 1e4 else f"{number:.1e}" for number in numbers]
    return [*cells, f"{100 * summary.num_near_best / summary.num_members:.0f} %"]
