"""Trains members chunk by chunk; what is finished is on disk before the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.progress import sweeping
from experiments.sweep import parts
from experiments.sweep.chunks import chunks_of, train_chunk
from experiments.sweep.plan import Member, digest_of
from mdnjax.population import Layout


def train_members(members: Sequence[Member], layout: Layout, folder: Path, chunk_members: int | None) -> list[parts.Row]:
    """Trains those of the members that no part has yet; the rows of all of them."""
    wanted = {member.number: digest_of(member.config) for member in members}
    known = [row for row in parts.rows_of(parts.read_all(folder)) if wanted.get(row["member"]) == row["config"]]
    done = {row["member"] for row in known}
    left = [member for member in members if member.number not in done]
    diverged = sum(row["status"] == "diverged" for row in known)
    rows: list[parts.Row] = []
    with sweeping(len(members), len(done), diverged) as observe:
        for chunk in chunks_of(left, layout, chunk_members):
            size, fallen = len(chunk.members), sum(row["status"] == "diverged" for row in rows)

            def observe_chunk(share: float, num: int, before: int = len(rows), size: int = size, fallen: int = fallen) -> None:
                observe(before + share * size, fallen + num)

            of_chunk, outcome = train_chunk(chunk, layout, observe_chunk)
            parts.save(folder, of_chunk, outcome)
            rows += of_chunk
            observe(len(rows), sum(row["status"] == "diverged" for row in rows))  # if all of a chunk diverged it ended early
    return sorted([*known, *rows], key=lambda row: row["member"])
