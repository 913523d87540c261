"""What passes before anything is trained: imports, tracing, compiling; the study's command from an empty cache and again."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.benchmark.timing import Failed

# jax's own clocks; a trace may run inside another, so that intervals are joined and not added
EVENTS = {
    "trace": ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration"),
    "compile": ("/jax/core/compile/backend_compile_duration",),
}
IMPORTS = ("jax", "mdnjax")
COMMANDS = {"study": "python -m experiments.inverse_sine", "fit": "the original study's training, 8000 steps"}


class Start(NamedTuple):
    """A process: its seconds in all, and how many of them were imports, tracing, compiling, and either of the two.

    One thread may trace while another compiles.
    """

    total: float
    imports: float
    trace: float
    compile: float
    either: float

    @property
    def rest(self) -> float:
        """What is left: running alone."""
        return self.total - self.imports - self.either


def measure(num_rounds: int, tell: Callable[[str], None]) -> tuple[dict[str, list[float]], dict[str, list[Start]]]:
    """Seconds of each import, and processes of each command, from an empty cache and again; in turn."""
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    starts: dict[str, list[Start]] = {}
    for number in range(num_rounds):
        for name in IMPORTS:
            imports[name].append(_seconds([sys.executable, "-c", f"import {name}"], {}))
        with tempfile.TemporaryDirectory() as folder:
            for what, line in COMMANDS.items():
                for when in ("empty cache", "again"):
                    starts.setdefault(f"{line}, {when}", []).append(_start(what, Path(folder)))
        tell(f"round {number + 1}/{num_rounds}: " + ", ".join(f"{name} {own[-1].total:.1f} s" for name, own in starts.items()))
    return imports, starts


def tables(imports: dict[str, list[float]], starts: dict[str, list[Start]]) -> list[list[list[str]]]:
    """Medians; of an import also its range."""
    extra = [own - jax for own, jax in zip(imports["mdnjax"], imports["jax"], strict=True)]
    first = [["", "s, median", "min", "max"]]
    for name, own in ((f"import {name}", own) for name, own in imports.items()):
        first.append([name, *_spread(own)])
    first.append(["import mdnjax beyond jax's own", *_spread(extra)])
    second = [["", "s, median", "min", "max", "imports", "trace", "compile", "run"]]
    for name, own in starts.items():
        parts = [[getattr(start, part) for start in own] for part in ("imports", "trace", "compile", "rest")]
        second.append([name, *_spread([start.total for start in own]), *(f"{statistics.median(part):.2f}" for part in parts)])
    return [second, first]


def work(what: str, began: float, folder: str) -> None:
    """What a process does; the last line that it prints are its seconds."""
    run = {"study": _study, "fit": _fit}[what](Path(folder))
    imported = time.time()
    from jax import monitoring

    intervals: dict[str, list[tuple[float, float]]] = {name: [] for name in EVENTS}

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        for name, events in EVENTS.items():
            if event in events:
                intervals[name].append((time.perf_counter() - duration_secs, time.perf_counter()))

    monitoring.register_event_duration_secs_listener(listen)
    run()
    parts = [*intervals.values(), [interval for own in intervals.values() for interval in own]]
    print(json.dumps(Start(time.time() - began, imported - began, *map(_joined, parts))))


def _study(folder: Path) -> Callable[[], None]:
    from experiments import command, inverse_sine
    from experiments.schemas import InverseSine

    def run() -> None:
        words = [f"output={folder / 'study'}"]
        try:
            command.main(
                "experiments.inverse_sine", "", InverseSine, command.CONFIGS / "inverse_sine.yaml", inverse_sine.study, words
            )
        except SystemExit as end:
            if end.code:
                raise

    return run


def _fit(folder: Path) -> Callable[[], None]:
    from experiments.benchmark.mdnjax_steps import of_mdnjax, study
    from mdnjax import runtime

    def run() -> None:
        runtime.setup(compile_cache=True)
        of_mdnjax(study(), 8000).run()

    return run


def _start(what: str, folder: Path) -> Start:
    code = "import sys; from experiments.benchmark.startup import work; work(sys.argv[1], float(sys.argv[2]), sys.argv[3])"
    words = [sys.executable, "-c", code, what, str(time.time()), str(folder)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # it would win
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise Failed(f"{COMMANDS[what]} failed: {done.stderr.strip().splitlines()[-1]}")
    return Start(*json.loads(done.stdout.splitlines()[-1]))


def _seconds(words: list[str], changes: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, **changes})
    return time.perf_counter() - start


def _joined(intervals: list[tuple[float, float]]) -> float:
    """Seconds that are in any of the intervals."""
    total, end = 0.0, 0.0
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _spread(seconds: list[float]) -> list[str]:
    return [f"{number:.2f}" for number in (statistics.median(seconds), min(seconds), max(seconds))]
