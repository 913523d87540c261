"""The runs of the benchmark: one for each table, contender and split, all with the same settings."""

from __future__ import annotations

from typing import NamedTuple

from experiments.members.plan import Member, digest_of
from experiments.uci.problems import Problem
from experiments.uci.schema import Benchmark
from mdnjax.config.data import Table
from mdnjax.config.tabular import Tabular

NETWORK, SINGLE = "network", "single Gaussian"


class SplitRun(NamedTuple):
    """One contender, trained on one split of a table."""

    problem: str
    contender: str
    split: int
    member: Member


def split_runs(config: Benchmark, problems: list[Problem]) -> list[SplitRun]:
    """Returns a run for every table, contender and split, all with the same settings."""
    runs: list[SplitRun] = []
    contenders = {NETWORK: None, **({SINGLE: 1} if config.data.single_gaussian else {})}
    for setting, problem in enumerate(problems):
        splits = problem.first_splits(config.data.num_splits)
        for contender, num_components in contenders.items():
            for number, split in enumerate(splits):
                split_config = _split_config(config, split, num_components)
                member = Member(len(runs), setting, split_config, digest_of(split_config))
                runs.append(SplitRun(problem.name, contender, number, member))
    return runs


def _split_config(config: Benchmark, split: Table, num_components: int | None) -> Tabular:
    model = config.model if num_components is None else config.model.model_copy(update={"num_components": num_components})
    settings = {name: getattr(config, name) for name in ("seed", "train", "ensemble", "selection")}
    names = ("target_support", "standardise", "rounding", "lattice", "atoms", "censored", "nested")
    data = {name: getattr(config.data, name) for name in names}
    return Tabular(data=split.model_copy(update=data), model=model, **settings)
