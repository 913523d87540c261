"""`num_components: auto`: trains every number that comes into question, and takes the smallest that does as well as the best."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.members.chunks import chunks_of, train_chunk
from experiments.members.plan import Member
from experiments.study import num_components_is_auto
from mdnjax import fitting
from mdnjax.fitting import single_network
from mdnjax.training.placement import Placement
from mdnjax.training.selection import Candidates, select_candidate


def resolve_num_components(members: Sequence[Member], placement: Placement, chunk_members: int | None = None) -> list[Member]:
    """The same members, with a number of components each; the candidates of all are trained together, number by number."""
    found = iter(compare([member for member in members if num_components_is_auto(member.config)], placement, chunk_members))
    return [
        with_num_components(member, next(found).chosen) if num_components_is_auto(member.config) else member for member in members
    ]


def compare(members: Sequence[Member], placement: Placement, chunk_members: int | None = None) -> list[Candidates]:
    """For each member the candidates, one network each (the best of its restarts), judged by the same validation points.

    A candidate that diverged is out of the question; so are all where all did, and then the smallest is taken.
    """
    nlls: dict[int, dict[int, np.ndarray]] = {member.number: {} for member in members}
    numbers = sorted({number for member in members for number in member.config.selection.num_components})
    for number in numbers:
        print(f"number of components: {number} of {', '.join(map(str, numbers))}", file=sys.stderr, flush=True)
        having = [member for member in members if number in member.config.selection.num_components]
        asked = [member._replace(config=single_network(member.config, number)) for member in having]
        for member, own in _validation_nlls(asked, placement, chunk_members):
            nlls[member.number][number] = own
    return [select_candidate(nlls[member.number]) for member in members]


def with_num_components(member: Member, number: int) -> Member:
    """A member with this number of components, still recognised by what it was."""
    return member._replace(config=fitting.with_num_components(member.config, number))


def with_largest(member: Member) -> Member:
    """A member with the largest of its candidates."""
    return with_num_components(member, max(member.config.selection.num_components))


def _validation_nlls(
    members: Sequence[Member], placement: Placement, chunk_members: int | None
) -> Iterator[tuple[Member, np.ndarray]]:
    """NLL of every validation point of each member, in the order of their training; infinite for one that diverged."""
    for chunk in chunks_of(members, placement, chunk_members):
        finished = train_chunk(chunk, placement, lambda *_: None)
        fallen = np.array([row["status"] != "finished" for row in finished.rows])
        yield from zip(chunk.members, np.where(fallen[:, None], np.inf, finished.validation_nlls), strict=True)
