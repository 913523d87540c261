"""Puts finished runs side by side: settings that differ, scores, and paired differences where the test rows are the same."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.command import UserError, one_line_errors
from experiments.report import figures, print_table
from experiments.run_folder import KEYS_WITHOUT_EFFECT, flat
from experiments.sentences import say
from experiments.study import TEST_SCORES_FILE
from mdnjax.config.document import parse

SCORES = ("train_nll", "validation_nll", "test_nll", "excess_nll", "test_crps", "coverage_50", "coverage_90")
PAIRED = {"nll": "NLL", "crps": "CRPS"}


class FinishedRun(NamedTuple):
    """The configuration by dotted key, the scores, and the scores of each test row of a finished run."""

    name: str
    settings: dict[str, Any]
    scores: dict[str, float]
    test: dict[str, np.ndarray]


def compare(folders: Sequence[str]) -> None:
    """Prints the tables of a comparison; the first run is the one that the others are compared with."""
    if repeated := next((folder for i, folder in enumerate(folders) if folder in folders[:i]), None):
        raise UserError(f"got {repeated!r} twice, expected different runs")
    runs = [read_run(Path(folder)) for folder in folders]
    names = [run.name for run in runs]
    differing = settings_that_differ(runs)
    if differing:
        print_table("Settings that differ", [["", *names], *differing])
    else:
        say("no setting differs")
    rows = [[score, *(figures(run.scores.get(score)) for run in runs)] for score in SCORES]
    print_table("Scores", [["", *names], *(row for row in rows if any(row[1:]))])
    differences = [row for run in runs[1:] for row in paired_differences(runs[0], run)]
    if differences:
        header = ["run", "score", "difference", "± se", "in se", "better in"]
        title = f"Difference of each run minus {names[0]}, on the same test rows: below 0 is better"
        print_table(title, [header, *differences], left=("run", "score"))
    for run in runs[1:]:
        if not same_rows(runs[0], run):
            say(f"note: {run.name} was tested on other rows than {names[0]}, so that there is no paired difference between them")


def read_run(folder: Path) -> FinishedRun:
    """Returns a finished run. Raises: UserError if the folder does not hold one."""
    expected = "expected the folder of a finished run, such as results/tabular"
    if not folder.is_dir():
        raise UserError(f"got {str(folder)!r}, which is {'a file' if folder.exists() else 'not there'}, {expected}")
    metrics = _read_json(folder / "metrics.json")
    if "mdn" not in metrics or not (folder / TEST_SCORES_FILE).is_file():
        raise UserError(f"{folder}: got no metrics.json and {TEST_SCORES_FILE} of a trained mixture, {expected}")
    if metrics.get("status") != "finished":
        raise UserError(f"{folder}: got a run whose training {metrics.get('status')}, expected one that finished")
    tree = parse((folder / "config.yaml").read_text(encoding="utf-8")).tree
    settings = flat(tree if isinstance(tree, dict) else {})
    settings = {key: value for key, value in settings.items() if key.split(".")[0] not in KEYS_WITHOUT_EFFECT}
    with np.load(folder / TEST_SCORES_FILE, allow_pickle=False) as file:
        test = {name: file[name] for name in file.files}
    return FinishedRun(str(folder), settings, metrics["mdn"], test)


def settings_that_differ(runs: Sequence[FinishedRun]) -> list[list[str]]:
    """Returns a row for each key whose value is not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = [[key, *(_shown(run.settings.get(key, "-")) for run in runs)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def paired_differences(first: FinishedRun, other: FinishedRun) -> list[list[str]]:
    """Returns the mean difference of each score, its standard error, and the share of rows in which the other run is better."""
    if not same_rows(first, other):
        return []
    rows = []
    for score, name in PAIRED.items():
        if score in first.test and score in other.test:
            num = min(len(run.test[score]) for run in (first, other))  # the CRPS may be that of the first rows alone
            difference = other.test[score][:num] - first.test[score][:num]
            mean, error = float(difference.mean()), float(difference.std(ddof=1) / len(difference) ** 0.5)
            in_errors = f"{mean / error:.1f}" if error > 0 else "0"
            better = f"{100 * np.mean(difference < 0):.0f} %"
            rows.append([other.name, name, figures(mean), figures(error), in_errors, better])
    return rows


def same_rows(first: FinishedRun, other: FinishedRun) -> bool:
    """Returns whether two runs were tested on the same targets, at least two of them, in the same order."""
    return len(first.test["y"]) > 1 and np.array_equal(first.test["y"], other.test["y"])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise UserError(f"{path}: got a damaged file, expected JSON; run the command again") from None
    return tree if isinstance(tree, dict) else {}


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.compare", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder of a finished run; the others are compared with the first")
    folders = parser.parse_args().runs
    if len(folders) < 2:
        got = "one run" if folders else "no run"
        raise UserError(f"got {got}, expected two or more: python -m experiments.compare RUN RUN ...")
    compare(folders)


if __name__ == "__main__":
    with one_line_errors():
        main()
