"""The data of a member: drawn from a known density, or read from a table."""

from __future__ import annotations

import functools
from typing import NamedTuple

from experiments.members.plan import Member
from experiments.pipeline import make_data, nll_of_truth
from mdnjax.config.data import Examples
from mdnjax.config.schema import Run
from mdnjax.data import Splits
from mdnjax.fitting import make_task
from mdnjax.training.inputs import Task


class MemberData(NamedTuple):
    """The training task of a member, all parts of its data, and the NLL of the true density on them."""

    task: Task
    splits: Splits
    truth_nll: dict[str, float]


def member_data(member: Member) -> MemberData:
    """Makes or reads the data of a member, with its training task and the NLL of the truth."""
    data = member.config.data  # `standardise` does not change them: with one value of it they are drawn only once
    splits, truth_nll = _draw(data.model_copy(update={"standardise": True}), member.config.seed)
    return MemberData(make_task(member.config, *splits[:2]), splits, truth_nll)


@functools.lru_cache(maxsize=256)  # settings with the same seed share their data
def _draw(data: Examples, seed: int) -> tuple[Splits, dict[str, float]]:
    splits, truth = make_data(Run(data=data, seed=seed))
    return splits, nll_of_truth(splits, truth)
