"""`num_components: auto`: trains every number that comes into question, and takes the smallest that does as well as the best."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.sweep.chunks import chunks_of, train_chunk
from experiments.sweep.plan import Member, digest_of
from mdnjax.config.ensembles import Ensemble
from mdnjax.config.schema import Run
from mdnjax.placement import Layout, local_layout
from mdnjax.selection import Choice, smallest_as_good


class Candidates(NamedTuple):
    """Numbers of components, what they came to on the validation points, and the one that is taken."""

    numbers: tuple[int, ...]
    validation_nll: np.ndarray
    choice: Choice

    @property
    def chosen(self) -> int:
        """The number that is taken."""
        return self.numbers[self.choice.chosen]


def is_open(config: Run) -> bool:
    """Whether the number of components is left to the data."""
    return config.model.num_components == "auto"


def settle(members: Sequence[Member], layout: Layout, chunk_members: int | None = None) -> list[Member]:
    """The same members, with a number of components each; the candidates of all are trained together, number by number."""
    found = iter(compare([member for member in members if is_open(member.config)], layout, chunk_members))
    return [with_number(member, next(found).chosen) if is_open(member.config) else member for member in members]


def of_run(config: Run) -> Member:
    """A run alone, as a member."""
    return Member(0, 0, config, digest_of(config))


def show(found: Candidates) -> None:
    """Prints how the candidates came out."""
    table = Table(title="Number of components, by the validation points", title_justify="left", show_edge=False)
    for heading in ("components", "NLL", "more than the best", "± se", ""):
        table.add_column(heading, justify="right")
    for i, number in enumerate(found.numbers):
        numbers = (found.validation_nll[i], found.choice.excess[i], found.choice.standard_error[i])
        table.add_row(str(number), *(f"{value:.4f}" for value in numbers), "taken" if i == found.choice.chosen else "")
    Console(width=100, highlight=False).print(table)


def compare(members: Sequence[Member], layout: Layout | None = None, chunk_members: int | None = None) -> list[Candidates]:
    """For each member the candidates, one network each (the best of its restarts), judged by the same validation points.

    A candidate that diverged is out of the question; so are all where all did, and then the smallest is taken.
    """
    layout = layout or local_layout()
    single = [member._replace(config=_single(member.config)) for member in members]
    nlls: dict[int, dict[int, np.ndarray]] = {member.number: {} for member in members}
    numbers = sorted({number for member in members for number in member.config.selection.num_components})
    for number in numbers:
        print(f"number of components: {number} of {', '.join(map(str, numbers))}", file=sys.stderr, flush=True)
        asked = [with_number(member, number) for member in single if number in member.config.selection.num_components]
        for member, own in _validation_nlls(asked, layout, chunk_members):
            nlls[member.number][number] = np.nan_to_num(own, nan=1e30, posinf=1e30)  # a mean must be left to compare
    return [_judged(nlls[member.number]) for member in members]


def with_number(member: Member, number: int) -> Member:
    """A member with this number of components, still recognised by what it was."""
    model = member.config.model.model_copy(update={"num_components": number})
    return member._replace(config=member.config.model_copy(update={"model": model}))


def with_largest(member: Member) -> Member:
    """A member with the largest of its candidates."""
    return with_number(member, max(member.config.selection.num_components))


def _single(config: Run) -> Run:
    return config.model_copy(update={"ensemble": Ensemble(num_restarts=config.ensemble.num_restarts)})


def _judged(nlls: dict[int, np.ndarray]) -> Candidates:
    table = np.array(list(nlls.values()))  # the smallest number first
    return Candidates(tuple(nlls), table.mean(axis=1), smallest_as_good(table))


def _validation_nlls(members: Sequence[Member], layout: Layout, chunk_members: int | None) -> Iterator[tuple[Member, np.ndarray]]:
    """NLL of every validation point of each member, in the order of their training; infinite for one that diverged."""
    for chunk in chunks_of(members, layout, chunk_members):
        finished = train_chunk(chunk, layout, lambda *_: None)
        fallen = np.array([row["status"] != "finished" for row in finished.rows])
        yield from zip(chunk.members, np.where(fallen[:, None], np.inf, finished.validation_nlls), strict=True)
