"""Seconds that `MDNRegressor` takes on a small table, most of which would go to the compiler; and a grid search of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from experiments.benchmark.timing import Failed

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


def measure(num_rounds: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds of each, in processes of their own and in turn; imports are not counted."""
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(num_rounds):
        with tempfile.TemporaryDirectory() as folder:
            seconds = [*_seconds("two_fits", folder), *_seconds("one_fit", folder)]
        for num_jobs in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                seconds += _seconds("search", folder, num_jobs)
        for own, spent in zip(found.values(), seconds, strict=True):
            own.append(spent)
        tell(f"round {number + 1}/{num_rounds}: " + ", ".join(f"{spent:.1f} s" for spent in seconds))
    return found


def table(found: dict[str, list[float]]) -> list[list[str]]:
    """Medians and ranges."""
    rows = [[name, *(f"{of(own):.2f}" for of in (statistics.median, min, max))] for name, own in found.items()]
    return [["", "s, median", "min", "max"], *rows]


def work(what: str, num_jobs: int) -> None:
    """What a process does; the last line that it prints are its seconds."""
    from sklearn.model_selection import GridSearchCV

    from mdnjax import MDNRegressor

    def fit(num_rows: int) -> Callable[[], object]:
        return lambda: MDNRegressor(random_state=0, compile_cache=True).fit(*_rows(num_rows))

    def search() -> object:
        grid = {"num_components": [3, 5], "hidden_sizes": [(32,), (64, 64)]}
        regressor = MDNRegressor(random_state=0, num_steps=NUM_STEPS, compile_cache=True)
        return GridSearchCV(regressor, grid, cv=2, n_jobs=num_jobs).fit(*_rows(NUM_ROWS))

    works = {"two_fits": (fit(NUM_ROWS), fit(600)), "one_fit": (fit(NUM_ROWS),), "search": (search,)}
    print(json.dumps([_timed(run) for run in works[what]]))


def _rows(num: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(num)
    x = generator.normal(size=(num, NUM_COLUMNS))
    return x, x[:, 0] + np.sin(2 * x[:, 1]) + 0.3 * (1 + np.abs(x[:, 2])) * generator.normal(size=num)


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _seconds(what: str, folder: str, num_jobs: int = 1) -> list[float]:
    code = "import sys; from experiments.benchmark.small_fits import work; work(sys.argv[1], int(sys.argv[2]))"
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    words = [sys.executable, "-c", code, what, str(num_jobs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise Failed(f"{what} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
