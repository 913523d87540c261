"""Trains the networks of a configuration, and makes a predictor of the selected ones; commands and `fit_examples` share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from mdnjax.config.data import MAX_KNOWN_ROWS, Table
from mdnjax.config.ensembles import Ensemble
from mdnjax.config.schema import Run
from mdnjax.data.columns import Columns
from mdnjax.data.dataset import Dataset, joined
from mdnjax.data.stored import RowSource, StoredRows, StoreError, store_rows
from mdnjax.data.training_units import fit_units
from mdnjax.ensemble import used_networks
from mdnjax.known_rows import KnownRows, known_rows
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training.budget import Budget
from mdnjax.training.history import History, PopulationObserver
from mdnjax.training.inputs import Task, some_inputs, whole_folds
from mdnjax.training.placement import Placement, local_placement
from mdnjax.training.population import Fit, Population, member
from mdnjax.training.selection import Candidates, select_candidate
from mdnjax.training.tasks import SelectedNetworks, networks_of, train_networks

MIN_ROWS_FOR_SHARES = 50  # with fewer, every row is used for validation, since a tenth of them is too few
MAX_KNOWN_VALUES = 2**17  # half a megabyte of inputs of training rows in a predictor, and as much of held-out rows


class Fitted(NamedTuple):
    """A predictor and the trainings that it was selected from; losses and scores are in nats and the data's own units."""

    predictor: Predictor
    selected: SelectedNetworks
    population: Population

    @property
    def diverged(self) -> bool:
        """Whether the training of any network in the predictor diverged."""
        return bool(self.selected.diverged.any())

    @property
    def history(self) -> History:
        """The curves of the R networks in the mixture, those with the largest weight first: `loss[R, steps]` and the like."""
        used = used_networks(self.selected.weight[0])
        runs = self.selected.runs[0][used[np.argsort(-self.selected.weight[0][used], kind="stable")]]
        loss, report_steps, scores = self.population.history
        return History(loss[runs], report_steps, scores[runs])

    @property
    def leading(self) -> Fit:
        """The training of the network with the largest weight in the mixture."""
        return member(self.population, int(self.selected.leading[0]))._replace(diverged=self.diverged)


def make_task(config: Run, train: Dataset, validation: Dataset) -> Task:
    """Returns the configuration and the data to train, with the units of training computed from the train rows.

    Wild targets are replaced by the nearest others (see `fit_units`). With few rows more of them are used for validation.
    Raises: ValueError if a target is outside of the support that the configuration sets, or has no such atoms.
    """
    if config.ensemble.rotate and len(train.x) + len(validation.x) < MIN_ROWS_FOR_SHARES:
        train, validation = whole_folds(train, validation, config.ensemble.num_members)
    scaler, train, validation = fit_units(config.data, train, validation, has_cells(config, train.y.shape[1]))
    return Task(config, train, validation, scaler)


def has_cells(config: Run, num_targets: int) -> bool:
    """Returns whether the loss can be that of the probabilities of cells, which need independent targets."""
    independent = num_targets == 1 or config.model.family not in ("full", "low_rank")
    return config.train.loss == "nll" and independent


def preparation_of(config: Run) -> str:
    """Returns what a fit does before its first step, for showing its progress."""
    return "fitting trees and compiling" if config.model.experts else "compiling"


def placement_of(config: Run) -> Placement:
    """Returns the devices that train the networks of a configuration: all, or for a single network the first."""
    return local_placement() if config.num_runs > 1 else Placement(tuple(jax.local_devices()[:1]), width=1)


def fit_networks(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    placement: Placement | None = None,
    columns: Columns | None = None,
    observe: PopulationObserver | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
    budget: float | None = None,
    source: RowSource | None = None,
) -> Fitted:
    """Trains all networks of a configuration as one population, and makes a predictor from the selected networks.

    Args: observe(report) gets the losses and validation NLLs of all trainings; `pad_to` are the numbers of train and
    validation rows that programs are compiled for, at least those of the data; `start` is the population of an earlier fit with
    the same settings and examples, whose unfinished trainings continue up to `train.num_steps`. `budget` are the seconds that
    all of this may take: training ends before, with rates that fall with the time, so that results depend on the machine.
    If the rows do not fit in memory, `source` has all of them and the rows given here are some, by which units are computed; a
    call that was interrupted goes on from the files in its folder, until `remove_files` removes them.
    Raises: ValueError if the trainings in `start` have already taken that many steps, or as `stored_rows` does.
    """
    if start is not None and int(np.max(start.state.step)) >= config.train.num_steps:
        got, taken = config.train.num_steps, int(np.max(start.state.step))
        raise ValueError(f"train.num_steps: got {got} for trainings that have taken {taken} steps, expected more")

    limit = None if budget is None else Budget(budget)
    config = config if limit is None else with_constant_rates(config)
    task, placement = make_task(config, train, validation), placement or placement_of(config)
    if source is not None:
        task = task._replace(stored=stored_rows(task, source, joined(train, validation)))
    selected, population = train_networks([task], placement, observe=observe, pad_to=pad_to, start=start, budget=limit)
    predictor = make_predictor(config.model, networks_of(config, selected), task.scaler, columns)
    return Fitted(replace(predictor, known=_known_rows_of(task, int(selected.leading[0]))), selected, population)


def _known_rows_of(task: Task, run: int) -> KnownRows | None:
    """Returns rows of the training of the network with the largest weight, or None if the configuration wants none."""
    data = task.config.data
    num = data.known_rows if isinstance(data, Table) else MAX_KNOWN_ROWS
    return known_rows(*some_inputs(task, run, min(num, MAX_KNOWN_VALUES // task.train.x.shape[1])))


def stored_rows(task: Task, source: RowSource, known: Dataset) -> StoredRows:
    """Returns the rows of a source in the units of training of a task, stored in a file.

    Args: `known` are the examples from which the units were computed. What needs all rows at once is not possible.
    Raises: StoreError if the task has a setting that needs all rows in memory, or there are few rows; as `store_rows` does.
    """
    config, num_rows = task.config, len(source.order)
    refused = {
        "model.experts": config.model.experts,
        "data.censored": config.data.censored != (None, None),
        "the weights of rows": known.weight is not None,
        "censored rows": known.censoring is not None,
        "train.batch_size null": config.train.batch_size is None,
        f"{num_rows} rows": num_rows < MIN_ROWS_FOR_SHARES,
    }
    if used := [name for name, is_used in refused.items() if is_used]:
        raise StoreError(f"got {used[0]} with rows on disk, which needs all rows in memory")
    return store_rows(source, task.scaler, known, joined(task.train, task.validation))


def choose_num_components(
    config: Run,
    train: Dataset,
    validation: Dataset,
    *,
    observe: Callable[[int], None] | None = None,
    pad_to: tuple[int, int] | None = None,
) -> Candidates:
    """Trains one network (the best of its restarts) for each number in `selection.num_components`, and selects a number.

    Selects the smallest number whose validation NLL is within one standard error of the best. A candidate that diverged is never
    selected, unless all diverged: then it is the smallest. Args: observe(number) is called before each candidate is trained.
    """
    nlls, scored = {}, make_task(single_network(config, 1), train, validation).validation
    for number in sorted(config.selection.num_components):
        if observe:
            observe(number)
        fitted = fit_networks(single_network(config, number), train, validation, pad_to=pad_to)
        nlls[number] = np.full(len(scored.x), np.inf) if fitted.diverged else fitted.predictor.nll(scored)
    return select_candidate(nlls, validation.weight)


def single_network(config: Run, num_components: int) -> Run:
    """Returns the configuration of a single network (the best of its restarts) with this number of components.

    It has no experts: those for new rows have seen the validation rows, by which numbers of components are compared.
    """
    with_number = with_num_components(config, num_components)
    model = with_number.model.model_copy(update={"experts": ()})
    return with_number.model_copy(update={"model": model, "ensemble": Ensemble(num_restarts=config.ensemble.num_restarts)})


def with_constant_rates(config: Run) -> Run:
    """Returns the configuration with an optimiser of a constant learning rate, which a budget multiplies by a cosine."""
    optimizer = config.train.optimizer.model_copy(update={"schedule": "constant_schedule", "schedule_options": {}})
    return config.model_copy(update={"train": config.train.model_copy(update={"optimizer": optimizer})})


def with_num_components(config: Run, num_components: int) -> Run:
    """Returns the configuration with this number of components."""
    return config.model_copy(update={"model": config.model.model_copy(update={"num_components": num_components})})
