"""Trains members chunk by chunk; each finished chunk is written before the next one starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from experiments.members import parts
from experiments.members.chunks import chunks_of, train_chunk
from experiments.members.component_numbers import resolve_num_components
from experiments.members.plan import Member
from experiments.progress import sweep_progress
from mdnjax.training.placement import Placement


def train_members(members: Sequence[Member], placement: Placement, folder: Path, chunk_members: int | None) -> list[parts.Row]:
    """Trains the members that no part holds yet, and returns the rows of all members."""
    done = parts.rows_of(parts.read_all(folder), members)
    numbers_done = {row["member"] for row in done}
    left = [member for member in members if member.number not in numbers_done]
    rows: list[parts.Row] = []
    with sweep_progress(len(members), len(done), _num_diverged(done)) as observe:
        for chunk in chunks_of(resolve_num_components(left, placement, chunk_members), placement, chunk_members):
            observe_chunk = partial(_observe_chunk, observe, len(rows), len(chunk.members), _num_diverged(rows))
            finished = train_chunk(chunk, placement, observe_chunk)
            parts.save(folder, finished.rows, finished.outcome)
            rows += finished.rows
            observe(len(rows), _num_diverged(rows))  # a chunk whose members all diverged ends before its last step
    return sorted([*done, *rows], key=lambda row: row["member"])


def _observe_chunk(
    observe: Callable[[float, int], None], num_before: int, size: int, diverged_before: int, share: float, diverged: int
) -> None:
    observe(num_before + share * size, diverged_before + diverged)


def _num_diverged(rows: Sequence[parts.Row]) -> int:
    return sum(row["status"] == "diverged" for row in rows)
