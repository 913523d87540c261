"""Trains every setting of a sweep file with every seed, on all cores or devices, and writes one table of results."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import jax

from experiments import command
from experiments.members import plan
from experiments.members.plan import Plan
from experiments.members.resume import train_members
from experiments.members.schema import Sweep
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers
from experiments.sweep import search
from experiments.sweep.dry_run import show_plan
from experiments.sweep.results import FILES, gather
from mdnjax import runtime
from mdnjax.training.placement import local_placement

FLAGS = {
    "dry-run": "print the plan (members, groups, memory, time) and train nothing",
    "merge": "train nothing; write the table from the parts that workers have written",
}


def sweep(planned: Plan, overwrite: bool, dry_run: bool, merge: bool) -> None:
    """Trains this process's share of a sweep, and writes the table if all members are trained afterwards."""
    section = planned.sweep
    if section.search and not importlib.util.find_spec("optuna"):
        raise command.UserError("search: got no Optuna, expected it to be installed: pip install -e '.[search]'")
    index, num_workers = _prepare_machine(section)
    _check_optimizers(planned)
    if dry_run:
        return show_plan(planned, local_placement())
    if overwrite and merge:
        raise command.UserError("--merge: got --overwrite too, which leaves nothing to merge, expected one of them")
    if overwrite and num_workers > 1:
        raise command.UserError("--overwrite: got several workers, expected one; or choose another folder with output=DIR")
    folder = create_run_folder(plan.resolved(planned), section.output, FILES, overwrite, shared=True)
    train = functools.partial(train_members, placement=local_placement(), folder=folder, chunk_members=section.chunk_members)
    if section.search:
        planned = search.run(planned, folder, None if merge else train)
    elif not merge:
        train(plan.members_of(planned)[index::num_workers])
    missing = gather(planned, folder)
    if missing and merge:
        raise command.RunFailed(f"{missing} of {plan.num_members(planned)} members are not trained yet; no table was written")
    if missing:
        print(f"worker {index} of {num_workers} has finished; {missing} members of other workers are not trained yet")
        print("the worker that finishes last writes the table")


def _prepare_machine(section: Sweep) -> tuple[int, int]:
    """Configures jax for this machine, and returns the number of this worker and the number of workers."""
    start, *processes = dict(section.distributed).values()
    if not (start or any(value is not None for value in processes)):
        command.setup_runtime(section.runtime, all_cores=True)
        return section.worker.index, section.worker.num_workers
    command.setup_runtime(section.runtime, all_cores=True, processes=runtime.Processes(*processes))
    return jax.process_index(), jax.process_count()


def _check_optimizers(planned: Plan) -> None:
    for train in {plan.group_of(config).train: config.train for config in planned.configs}.values():
        check_optimizers(train=train)


def _read(path: Path | None, words: Sequence[str]) -> Plan:
    if path is None:
        raise command.UserError("got no sweep file, expected one, such as configs/sweeps/seeds.yaml")
    return plan.read(path, words)


if __name__ == "__main__":
    purpose = f"{__doc__} The file may also hold every key of a run: see python -m experiments.inverse_sine --help."
    command.main("experiments.sweep", purpose, Sweep, None, sweep, read=_read, flags=FLAGS)
