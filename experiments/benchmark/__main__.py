"""Measures the speed of mdnjax beside its peers on the same work in the same run, and writes a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments import command, report
from experiments.benchmark import train
from experiments.benchmark.race import Contender, Timing, disagreements, race, ratio
from experiments.run_folder import claim
from mdnjax.checkpoint import write_bytes
from mdnjax.config.schema import Count, Runtime, Section

FILES = ("table.csv", "table.md", "environment.json")


class Benchmark(Section, frozen=True):
    """What is measured, and how long."""

    name: Literal["train"] = Field(default="train", description="benchmark; may stand alone, as in `benchmark train`")
    output: Path = Field(default=Path("results/benchmark"), description="folder of the tables")
    num_steps: Count = Field(default=1000, description="training steps of one run")
    num_rounds: Annotated[int, Field(ge=1)] = Field(default=15, description="rounds; every contender runs once in each")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def measure(settings: Benchmark, overwrite: bool) -> None:
    """Checks that all contenders compute the same, times them in turn, prints and writes the table."""
    command.settle(settings.runtime)
    claim(settings, settings.output, FILES, overwrite)
    contenders: list[Contender] = []
    for contender in train.contenders(settings.num_steps):
        contenders.append(contender) if isinstance(contender, Contender) else tell(contender)
    if wrong := disagreements(contenders, train.TOLERANCE):
        raise command.RunFailed(f"the contenders do not compute the same first loss: {'; '.join(wrong)}")
    timings = race(contenders, settings.num_rounds, tell)
    write_table(settings, timings)


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def write_table(settings: Benchmark, timings: list[Timing]) -> None:
    """Prints microseconds per step (median, range) and medians of the ratios within a round; writes them as CSV and Markdown."""
    header = ["contender", "us per step, median", "min", "max", "ratio to mdnjax"]
    rows = []
    for timing in timings:
        values = [1e6 * s / settings.num_steps for s in (timing.median, min(timing.seconds), max(timing.seconds))]
        rows.append([timing.name, *(f"{value:.1f}" for value in values), f"{ratio(timing, timings[0]):.2f}"])
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    environment = report.environment()
    devices, processor, cores = ", ".join(environment["devices"]), environment["processor"], environment["cpu_count"]
    lines.append(f"\nDevice {devices} ({processor}, {cores} cores), {settings.num_rounds} rounds.")
    report.write_csv(settings.output / "table.csv", header, rows)
    write_bytes(settings.output / "table.md", ("\n".join(lines) + "\n").encode())
    report.write_json(settings.output / "environment.json", environment)
    print("\n".join(lines))


if __name__ == "__main__":
    words = [f"name={word}" if word.isidentifier() else word for word in sys.argv[1:]]
    command.main("experiments.benchmark", __doc__ or "", Benchmark, None, measure, words)
