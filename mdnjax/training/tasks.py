"""Trains all networks of one configuration and data set, or of many such tasks, as one population, and selects those to use.

The trainings are ordered by task, then by setting, then by network of the ensemble, then by restart of a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from mdnjax.compilation import in_background
from mdnjax.config.schema import Run
from mdnjax.data.dataset import Dataset, mean_over_rows
from mdnjax.data.scaler import log_slopes
from mdnjax.data.stored import StoredRows
from mdnjax.ensemble import Networks, without_unused
from mdnjax.least_squares import LeastSquares
from mdnjax.training import functions
from mdnjax.training.budget import Budget
from mdnjax.training.experts import Experts
from mdnjax.training.feed import OnDisk, remove_other_trainings
from mdnjax.training.history import History, PopulationObserver, Report
from mdnjax.training.inputs import Task, experts_of, rotated_split, training_functions_of, training_inputs, turns_of
from mdnjax.training.placement import Placement, place, place_stacked, placed_like
from mdnjax.training.population import Population, on_host
from mdnjax.training.racing import Race
from mdnjax.training.selection import best_runs, selected_params, selected_scores
from mdnjax.training.spread import UNCHANGED
from mdnjax.training.stacking import Stack, stack_settings
from mdnjax.training.train import compile_training, compile_validation_losses, train_in_parts, validation_losses
from mdnjax.trees import Trees, stacked
from mdnjax.types import Bool, Float, Int, Params


class SelectedNetworks(NamedTuple):
    """The R networks of each of G tasks, ordered by setting and then by network of the ensemble, and how they are pooled.

    `runs` are the indices of their trainings, `weight` their weights in the mixture, `setting_weights` the weights of C settings.
    The scales of a network are multiplied by its `scale_factor`.
    `validation_nll` is the mean NLL of the networks on their validation rows; if there are several settings, it is that of the
    settings pooled by their weights. `trees` are those of the experts, `least_squares` are fits that take what the settings leave
    of the weight, if there are any. `diverged` is true if the training of a network with a positive weight diverged.
    """

    runs: Int[np.ndarray, "G R"]
    weight: Float[np.ndarray, "G R"]
    scale_floor: Float[np.ndarray, "G R"]
    scale_factor: Float[np.ndarray, "G R"]
    params: Params
    trees: dict[str, Trees] | None
    least_squares: LeastSquares | None
    setting_weights: Float[np.ndarray, "G C"]
    validation_nll: Float[np.ndarray, " G"]
    diverged: Bool[np.ndarray, " G"]

    @property
    def leading(self) -> Int[np.ndarray, " G"]:
        """The training of the network with the largest weight, the first one of equal weights."""
        return self.runs[np.arange(len(self.runs)), self.weight.argmax(axis=1)]

    def shares(self, task: int) -> dict[str, list[float]]:
        """Returns the weights in the mixture of the settings, and of a constant and least squares."""
        of_linear = [] if self.least_squares is None else self.least_squares.weight[task].tolist()
        return {"of_settings": self.setting_weights[task].tolist(), "of_least_squares": of_linear}


def _select(
    tasks: Sequence[Task], population: Population, inputs: Sequence[functions.TrainingInputs], placement: Placement, capacity: int
) -> SelectedNetworks:
    """Selects the best restart of each network, and pools several settings by the likelihood of the validation rows.

    A setting whose scores or losses are not all finite has weight 0, unless this is the case for all settings of the task.
    """
    num_tasks, config = len(tasks), tasks[0].config
    scores = selected_scores(population, config.train.keep)
    best = best_runs(scores, config.ensemble.num_restarts)
    params = selected_params(population.state, config.train.keep)
    stack = Stack(np.ones((num_tasks, 1)), None, scores[best].reshape(num_tasks, -1).mean(axis=1), np.ones(num_tasks))
    if config.selection.settings:
        scored = inputs if tasks[0].stored is None else [run._replace(train=None, window=None) for run in inputs]  # pyright: ignore
        placed = (place_stacked(placement, params, capacity), place(placement, scored, capacity))
        losses = validation_losses(training_functions_of(tasks[0]), *placed, placement)[best]
        finite = np.isfinite(scores[best]) & np.isfinite(losses[:, UNCHANGED]).all(axis=1)
        stack = stack_settings(tasks, losses, finite, population.history.validation_scores[best])
    num_members, runs = config.ensemble.num_members, best.reshape(num_tasks, -1)
    weight = np.repeat(stack.setting_weights / num_members, num_members, axis=1)
    total = np.sum(weight, axis=1, keepdims=True)  # least squares has the rest; if it has all, one network is kept
    weight = np.where(total > 0, weight / np.where(total > 0, total, 1), np.eye(1, weight.shape[1]))
    floors = np.array([run.numbers["model"]["scale_floor"] for run in inputs])[runs]
    validation_nll = stack.validation_nll + [_rotated_validation_offset(task) for task in tasks]
    diverged = np.any(population.diverged[runs] & (weight > 0), axis=1)
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[runs], params)
    factors = np.repeat(stack.scale_factor[:, None], runs.shape[1], axis=1)
    selected = (runs, weight, floors, factors, params, None, stack.least_squares, stack.setting_weights, validation_nll, diverged)
    return SelectedNetworks(*selected)


def train_networks(
    tasks: Sequence[Task],
    placement: Placement,
    *,
    capacity: int | None = None,
    observe: PopulationObserver | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
    budget: Budget | None = None,
) -> tuple[SelectedNetworks, Population]:
    """Trains all networks of tasks that differ only in numbers, keys and data; returns the selected networks and all trainings.

    Losses and scores are in nats and the data's own units.
    Args: `capacity` is the number of tasks for which a program is compiled, if another call has more tasks than this one.
    `pad_to` are the sizes to which the train and validation parts are padded. `start` has earlier trainings of the same tasks,
    which are continued. The trainings end when the `budget` is used; the optimiser must have a constant schedule then.
    """
    loop, num_runs = tasks[0].config.train, tasks[0].config.num_runs
    num_tasks = capacity or len(tasks)
    experts = _experts_of_all(tasks, placement, num_tasks, pad_to)
    inputs = [run for task, of_task in zip(tasks, experts, strict=True) for run in training_inputs(task, of_task)]
    if pad_to:
        inputs = [functions.pad_inputs(run, *pad_to) for run in inputs]
    capacity, offsets = num_tasks * num_runs, _nll_offsets(tasks, num_runs)

    def observe_in_data_units(report: Report) -> None:
        if observe:
            observe(report._replace(losses=report.losses + offsets[0], scores=report.scores + offsets[1]))

    population = train_in_parts(
        training_functions_of(tasks[0]),
        loop,
        inputs,
        placement,
        capacity=capacity,
        observe=observe_in_data_units,
        states=start and start.state,
        race=_race_of(tasks),
        budget=budget,
        on_disk=None if tasks[0].stored is None else _on_disk(tasks[0], tasks[0].stored),
    )
    population = on_host(population, len(inputs))
    if start is not None:
        population = _with_earlier_history(_with_offsets(start, -offsets), population)
    selected = _select(tasks, population, inputs, placement, capacity)
    if fitted := [of_task.trees for of_task in experts if of_task]:
        selected = selected._replace(trees=stacked(fitted))
    return selected, _with_offsets(population, offsets)


def _experts_of_all(
    tasks: Sequence[Task], placement: Placement, num_tasks: int, pad_to: tuple[int, int] | None
) -> list[Experts | None]:
    """Fits the experts of all tasks, and compiles the programs of their networks at the same time."""
    if not tasks[0].config.model.experts:
        return [experts_of(task) for task in tasks]
    with in_background(partial(compile_networks, tasks[0], placement, num_tasks, pad_to)):
        return [experts_of(task) for task in tasks]


def _on_disk(task: Task, stored: StoredRows) -> OnDisk:
    """Returns the rows of a task that are not in memory, for each of its trainings, and removes files of other trainings."""
    config, size = task.config, task.config.train.batch_size
    assert size is not None
    turns = [turn for turn in turns_of(config) for _ in range(config.ensemble.num_restarts)] * config.selection.num_settings
    name = hashlib.sha256(f"{config.model_dump_json()} {stored.path.name} {stored.order.sum()}".encode()).hexdigest()[:16]
    on_disk = OnDisk(stored, turns, size, name)
    remove_other_trainings(on_disk)
    return on_disk


def _race_of(tasks: Sequence[Task]) -> Race | None:
    """Returns the race of the settings of tasks, if their configuration wants one."""
    config = tasks[0].config
    if not config.selection.racing or len(config.selection.settings) < 2:
        return None
    of_setting = config.num_runs // config.selection.num_settings
    of_tasks, settings = np.divmod(np.arange(len(tasks) * config.num_runs) // of_setting, config.selection.num_settings)
    return Race(of_tasks, settings, config.train.num_steps, config.train.report_every)


def _with_offsets(population: Population, offsets: Float[np.ndarray, "2 M"]) -> Population:
    """Adds the offsets to the losses and to the validation scores of a population."""
    history = population.history
    loss, scores = history.loss + offsets[0][:, None], history.validation_scores + offsets[1][:, None]
    return population._replace(history=history._replace(loss=loss, validation_scores=scores))


def _with_earlier_history(start: Population, population: Population) -> Population:
    """Puts the history of the start before that of the trainings that continued from it."""
    before, after = start.history, population.history
    loss = np.concatenate([before.loss, after.loss], axis=1)
    scores = np.concatenate([before.validation_scores, after.validation_scores], axis=1)
    history = History(loss, np.concatenate([before.report_steps, after.report_steps]), scores)
    return Population(population.state, history, population.diverged | start.diverged)


def compile_networks(task: Task, placement: Placement, num_tasks: int = 1, pad_to: tuple[int, int] | None = None) -> None:
    """Compiles the programs that `train_networks` runs for this number of tasks like this one."""
    config, training_functions = task.config, training_functions_of(task)
    inputs = training_inputs(task._replace(config=config.with_setting(0)))[0]
    inputs = functions.pad_inputs(inputs, *pad_to) if pad_to else inputs
    num_runs = num_tasks * config.num_runs
    of_thread = placed_like(placement, inputs, -(-num_runs // placement.num_threads))
    compile_training(training_functions, config.train, placement, of_thread)
    if config.selection.settings:
        params = jax.eval_shape(training_functions.init, inputs).params
        params, inputs = (placed_like(placement, tree, num_runs) for tree in (params, inputs))
        compile_validation_losses(training_functions, params, inputs, placement)


def networks_of(config: Run, selected: SelectedNetworks) -> Networks:
    """Returns the networks of the first task, without those of negligible weight."""
    return without_unused(jax.tree.map(lambda leaf: leaf[0], networks_of_all(config, selected)))


def networks_of_all(config: Run, selected: SelectedNetworks) -> Networks:
    """Returns the networks of all tasks; they have no weights, floors and factors of their own if they do not differ in them."""
    networks = Networks(selected.params, trees=selected.trees, least_squares=selected.least_squares)
    if not config.networks_differ:
        return networks
    weight, floor, factor = (of.astype(np.float32) for of in (selected.weight, selected.scale_floor, selected.scale_factor))
    return networks._replace(weight=weight, scale_floor=floor, scale_factor=factor if config.selection.adjust_scales else None)


def _nll_offsets(tasks: Sequence[Task], num_runs: int) -> Float[np.ndarray, "2 M"]:
    """Returns the `_nll_offset` of the training part and of the validation part of each training."""
    of_tasks = [[_nll_offset(task, part) for part in (task.train, task.validation)] for task in tasks]
    return np.repeat(of_tasks, num_runs, axis=0).T


def _nll_offset(task: Task, part: Dataset) -> float:
    """Returns what is added to the mean NLL of a part to convert it from units of training to the data's own units."""
    return float(mean_over_rows(log_slopes(task.scaler, part.y, part.censoring), part.weight))


def _rotated_validation_offset(task: Task) -> float:
    """Returns the mean `_nll_offset` of the validation parts of all networks."""
    turns = range(task.config.ensemble.num_members if task.config.ensemble.rotate else 1)
    return float(np.mean([_nll_offset(task, rotated_split(task.train, task.validation, turn)[1]) for turn in turns]))
