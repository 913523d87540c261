"""Times sweeps of the original study: a population and single trainings, compilation, and growth with the number of members."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.benchmark import torch_steps
from experiments.benchmark.mdnjax_steps import loop_of, of_mdnjax, work_of_config
from experiments.benchmark.timing import Contender
from experiments.charts import MODEL, STYLE
from experiments.command import CONFIGS
from experiments.members.chunks import chunks_of, train_chunk
from experiments.members.data import member_data
from experiments.members.plan import Member, members_of, read
from experiments.pipeline import make_data
from mdnjax.config.schema import Loop
from mdnjax.training.inputs import training_functions_of, training_inputs
from mdnjax.training.placement import Placement, local_placement, place
from mdnjax.training.population import member as fit_of_member
from mdnjax.training.train import train_one, train_population

ORIGINAL = CONFIGS / "inverse_sine_original.yaml"
SHORT_STEPS = 200
SIZES = (64, 256, 1024, 4096)
FULL_MEMBERS, FULL_STEPS = 256, 8000


class Growth(NamedTuple):
    """A sweep of some size, with its data and scores: seconds, and the peak memory of the process so far (bytes)."""

    num_members: int
    seconds: float
    memory: int


def members(num_members: int, num_steps: int) -> list[Member]:
    """Returns members of the original study, each with another seed."""
    return members_of(read(ORIGINAL, [f"num_seeds={num_members}", f"train.num_steps={num_steps}"]))


def contenders(num_members: int, num_steps: int) -> Iterator[Contender | str]:
    """Yields the same members on all devices and on one, and single trainings by mdnjax and PyTorch."""
    chosen = members(num_members, num_steps)
    all_devices = local_placement()
    one_device = [] if len(all_devices.devices) == 1 else [all_devices._replace(devices=all_devices.devices[:1])]
    for placement in (all_devices, *one_device):
        losses, run = prepare(chosen, placement)
        name = f"mdnjax, {num_members} members on {len(placement.devices)} device{'s' * (len(placement.devices) > 1)}"
        yield Contender(name, run, float(losses[0]), num_members * num_steps)
    first = chosen[0].config
    splits, _ = make_data(first)
    work = work_of_config(first, splits)
    yield of_mdnjax(work, num_steps, "mdnjax, one run")
    if torch_steps.is_installed():
        yield torch_steps.eager(work, min(num_steps, 1000))
        yield torch_steps.published(work, min(num_steps, 1000))
    else:
        yield torch_steps.NOT_INSTALLED


def prepare(chosen: list[Member], placement: Placement) -> tuple[np.ndarray, Any]:
    """Returns the first losses of a population, and a function that trains it."""
    tasks = [member_data(member).task for member in chosen]
    inputs, steps = place(placement, [training_inputs(task)[0] for task in tasks], len(chosen)), training_functions_of(tasks[0])

    def run(loop: Loop) -> Any:
        return train_population(steps, loop, inputs, len(chosen), placement)

    return run(Loop(num_steps=1)).history.loss[:, 0], partial(run, loop_of(chosen[0].config.train.num_steps))


def agreement(num_members: int, num_steps: int) -> str:
    """Returns a note that compares members of a population with the same runs trained alone."""
    chosen = members(num_members, num_steps)
    trained = prepare(chosen, local_placement())[1]()
    differences = []
    for index in (0, num_members // 2, num_members - 1):
        task = member_data(chosen[index]).task
        alone = train_one(training_functions_of(task), loop_of(num_steps), training_inputs(task)[0])
        fitted = fit_of_member(trained, index)
        pairs = zip(jax.tree.leaves(alone.state.params), jax.tree.leaves(fitted.state.params), strict=True)
        same = all(np.array_equal(a, b) for a, b in pairs)
        differences.append((abs(float(alone.history.validation_scores[-1] - fitted.history.validation_scores[-1])), same))
    if all(same for _, same in differences):
        return f"After {num_steps} steps, members and the same runs trained alone are equal bit for bit."
    largest = max(difference for difference, _ in differences)
    compared = "validation NLLs of members and of the same runs trained alone"
    return f"After {num_steps} steps, the {compared} differ by at most {largest:.1e}."


def compile_seconds() -> float:
    """Returns the seconds by which the first of two equal chunks of a group takes longer than the second."""
    few = members(2, SHORT_STEPS + 1)  # a number of steps that no other part of this benchmark has compiled
    times = []
    for _ in range(2):
        start = time.perf_counter()
        train_chunk(chunks_of(few, local_placement(), 2)[0], local_placement(), lambda *_: None)
        times.append(time.perf_counter() - start)
    return times[0] - times[1]


def growth(sizes: tuple[int, ...]) -> Iterator[Growth]:
    """Yields sweeps of increasing numbers of members of 200 steps in this process, with their data and scores."""
    placement = local_placement()
    for size in sizes:
        start = time.perf_counter()
        for chunk in chunks_of(members(size, SHORT_STEPS), placement, None):
            train_chunk(chunk, placement, lambda *_: None)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        yield Growth(size, time.perf_counter() - start, memory)


def overhead() -> tuple[float, float]:
    """Returns the seconds of the whole command with nothing compiled before: for 256 members, and extrapolated to 0 members."""
    few, many = (_command_seconds(num_members) for num_members in (2, FULL_MEMBERS))
    return many, few - 2 * (many - few) / (FULL_MEMBERS - 2)


def plot(rows: list[Growth]) -> Figure:
    """Plots seconds and memory against the number of members."""
    import matplotlib as mpl

    sizes = [row.num_members for row in rows]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.loglog(sizes, [row.seconds for row in rows], "o-", color=MODEL)
        left.loglog(sizes, [rows[-1].seconds * size / sizes[-1] for size in sizes], ":", color="gray", label="linear")
        left.legend()
        left.set(xlabel="members", ylabel="seconds", title=f"Members of {SHORT_STEPS} steps, with data and scores")
        right.semilogx(sizes, [row.memory / 2**20 for row in rows], "o-", color=MODEL)
        right.set(xlabel="members", ylabel="MB", title="Peak memory of the process")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
    return figure


def _command_seconds(num_members: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [str(ORIGINAL), f"num_seeds={num_members}", f"train.num_steps={FULL_STEPS}", f"output={Path(folder) / 'sweep'}"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "experiments.sweep", *words, "runtime.compile_cache=false"],
            cwd=CONFIGS.parent,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - start
