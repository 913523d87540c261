"""One honest table: a row a member, a row a setting, ranked by validation and never by test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.members.parts import Row
from experiments.pipeline import METRICS
from experiments.report import print_table, write_csv

SHOWN_SETTINGS = 40
NEAR = 0.05  # nats
COLUMNS = (*METRICS, "training_seconds")

SHOWN = (  # heading, metric, statistic
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
    """A setting over its seeds; the statistics are of the members that finished, metric by metric.

    Near the best are members within 0.05 nats of the smallest excess (NLL, where no truth is known) that any setting reached on
    the same problem.
    """

    setting: int
    values: dict[str, Any]
    num_members: int
    num_diverged: int
    num_near_best: int
    statistics: dict[str, dict[str, float]]

    @property
    def score(self) -> float:
        """What settings are ranked by; lower is better."""
        return self.statistics["validation_nll"]["mean"] if self.statistics else math.inf


def summarise(settings: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[Summary]:
    """Every setting over its seeds, problem by problem, the best by mean validation NLL first."""
    by_setting: dict[int, list[Row]] = {}
    best: dict[str, float] = {}
    for row in rows:
        by_setting.setdefault(row["setting"], []).append(row)
        best[row["problem"]] = min(best.get(row["problem"], math.inf), _quality(row))
    summaries = [_summary(setting, settings[setting], of_setting, best) for setting, of_setting in by_setting.items()]
    problems = list(best)
    return sorted(summaries, key=lambda one: (problems.index(by_setting[one.setting][0]["problem"]), one.score, one.setting))


def best_row(best: Summary, rows: Sequence[Row]) -> Row:
    """The member of the best setting with the lowest validation NLL."""
    finished = [row for row in rows if row["setting"] == best.setting and row["status"] == "finished"]
    return min(finished, key=lambda row: row["validation_nll"])


def write_members(path: Path, settings: Sequence[dict[str, Any]], rows: Sequence[Row]) -> None:
    """One row a member: its settings, seed, status and numbers."""
    keys = [key for key in settings[0] if key != "seed"]  # each member tells its own
    first, *names = [name for name in rows[0] if name not in ("setting", "config", "problem")]
    lines = [[row[first], *(text(settings[row["setting"]][k]) for k in keys), *(row[name] for name in names)] for row in rows]
    write_csv(path, [first, *keys, *names], lines)


def write_summary(path: Path, summaries: Sequence[Summary]) -> None:
    """One row a setting, the best first; a statistic that there is not (sd of one member) is empty."""
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
    write_csv(path, header, [_summary_line(rank, summary, columns) for rank, summary in enumerate(summaries, start=1)])


def show(name: str, summaries: Sequence[Summary], seconds: float) -> None:
    """Prints the table of settings."""
    num, diverged = (sum(getattr(one, key) for one in summaries) for key in ("num_members", "num_diverged"))
    print(f"{name}: {num} members of {len(summaries)} settings, {diverged} diverged; ranked by mean validation NLL (nats)")
    keys = list(summaries[0].values)
    names = [short(key, keys) for key in keys]
    rows = [["#", *names, "seeds", "diverged", *(heading for heading, *_ in SHOWN), "near best"]]
    for rank, one in enumerate(summaries[:SHOWN_SETTINGS], start=1):
        cells = [str(rank), *(text(one.values[key], 4) for key in keys), str(one.num_members), str(one.num_diverged)]
        rows.append([*cells, *_numbers(one)])
    print_table(None, rows, left=names)
    if len(summaries) > SHOWN_SETTINGS:
        print(f"and {len(summaries) - SHOWN_SETTINGS} more in summary.csv")
    print(f"training and scores: {seconds:.1f} s, {seconds / max(num, 1):.2f} s a member")


def short(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key, or all of it where two keys end alike."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in keys) > 1 else last


def text(value: Any, digits: int = 17) -> str:
    """A value as it stands in a table."""
    if isinstance(value, float):
        return f"{value:.{digits}g}" if digits < 17 else repr(value)
    return value if isinstance(value, str) else json.dumps(value)


def _quality(row: Row) -> float:
    """What a member is compared by: its excess over the truth, or its NLL where no truth is known."""
    if row["status"] != "finished":
        return math.inf
    return row["test_nll"] if math.isnan(row["excess_nll"]) else row["excess_nll"]


def _summary(setting: int, values: dict[str, Any], rows: Sequence[Row], best: dict[str, float]) -> Summary:
    near = sum(_quality(row) <= best[row["problem"]] + NEAR for row in rows)
    finished = [row for row in rows if row["status"] == "finished"]
    numbers = {metric: np.array([row[metric] for row in finished]) for metric in COLUMNS} if finished else {}
    statistics = {metric: {name: float(f(of)) for name, f in STATISTICS.items()} for metric, of in numbers.items()}
    return Summary(setting, values, len(rows), len(rows) - len(finished), near, statistics)


def _summary_line(rank: int, one: Summary, columns: Sequence[tuple[str, str]]) -> list[Any]:
    numbers = [one.statistics[metric][name] if one.statistics else math.nan for metric, name in columns]
    cells = ["" if math.isnan(number) else number for number in numbers]
    return [rank, one.setting, *map(text, one.values.values()), one.num_members, one.num_diverged, one.num_near_best, *cells]


def _numbers(one: Summary) -> list[str]:
    if not one.statistics:
        return [""] * len(SHOWN) + ["0 %"]
    numbers = [one.statistics[metric][name] for _, metric, name in SHOWN]
    cells = ["" if math.isnan(number) else f"{number:.3f}" if abs(number) < 1e4 else f"{number:.1e}" for number in numbers]
    return [*cells, f"{100 * one.num_near_best / one.num_members:.0f} %"]
