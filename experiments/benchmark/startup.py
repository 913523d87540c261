"""Times imports, tracing and compilation, which come before a training, without and with programs that were compiled before."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.benchmark.processes import measure_in_process
from experiments.benchmark.timing import median_and_range

# Events of jax's monitoring. A trace may run inside another, so the union of the intervals is measured, not their sum.
EVENTS = {
    "trace": ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration"),
    "compile": ("/jax/core/compile/backend_compile_duration",),
}
IMPORTS = ("jax", "mdnjax")
COMMANDS = {"study": "python -m experiments.inverse_sine", "fit": "the original study's training, 8000 steps"}


class ProcessTime(NamedTuple):
    """Seconds of a process in total, and those of imports, of tracing, of compilation, and of tracing or compilation.

    The last may be less than the sum of the two before, because one thread may trace while another compiles.
    """

    total: float
    imports: float
    trace: float
    compile: float
    either: float

    @property
    def rest(self) -> float:
        """The seconds that remain, in which programs run."""
        return self.total - self.imports - self.either


def measure(num_rounds: int, report: Callable[[str], None]) -> tuple[dict[str, list[float]], dict[str, list[ProcessTime]]]:
    """Returns, for each round, the seconds of each import and the times of each command, with an empty cache and again."""
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    commands: dict[str, list[ProcessTime]] = {}
    for number in range(num_rounds):
        for name in IMPORTS:
            imports[name].append(_import_seconds(name))
        with tempfile.TemporaryDirectory() as folder:
            for command, title in COMMANDS.items():
                for when in ("empty cache", "again"):
                    commands.setdefault(f"{title}, {when}", []).append(_process_time(command, Path(folder)))
        last = ", ".join(f"{name} {times[-1].total:.1f} s" for name, times in commands.items())
        report(f"round {number + 1}/{num_rounds}: {last}")
    return imports, commands


def tables(imports: dict[str, list[float]], commands: dict[str, list[ProcessTime]]) -> list[list[list[str]]]:
    """Returns a table of the commands and one of the imports: medians and ranges, of the parts of a command medians only."""
    beyond_jax = [mdnjax - jax for mdnjax, jax in zip(imports["mdnjax"], imports["jax"], strict=True)]
    of_imports = [["", "s, median", "min", "max"]]
    of_imports += [[f"import {name}", *_cells(seconds)] for name, seconds in imports.items()]
    of_imports.append(["import mdnjax beyond jax's own", *_cells(beyond_jax)])
    of_commands = [["", "s, median", "min", "max", "imports", "trace", "compile", "run"]]
    for name, times in commands.items():
        parts = [[getattr(process, part) for process in times] for part in ("imports", "trace", "compile", "rest")]
        of_commands.append([name, *_cells([process.total for process in times]), *(_cells(part)[0] for part in parts)])
    return [of_commands, of_imports]


def measure_here(command: str, started: float, folder: str) -> None:
    """Runs a command in this process, which was started at the time `started`, and prints its times in the last line."""
    run = {"study": _study, "fit": _fit}[command](Path(folder))
    imported = time.time()
    from jax import monitoring

    intervals: dict[str, list[tuple[float, float]]] = {name: [] for name in EVENTS}

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        for name, events in EVENTS.items():
            if event in events:
                intervals[name].append((time.perf_counter() - duration_secs, time.perf_counter()))

    monitoring.register_event_duration_secs_listener(listen)
    run()
    parts = [*intervals.values(), [interval for of_part in intervals.values() for interval in of_part]]
    print(json.dumps(ProcessTime(time.time() - started, imported - started, *map(_union_seconds, parts))))


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
    from experiments.benchmark.mdnjax_steps import of_mdnjax, study_work
    from mdnjax import runtime

    def run() -> None:
        runtime.setup(compile_cache=True)
        of_mdnjax(study_work(), 8000).run()

    return run


def _process_time(command: str, folder: Path) -> ProcessTime:
    arguments = [command, time.time(), str(folder)]
    return ProcessTime(*measure_in_process("startup", COMMANDS[command], arguments, cache_folder=folder))


def _import_seconds(package: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True, capture_output=True)
    return time.perf_counter() - start


def _union_seconds(intervals: list[tuple[float, float]]) -> float:
    """Returns the length of the union of the intervals."""
    total, end = 0.0, 0.0
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _cells(seconds: list[float]) -> list[str]:
    return [f"{number:.2f}" for number in median_and_range(seconds)]
