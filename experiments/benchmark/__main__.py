"""Measures the speed of mdnjax and of other implementations of the same work in one run, and writes a table."""

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
from experiments.benchmark import mixture, predictions, quality, small_fits, startup, sweep, train
from experiments.benchmark.gather import FILES, NAMES, gather
from experiments.benchmark.timing import Contender, ContenderFailed, Timing, disagreements, table_of, time_in_turn
from experiments.findings import Findings, write
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from experiments.sentences import say
from mdnjax.config.nearest import nearest
from mdnjax.config.section import Count, Folder, Section, Units
from mdnjax.training.placement import local_placement

CPU_MEMBERS, GPU_MEMBERS = 64, 4096
TOLERANCE = 1e-5  # largest difference of the first step's loss between contenders
ROUNDS_DIVISOR = 3  # of the number of rounds where a run is a whole process, or there are many sizes


class Benchmark(Section, frozen=True):
    """The benchmark to run, and its sizes."""

    name: Literal["train", "sweep", "mixture", "predict", "quality", "startup", "all"] = Field(
        default="train", description="benchmark to run; `name=` may be left out, as in `benchmark sweep`"
    )
    output: Folder = Field(default=Path("results/benchmark"), description="folder of the tables")
    num_steps: Count = Field(default=1000, description="training steps of one run")
    num_rounds: Annotated[int, Field(ge=1)] = Field(
        default=15,
        description="rounds, in each of which every contender runs once; curves, predict, quality and startup have a third",
    )
    num_members: Count | None = Field(default=None, description="sweep: members (null: 64 on a CPU, 4096 on a GPU)")
    full: bool = Field(
        default=True,
        description="train: measure the curves too; sweep: measure more numbers of members too, and 256 members of 8000 steps",
    )
    curves: tuple[str, ...] = Field(default=tuple(train.CURVES), description="train: the curves, each of which changes one size")
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(1000, 10_000, 200_000), description="mixture: numbers of mixtures of a call"
    )
    num_components: Annotated[tuple[Units, ...], Field(min_length=1)] = Field(
        default=(5, 16, 64), description="mixture: numbers of components"
    )
    num_draws: Count = Field(default=1_000_000, description="mixture: number of samples of a call")
    num_rows: Count = Field(default=100_000, description="predict: rows of a call")
    runtime: Runtime = Field(
        default=Runtime(compile_cache=False), description="use of the machine; no programs are stored, since compilation is timed"
    )


def run(settings: Benchmark, overwrite: bool) -> None:
    """Runs one benchmark, or all of them."""
    if unknown := next((name for name in settings.curves if name not in train.CURVES), None):
        known = list(train.CURVES)
        raise command.UserError(f"curves: got {unknown!r}, expected some of {', '.join(known)}{nearest(unknown, known)}")
    if settings.name == "all":
        for name in NAMES:  # in processes, because each configures the devices of jax in another way
            _in_process(settings, name, overwrite)
        return
    command.setup_runtime(settings.runtime, all_cores=settings.name == "sweep")
    folder = create_run_folder(settings, settings.output / settings.name, FILES, overwrite)
    measure = {
        "train": measure_train,
        "sweep": measure_sweep,
        "mixture": measure_mixture,
        "predict": measure_predict,
        "quality": measure_quality,
        "startup": measure_startup,
    }
    try:
        write(folder, measure[settings.name](settings))
    except ContenderFailed as error:
        raise command.RunFailed(str(error)) from None
    gather(settings.output)


def measure_train(settings: Benchmark) -> Findings:
    """Times the training step in all implementations, and how its time grows with each size."""
    timings = check_and_time(train.contenders(settings.num_steps), settings.num_rounds)
    notes = [f"{settings.num_rounds} rounds of {settings.num_steps} steps."]
    tables = [table_of(timings, "step")]
    if not settings.full or not settings.curves:
        return Findings(tables, notes)
    points, machine = [], train.measure_machine()
    for name in settings.curves:
        for point in train.curve(name, num_slow_rounds(settings), machine, check):
            report(train.progress_line(point))
            points.append(point)
    notes.append(f"Curves: {num_slow_rounds(settings)} rounds.")
    notes.append(
        "The columns arithmetic and memory are lower bounds of the time, from the measured speed of the device: "
        f"{machine.operations / 1e9:.0f} billion operations per second in a large matrix product, and "
        f"{machine.bandwidth / 1e9:.0f} GB per second read from memory."
    )
    return Findings([*tables, train.table(points)], notes, train.records(timings, points), {"train": train.plot(points)})


def measure_sweep(settings: Benchmark) -> Findings:
    """Times a population on all devices and on one, compilation, growing numbers of members, and the whole command."""
    num_members = settings.num_members or (CPU_MEMBERS if local_placement().width == 1 else GPU_MEMBERS)
    timings = check_and_time(sweep.contenders(num_members, settings.num_steps), settings.num_rounds)
    notes = [
        f"{settings.num_rounds} rounds of {settings.num_steps} steps.",
        f"The program of a group is compiled in {sweep.compile_seconds():.1f} s.",
        sweep.agreement(num_members, settings.num_steps),
    ]
    tables = [table_of(timings, "step and member")]
    if not settings.full:
        return Findings(tables, notes)
    rows = []
    for row in sweep.growth(sweep.SIZES):
        report(f"{row.num_members} members of {sweep.SHORT_STEPS} steps: {row.seconds:.1f} s")
        rows.append(row)
    header = [f"members of {sweep.SHORT_STEPS} steps, with data and scores", "seconds", "ms per member", "peak memory, MB"]
    cells = [(r.num_members, f"{r.seconds:.1f}", f"{1e3 * r.seconds / r.num_members:.2f}", r.memory // 2**20) for r in rows]
    tables.append([header, *([str(cell) for cell in row] for row in cells)])
    whole, fixed = sweep.overhead()
    notes.append(
        f"The whole command takes {whole:.1f} s for {sweep.FULL_MEMBERS} members of {sweep.FULL_STEPS} steps, with nothing "
        f"compiled before; start-up, compilation and figures take {fixed:.1f} s of them ({100 * fixed / whole:.0f} %)."
    )
    return Findings(tables, notes, figures={"sweep": sweep.plot(rows)})


def measure_mixture(settings: Benchmark) -> Findings:
    """Times the functions of a mixture in all libraries."""
    chosen = mixture.problems(settings.sizes, settings.num_components, settings.num_draws)
    try:
        found = list(mixture.measure(chosen, settings.num_rounds, report))
    except mixture.WrongResult as error:
        raise command.RunFailed(f"the contenders do not compute the same results: {error}") from None
    return Findings([mixture.short_table(found)], mixture.notes(), mixture.full_table(found), {"mixture": mixture.plot(found)})


def measure_predict(settings: Benchmark) -> Findings:
    """Times predictions of many rows by the ensemble that is recommended for tables."""
    predictor = predictions.trained(settings.num_steps)
    timings = check_and_time(predictions.contenders(predictor, settings.num_rows), num_slow_rounds(settings))
    notes = [f"{num_slow_rounds(settings)} rounds of {settings.num_rows:,} rows. {predictor!r}."]
    return Findings([table_of(timings, "row")], notes)


def measure_quality(settings: Benchmark) -> Findings:
    """Times trainings until the NLL is near its last value."""
    num_rounds = num_slow_rounds(settings)
    results = quality.measure(num_rounds, report)
    processes = f"{num_rounds} processes of each contender, with nothing compiled before."
    notes = [f"{processes} The NLL is that of {quality.NUM_HELD_OUT} held-out points."]
    return Findings([quality.table(results)], notes, figures={"quality": quality.plot(results)})


def measure_startup(settings: Benchmark) -> Findings:
    """Times what comes before a training, and small fits, which take little longer than that."""
    num_rounds = num_slow_rounds(settings)
    tables = startup.tables(*startup.measure(num_rounds, report))
    seconds = "Seconds are those of the whole process, and of small fits those of the call alone."
    notes = [f"{num_rounds} processes of each row, in turn. {seconds}"]
    if importlib.util.find_spec("sklearn") is None:
        report("scikit-learn is not installed: small fits are skipped")
        return Findings(tables, notes)
    return Findings([*tables, small_fits.table(small_fits.measure(num_rounds, report))], notes)


def num_slow_rounds(settings: Benchmark) -> int:
    """Returns the number of rounds where each turn is a whole process, or there are many sizes."""
    return -(-settings.num_rounds // ROUNDS_DIVISOR)


def check_and_time(entrants: Iterable[Contender | str], num_rounds: int) -> list[Timing]:
    """Checks that all contenders compute the same, and times them in turn; a contender that is skipped is a line to print."""
    contenders: list[Contender] = []
    for contender in entrants:
        contenders.append(contender) if isinstance(contender, Contender) else report(contender)
    check(contenders)
    return time_in_turn(contenders, num_rounds, report)


def check(contenders: list[Contender]) -> None:
    """Checks the first losses of contenders.

    Raises: RunFailed if they differ.
    """
    if wrong := disagreements(contenders, TOLERANCE):
        raise command.RunFailed(f"the contenders do not compute the same first loss: {'; '.join(wrong)}")


def _in_process(settings: Benchmark, name: str, overwrite: bool) -> None:
    chosen: dict[str, Any] = settings.model_dump(mode="json") | {"name": name}
    chosen |= {f"runtime.{key}": value for key, value in chosen.pop("runtime").items()}
    words = [f"{key}={json.dumps(value)}" for key, value in chosen.items()] + ["--overwrite"] * overwrite
    done = subprocess.run([sys.executable, "-m", "experiments.benchmark", *words], check=False)
    if done.returncode:
        raise command.RunFailed(f"benchmark {name} ended with status {done.returncode}; the results of the others are saved")


def report(line: str) -> None:
    """Prints a line of progress on stderr."""
    say(line, to=sys.stderr)


if __name__ == "__main__":
    words = [f"name={word}" if word.isidentifier() else word for word in sys.argv[1:]]
    command.main("experiments.benchmark", __doc__ or "", Benchmark, None, run, words)
