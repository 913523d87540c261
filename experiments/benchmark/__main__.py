"""Measures the speed of mdnjax beside its peers on the same work in the same run, and writes a table."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from experiments import command
from experiments.benchmark import mixture, quality, small_fits, startup, sweep, train
from experiments.benchmark.gather import FILES, NAMES, gather
from experiments.benchmark.timing import Contender, Failed, Timing, disagreements, race, table_of
from experiments.findings import Findings, write
from experiments.run_folder import create_run_folder
from mdnjax.config.optax_names import nearest
from mdnjax.config.schema import Runtime
from mdnjax.config.section import Count, Folder, Section, Units
from mdnjax.training.placement import local_placement

CPU_MEMBERS, GPU_MEMBERS = 64, 4096
TOLERANCE = 1e-5  # of the first step's loss, between contenders
ROUNDS_DIVISOR = 3  # rounds where a turn is a whole process, or there are many sizes


class Benchmark(Section, frozen=True):
    """What is measured, and how long."""

    name: Literal["train", "sweep", "mixture", "quality", "startup", "all"] = Field(
        default="train", description="benchmark; may stand alone, as in `benchmark sweep`"
    )
    output: Folder = Field(default=Path("results/benchmark"), description="folder of the tables")
    num_steps: Count = Field(default=1000, description="training steps of one run")
    num_rounds: Annotated[int, Field(ge=1)] = Field(
        default=15, description="rounds; every contender runs once in each (curves, quality, startup: a third of them)"
    )
    num_members: Count | None = Field(default=None, description="members of the raced sweep (null: 64 on a CPU, 4096 on a GPU)")
    full: bool = Field(
        default=True, description="train: also the curves; sweep: also its growth with members, and 256 members of 8000 steps"
    )
    curves: tuple[str, ...] = Field(default=tuple(train.CURVES), description="train: sizes that are changed, one at a time")
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
    """Runs one benchmark, or all of them."""
    if unknown := next((name for name in settings.curves if name not in train.CURVES), None):
        known = list(train.CURVES)
        raise command.UserError(f"curves: got {unknown!r}, expected some of {', '.join(known)}{nearest(unknown, known)}")
    if settings.name == "all":
        for name in NAMES:  # each settles the devices in its own way
            _in_process(settings, name, overwrite)
        return
    command.settle(settings.runtime, all_cores=settings.name == "sweep")
    folder = create_run_folder(settings, settings.output / settings.name, FILES, overwrite)
    measures = {"train": of_train, "sweep": of_sweep, "mixture": of_mixture, "quality": of_quality, "startup": of_startup}
    try:
        write(folder, measures[settings.name](settings))
    except Failed as error:
        raise command.RunFailed(str(error)) from None
    gather(settings.output)


def of_train(settings: Benchmark) -> Findings:
    """The training step in mdnjax and beside it, and how its cost grows."""
    timings = timed(train.contenders(settings.num_steps), settings.num_rounds)
    notes = [f"{settings.num_rounds} rounds of {settings.num_steps} steps."]
    tables = [table_of(timings, "step")]
    if not settings.full or not settings.curves:
        return Findings(tables, notes)
    points, machine = [], train.machine()
    for name in settings.curves:
        for point in train.curve(name, fewer(settings), machine, check):
            tell(", ".join(train.line(point)))
            points.append(point)
    notes.append(
        f"Curves: {fewer(settings)} rounds; the device reaches {machine.operations / 1e9:.0f} billion operations a second in a "
        f"large product of matrices and reads {machine.bandwidth / 1e9:.0f} GB a second: what arithmetic and memory would take."
    )
    return Findings([*tables, train.table(points)], notes, train.records(timings, points), {"train": train.plot(points)})


def of_sweep(settings: Benchmark) -> Findings:
    """A population on all devices and on one, and what surrounds it."""
    num_members = settings.num_members or (CPU_MEMBERS if local_placement().width == 1 else GPU_MEMBERS)
    timings = timed(sweep.contenders(num_members, settings.num_steps), settings.num_rounds)
    notes = [f"{settings.num_rounds} rounds of {settings.num_steps} steps."]
    notes += [f"A group compiles in {sweep.compile_seconds():.1f} s.", sweep.agreement(num_members, settings.num_steps)]
    tables = [table_of(timings, "step and member")]
    if not settings.full:
        return Findings(tables, notes)
    rows = []
    for row in sweep.growth(sweep.SIZES):
        tell(f"{row.num_members} members of {sweep.SHORT_STEPS} steps: {row.seconds:.1f} s")
        rows.append(row)
    header = [f"members of {sweep.SHORT_STEPS} steps, with data and scores", "seconds", "ms a member", "memory at most, MB"]
    cells = [(r.num_members, f"{r.seconds:.1f}", f"{1e3 * r.seconds / r.num_members:.2f}", r.memory // 2**20) for r in rows]
    tables.append([header, *([str(cell) for cell in row] for row in cells)])
    whole, left = sweep.overhead()
    notes.append(
        f"The whole command, {sweep.FULL_MEMBERS} members of {sweep.FULL_STEPS} steps with nothing compiled before: "
        f"{whole:.1f} s, of which start-up, compilation and figures {left:.1f} s ({100 * left / whole:.0f} %)."
    )
    return Findings(tables, notes, figures={"sweep": sweep.plot(rows)})


def of_mixture(settings: Benchmark) -> Findings:
    """What is asked of a mixture, in mdnjax and beside it."""
    chosen = mixture.problems(settings.sizes, settings.num_components, settings.num_draws)
    try:
        groups = list(mixture.measure(chosen, settings.num_rounds, tell))
    except mixture.Wrong as error:
        raise command.RunFailed(f"the contenders do not compute the same: {error}") from None
    return Findings([mixture.wide(groups)], mixture.notes(), mixture.table(groups), {"mixture": mixture.plot(groups)})


def of_quality(settings: Benchmark) -> Findings:
    """Seconds until a training is near its end."""
    lines = quality.measure(fewer(settings), tell)
    notes = [f"{fewer(settings)} processes each; {quality.HELD_OUT} held-out points; nothing is compiled before."]
    return Findings([quality.table(lines)], notes, figures={"quality": quality.plot(lines)})


def of_startup(settings: Benchmark) -> Findings:
    """What passes before anything is trained, and small fits, in which nothing else counts."""
    num_rounds = fewer(settings)
    tables = startup.tables(*startup.measure(num_rounds, tell))
    notes = [f"{num_rounds} processes each, in turn; seconds of a process in all, of small fits those of the call alone."]
    if importlib.util.find_spec("sklearn") is None:
        tell("scikit-learn is not installed: small fits are skipped")
        return Findings(tables, notes)
    return Findings([*tables, small_fits.table(small_fits.measure(num_rounds, tell))], notes)


def fewer(settings: Benchmark) -> int:
    """Rounds where a turn is a whole process, or there are many sizes."""
    return -(-settings.num_rounds // ROUNDS_DIVISOR)


def timed(entrants: Iterable[Contender | str], num_rounds: int) -> list[Timing]:
    """Checks that all contenders compute the same, and times them in turn."""
    contenders: list[Contender] = []
    for contender in entrants:
        contenders.append(contender) if isinstance(contender, Contender) else tell(contender)
    check(contenders)
    return race(contenders, num_rounds, tell)


def check(contenders: list[Contender]) -> None:
    """Raises: RunFailed if they do not compute the same."""
    if wrong := disagreements(contenders, TOLERANCE):
        raise command.RunFailed(f"the contenders do not compute the same first loss: {'; '.join(wrong)}")


def _in_process(settings: Benchmark, name: str, overwrite: bool) -> None:
    chosen: dict[str, Any] = settings.model_dump(mode="json") | {"name": name}
    chosen |= {f"runtime.{key}": value for key, value in chosen.pop("runtime").items()}
    words = [f"{key}={json.dumps(value)}" for key, value in chosen.items()] + ["--overwrite"] * overwrite
    done = subprocess.run([sys.executable, "-m", "experiments.benchmark", *words], check=False)
    if done.returncode:
        raise command.RunFailed(f"benchmark {name} ended with status {done.returncode}; what the others found is kept")


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    words = [f"name={word}" if word.isidentifier() else word for word in sys.argv[1:]]
    command.main("experiments.benchmark", __doc__ or "", Benchmark, None, measure, words)
