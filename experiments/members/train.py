"""Trains members chunk by chunk; each finished chunk is written at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.members import parts
from experiments.members.component_numbers import resolve_num_components
from experiments.members.plan import Member
from experiments.members.trainer import Trainer
from experiments.progress import sweep_progress


def train_members(members: Sequence[Member], trainer: Trainer, folder: Path) -> list[parts.Row]:
    """Trains the members that no part holds yet, and returns the rows of all members."""
    done = parts.rows_of(parts.read_all(folder), members)
    numbers_done = {row["member"] for row in done}
    left = [member for member in members if member.number not in numbers_done]
    rows: list[parts.Row] = []
    num_diverged = len(done) - len(parts.finished(done))
    with sweep_progress(len(members), len(done), num_diverged) as observe:
        for _, finished in trainer.train(trainer.plan(resolve_num_components(left, trainer)), observe):
            parts.save(folder, finished.rows, finished.outcome)
            rows += finished.rows
    return sorted([*done, *rows], key=lambda row: row["member"])
