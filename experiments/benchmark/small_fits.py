"""Times `MDNRegressor` on a small table, where compilation takes most of the time, and a grid search over it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable

import numpy as np

from experiments.benchmark.processes import measure_in_process
from experiments.benchmark.timing import median_and_range

NUM_ROWS, NUM_COLUMNS, NUM_STEPS = 500, 10, 100
FIT = f"MDNRegressor().fit, {NUM_ROWS} rows x {NUM_COLUMNS} columns"
SEARCH = f"GridSearchCV, 2 x 2 settings, 2 folds, {NUM_STEPS} steps"
CONTENDERS = (
    f"{FIT}, nothing compiled before",
    "another table of 600 rows in the same process",
    f"{FIT}, in a new process, programs on disk",
    f"{SEARCH}, nothing compiled before",
    f"{SEARCH}, n_jobs=2",
)


def measure(num_rounds: int, report: Callable[[str], None]) -> dict[str, list[float]]:
    """Returns the seconds of each contender, one number for each round, measured in new processes without their imports."""
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(num_rounds):
        with tempfile.TemporaryDirectory() as folder:
            seconds = [*_seconds("two_fits", folder), *_seconds("one_fit", folder)]
        for num_jobs in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                seconds += _seconds("search", folder, num_jobs)
        for of_contender, spent in zip(found.values(), seconds, strict=True):
            of_contender.append(spent)
        report(f"round {number + 1}/{num_rounds}: " + ", ".join(f"{spent:.1f} s" for spent in seconds))
    return found


def table(found: dict[str, list[float]]) -> list[list[str]]:
    """Returns medians and ranges."""
    rows = [[name, *(f"{number:.2f}" for number in median_and_range(seconds))] for name, seconds in found.items()]
    return [["", "s, median", "min", "max"], *rows]


def measure_here(what: str, num_jobs: int) -> None:
    """Runs what is timed in this process, and prints the seconds in its last line."""
    from sklearn.model_selection import GridSearchCV

    from mdnjax import MDNRegressor

    def fit(num_rows: int) -> Callable[[], object]:
        return lambda: MDNRegressor(random_state=0, compile_cache=True).fit(*_rows(num_rows))

    def search() -> object:
        grid = {"num_components": [3, 5], "hidden_sizes": [(32,), (64, 64)]}
        regressor = MDNRegressor(random_state=0, num_steps=NUM_STEPS, compile_cache=True)
        return GridSearchCV(regressor, grid, cv=2, n_jobs=num_jobs).fit(*_rows(NUM_ROWS))

    timed = {"two_fits": (fit(NUM_ROWS), fit(600)), "one_fit": (fit(NUM_ROWS),), "search": (search,)}
    print(json.dumps([_timed(run) for run in timed[what]]))


def _rows(num: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(num)
    x = generator.normal(size=(num, NUM_COLUMNS))
    return x, x[:, 0] + np.sin(2 * x[:, 1]) + 0.3 * (1 + np.abs(x[:, 2])) * generator.normal(size=num)


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _seconds(what: str, folder: str, num_jobs: int = 1) -> list[float]:
    return measure_in_process("small_fits", what, [what, num_jobs], folder)
