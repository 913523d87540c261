"""Measures the speed of mdnjax beside its peers on the same work in the same run, and writes a table."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments import command, report
from experiments.benchmark import mixture, sweep, train
from experiments.benchmark.race import Contender, Timing, disagreements, race, table_of
from experiments.benchmark.tables import write_tables
from experiments.run_folder import claim
from mdnjax.config.schema import Runtime
from mdnjax.config.section import Count, Folder, Section, Units
from mdnjax.population import local_layout

FILES = ("train.csv", "train.md", "sweep.csv", "sweep.md", "sweep.png", "mixture.csv", "mixture.md", "mixture.png")
FILES += ("environment.json",)
CPU_MEMBERS, GPU_MEMBERS = 64, 4096


class Benchmark(Section, frozen=True):
    """What is measured, and how long."""

    name: Literal["train", "sweep", "mixture"] = Field(
        default="train", description="benchmark; may stand alone, as in `benchmark sweep`"
    )
    output: Folder = Field(default=Path("results/benchmark"), description="folder of the tables")
    num_steps: Count = Field(default=1000, description="training steps of one run")
    num_rounds: Annotated[int, Field(ge=1)] = Field(default=15, description="rounds; every contender runs once in each")
    num_members: Count | None = Field(default=None, description="members of the raced sweep (null: 64 on a CPU, 4096 on a GPU)")
    full: bool = Field(default=True, description="sweep: also its growth with members, and 256 members of 8000 steps")
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(1000, 10_000, 200_000), description="mixture: numbers of mixtures in a call"
    )
    num_components: Annotated[tuple[Units, ...], Field(min_length=1)] = Field(
        default=(5, 16, 64), description="mixture: components of each"
    )
    num_draws: Count = Field(default=1_000_000, description="mixture: samples of a call")
    runtime: Runtime = Field(
        default=Runtime(compile_cache=False), description="use of the machine; compiles anew, to time that too"
    )


def measure(settings: Benchmark, overwrite: bool) -> None:
    """Runs one benchmark."""
    command.settle(settings.runtime, all_cores=settings.name == "sweep")
    claim(settings, settings.output / settings.name, FILES, overwrite)
    measures = {"train": measure_train, "sweep": measure_sweep, "mixture": measure_mixture}
    measures[settings.name](settings, settings.output / settings.name)


def measure_train(settings: Benchmark, folder: Path) -> None:
    """The training step in mdnjax and beside it."""
    timings = timed(train.contenders(settings.num_steps), settings.num_rounds)
    write_tables(folder, "train", [table_of(timings, "step")], [f"{settings.num_rounds} rounds of {settings.num_steps} steps."])


def measure_sweep(settings: Benchmark, folder: Path) -> None:
    """A population on all devices and on one, and what surrounds it."""
    num_members = settings.num_members or (CPU_MEMBERS if local_layout().width == 1 else GPU_MEMBERS)
    timings = timed(sweep.contenders(num_members, settings.num_steps), settings.num_rounds)
    notes = [f"{settings.num_rounds} rounds of {settings.num_steps} steps."]
    notes += [f"A group compiles in {sweep.compile_seconds():.1f} s.", sweep.agreement(num_members, settings.num_steps)]
    tables = [table_of(timings, "step and member")]
    if settings.full:
        rows = []
        for row in sweep.growth(sweep.SIZES):
            tell(f"{row.num_members} members of {sweep.SHORT_STEPS} steps: {row.seconds:.1f} s")
            rows.append(row)
        header = [f"members of {sweep.SHORT_STEPS} steps, with data and scores", "seconds", "ms a member", "memory at most, MB"]
        cells = [(r.num_members, f"{r.seconds:.1f}", f"{1e3 * r.seconds / r.num_members:.2f}", r.memory // 2**20) for r in rows]
        tables.append([header, *([str(cell) for cell in row] for row in cells)])
        report.write_figure(folder / "sweep.png", sweep.plot(rows))
        whole, left = sweep.overhead()
        notes.append(
            f"The whole command, {sweep.FULL_MEMBERS} members of {sweep.FULL_STEPS} steps with nothing compiled before: "
            f"{whole:.1f} s, of which start-up, compilation and figures {left:.1f} s ({100 * left / whole:.0f} %)."
        )
    write_tables(folder, "sweep", tables, notes)


def measure_mixture(settings: Benchmark, folder: Path) -> None:
    """What is asked of a mixture, in mdnjax and beside it."""
    chosen = mixture.problems(settings.sizes, settings.num_components, settings.num_draws)
    try:
        groups = list(mixture.measure(chosen, settings.num_rounds, tell))
    except mixture.Wrong as error:
        raise command.RunFailed(f"the contenders do not compute the same: {error}") from None
    write_tables(folder, "mixture", [mixture.wide(groups)], mixture.notes(), csv=mixture.table(groups))
    report.write_figure(folder / "mixture.png", mixture.plot(groups))


def timed(entrants: Iterable[Contender | str], num_rounds: int) -> list[Timing]:
    """Checks that all contenders compute the same, and times them in turn."""
    contenders: list[Contender] = []
    for contender in entrants:
        contenders.append(contender) if isinstance(contender, Contender) else tell(contender)
    if wrong := disagreements(contenders, train.TOLERANCE):
        raise command.RunFailed(f"the contenders do not compute the same first loss: {'; '.join(wrong)}")
    return race(contenders, num_rounds, tell)


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    words = [f"name={word}" if word.isidentifier() else word for word in sys.argv[1:]]
    command.main("experiments.benchmark", __doc__ or "", Benchmark, None, measure, words)
