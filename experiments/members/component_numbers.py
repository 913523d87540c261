"""Resolves `num_components: auto`: trains every candidate and selects the smallest within one standard error of the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.members.plan import Member
from experiments.members.trainer import Trainer
from experiments.progress import print_candidate
from experiments.study import num_components_is_auto
from mdnjax import fitting
from mdnjax.fitting import single_network
from mdnjax.training.selection import Candidates, select_candidate


def resolve_num_components(members: Sequence[Member], trainer: Trainer) -> list[Member]:
    """Returns the same members with a selected number of components; each candidate is trained for all members together."""
    open_members = [member for member in members if num_components_is_auto(member.config)]
    found = iter(compare_candidates(open_members, trainer))
    return [
        with_num_components(member, next(found).chosen) if num_components_is_auto(member.config) else member for member in members
    ]


def compare_candidates(members: Sequence[Member], trainer: Trainer) -> list[Candidates]:
    """Returns, for each member, its candidates compared on the same validation rows: one network each, the best of its restarts.

    A candidate that diverged is not selected; where all diverged, the smallest is.
    """
    nlls: dict[int, dict[int, np.ndarray]] = {member.number: {} for member in members}
    numbers = sorted({number for member in members for number in member.config.selection.num_components})
    for number in numbers:
        print_candidate(number, numbers)
        candidates = [
            member._replace(config=single_network(member.config, number))
            for member in members
            if number in member.config.selection.num_components
        ]
        for member, validation_nlls in _validation_nlls(candidates, trainer):
            nlls[member.number][number] = validation_nlls
    return [select_candidate(nlls[member.number]) for member in members]


def with_num_components(member: Member, number: int) -> Member:
    """Returns a member with this number of components; its digest stays that of the configuration as it was given."""
    return member._replace(config=fitting.with_num_components(member.config, number))


def with_largest_candidate(member: Member) -> Member:
    """Returns a member whose number of components, if it is `auto`, is replaced by the largest candidate."""
    if not num_components_is_auto(member.config):
        return member
    return with_num_components(member, max(member.config.selection.num_components))


def _validation_nlls(members: Sequence[Member], trainer: Trainer) -> Iterator[tuple[Member, np.ndarray]]:
    """Yields each member with its NLL of every validation row, infinite if it diverged, in the order of training."""
    for chunk, finished in trainer.train(trainer.plan(members), lambda *_: None):
        diverged = np.array([row["status"] != "finished" for row in finished.rows])
        yield from zip(chunk.members, np.where(diverged[:, None], np.inf, finished.validation_nlls), strict=True)
