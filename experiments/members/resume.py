"""Trains members chunk by chunk; what is finished is on disk before the next begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from experiments.members import parts
from experiments.members.chunks import chunks_of, train_chunk
from experiments.members.component_numbers import resolve_num_components
from experiments.members.plan import Member
from experiments.progress import sweeping
from mdnjax.training.placement import Placement


def train_members(members: Sequence[Member], placement: Placement, folder: Path, chunk_members: int | None) -> list[parts.Row]:
    """Trains those of the members that no part has yet; the rows of all of them."""
    known = parts.rows_of(parts.read_all(folder), members)
    done = {row["member"] for row in known}
    left = [member for member in members if member.number not in done]
    rows: list[parts.Row] = []
    with sweeping(len(members), len(done), _num_diverged(known)) as observe:
        for chunk in chunks_of(resolve_num_components(left, placement, chunk_members), placement, chunk_members):
            begun = partial(_observe_chunk, observe, len(rows), len(chunk.members), _num_diverged(rows))
            finished = train_chunk(chunk, placement, begun)
            parts.save(folder, finished.rows, finished.outcome)
            rows += finished.rows
            observe(len(rows), _num_diverged(rows))  # a chunk that diverged altogether has ended early
    return sorted([*known, *rows], key=lambda row: row["member"])


def _observe_chunk(observe: Callable[[float, int], None], before: int, size: int, fallen: int, share: float, num: int) -> None:
    observe(before + share * size, fallen + num)


def _num_diverged(rows: Sequence[parts.Row]) -> int:
    return sum(row["status"] == "diverged" for row in rows)
