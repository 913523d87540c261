"""Trains every setting of a sweep file with every seed, on all cores or devices, and writes one table of results."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments import command
from experiments.members import plan
from experiments.members.plan import Plan
from experiments.members.schema import Sweep
from experiments.members.train import train_members
from experiments.members.trainer import trainer_of
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers
from experiments.sweep import search
from experiments.sweep.dry_run import show_plan
from experiments.sweep.results import FILES, gather
from mdnjax.training.placement import local_placement

FLAGS = {"dry-run": "print the plan (members, groups, memory, time) and train nothing"}


def sweep(planned: Plan, overwrite: bool, dry_run: bool) -> None:
    """Trains the members of a sweep that are not trained yet, and writes the table."""
    section = planned.sweep
    if section.search and not importlib.util.find_spec("optuna"):
        raise command.UserError("search: got no Optuna, expected it to be installed: pip install -e '.[search]'")
    command.setup_runtime(section.runtime, all_cores=dry_run or not section.cluster.is_used)
    _check_optimizers(planned)
    if dry_run:
        return show_plan(planned, local_placement())
    with trainer_of(section.cluster, section.runtime, section.chunk_members) as trainer:
        folder = create_run_folder(plan.resolved(planned), section.output, FILES, overwrite)
        train = partial(train_members, trainer=trainer, folder=folder)
        if section.search:
            planned = search.run(planned, folder, train)
        else:
            train(plan.members_of(planned))
    gather(planned, folder)


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
