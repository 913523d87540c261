"""Every training that a configuration asks for on one data set, or many such tasks at once, as one population; of it the networks
that are used.

Trainings come in this order: tasks, settings to choose from, networks of the ensemble, restarts of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import logsumexp

from mdnjax.config.schema import Run
from mdnjax.data.dataset import Dataset, joined
from mdnjax.data.scaler import Scaler, log_slopes, min_scale_of_rounding, to_training_units
from mdnjax.ensemble import Networks, without_unused
from mdnjax.training import functions
from mdnjax.training.placement import Placement, place, put
from mdnjax.training.population import History, Population, PopulationObserver, on_host
from mdnjax.training.selection import best_runs, selected_params, selected_scores, stacking_weights, training_keys
from mdnjax.training.train import compile_training, train_in_parts, validation_losses
from mdnjax.types import Bool, Float, Int, Params

MIN_LOG_PROB = -1e4  # of an example whose density is 0


class Task(NamedTuple):
    """A configuration, the examples that its networks are trained on and validated by, and the units of training."""

    config: Run
    train: Dataset
    validation: Dataset
    scaler: Scaler


class SelectedNetworks(NamedTuple):
    """The networks of G tasks, R each, and how they are pooled: settings first, then the networks of each.

    `runs` are the trainings they come from, `weight` their parts of the mixture, `of_settings` `[G, C]` those of the settings.
    `validation_nll` is that of single networks on the rows that each held out, the settings pooled by their weights. `diverged`
    says whether the training of a network that is used diverged.
    """

    runs: Int[np.ndarray, "G R"]
    weight: Float[np.ndarray, "G R"]
    scale_floor: Float[np.ndarray, "G R"]
    params: Params
    of_settings: Float[np.ndarray, "G C"]
    validation_nll: Float[np.ndarray, " G"]
    diverged: Bool[np.ndarray, " G"]

    @property
    def leading(self) -> Int[np.ndarray, " G"]:
        """The training of the network that has the largest part, the first of equals."""
        return self.runs[np.arange(len(self.runs)), self.weight.argmax(axis=1)]


def training_inputs(task: Task) -> list[functions.TrainingInputs]:
    """What each training of a task reads."""
    config, train, validation, scaler = task
    ensemble = config.ensemble
    keys = training_keys(config.seed, ensemble.num_members * ensemble.num_restarts)
    parts = [
        rotated(train, validation, member) if ensemble.rotate else (train, validation) for member in range(ensemble.num_members)
    ]
    scaled = [tuple(to_training_units(scaler, part) for part in pair) for pair in parts]
    least = min_scale_of_rounding(config.data.rounding, scaler, joined(train, validation).y)
    inputs = []
    for setting in range(config.selection.num_settings):
        own = config.with_setting(setting)
        numbers = functions.split_sections(own.model, own.train)[2]
        numbers["model"]["scale_floor"] = max(numbers["model"]["scale_floor"], least)
        inputs += [
            functions.make_training_inputs(numbers, key, *scaled[run // ensemble.num_restarts]) for run, key in enumerate(keys)
        ]
    return inputs


def rotated(train: Dataset, validation: Dataset, turn: int) -> tuple[Dataset, Dataset]:
    """Other parts of the same rows and sizes: in turn 0 the last rows are held out, in turn 1 those before them, and so on."""
    x, y = joined(train, validation)
    size = len(validation.x)
    end = len(x) - turn % (len(x) // size) * size
    held_out = np.zeros(len(x), bool)
    held_out[end - size : end] = True
    return Dataset(x[~held_out], y[~held_out]), Dataset(x[held_out], y[held_out])


def _select(
    tasks: Sequence[Task], population: Population, inputs: Sequence[functions.TrainingInputs], placement: Placement, capacity: int
) -> SelectedNetworks:
    """Of each network's restarts it is the best. Settings that there is a choice of are pooled, in the parts that suit the rows
    held out best; one with a training that diverged has none, unless all have.
    """
    num, config = len(tasks), tasks[0].config
    scores = selected_scores(population, config.train.keep)
    best = best_runs(scores, config.ensemble.num_restarts)
    params = selected_params(population.state, config.train.keep)
    of_settings, validation_nll = np.ones((num, 1)), scores[best].reshape(num, -1).mean(axis=1)
    if config.selection.settings:
        on_devices = (put(placement, params, capacity), place(placement, inputs, capacity))
        losses = validation_losses(training_functions_of(tasks[0]), *on_devices, placement)[best]
        sound = np.isfinite(scores[best]) & np.isfinite(losses).all(axis=1)
        of_settings, validation_nll = _stacked(config, losses, sound, num)
    num_members, runs = config.ensemble.num_members, best.reshape(num, -1)
    weight = np.repeat(of_settings / num_members, num_members, axis=1)
    floors = np.array([own.numbers["model"]["scale_floor"] for own in inputs])[runs]
    validation_nll = validation_nll + [_validation_slope(task) for task in tasks]
    diverged = np.any(population.diverged[runs] & (weight > 0), axis=1)
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[runs], params)
    return SelectedNetworks(runs, weight, floors, params, of_settings, validation_nll, diverged)


def _stacked(config: Run, losses: np.ndarray, sound: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the settings `[G, C]` by the rows held out, and the NLL of these rows `[G]`."""
    shape = (num, config.selection.num_settings, config.ensemble.num_members)
    log_probs = -losses.astype(np.float64).reshape(*shape, -1)
    if config.ensemble.rotate:  # each row is held out by one network, or none
        of_rows = log_probs.reshape(*shape[:2], -1)
    else:
        of_rows = np.asarray(logsumexp(log_probs, axis=2)) - np.log(config.ensemble.num_members)
    usable = np.all(sound.reshape(shape), axis=2)
    usable[~np.any(usable, axis=1)] = True
    of_rows = np.maximum(np.where(usable[..., None], np.nan_to_num(of_rows, nan=-np.inf), -np.inf), MIN_LOG_PROB)
    of_settings = np.array([stacking_weights(rows) for rows in of_rows])
    return of_settings, -np.mean(np.asarray(logsumexp(of_rows, axis=1, b=of_settings[..., None])), axis=1)


def train_networks(
    tasks: Sequence[Task],
    placement: Placement,
    *,
    capacity: int | None = None,
    observe: PopulationObserver | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
) -> tuple[SelectedNetworks, Population]:
    """Trains all that tasks ask for which differ in numbers, keys and data alone; what is kept of it, and all of it.

    Losses and scores are in nats and the data's own units.
    Args: `capacity` is the number of tasks for which a program is compiled, if there may be more of them than these; `pad_to` are
    sizes of the train and validation parts for which it is compiled, whatever theirs are; `start` are the trainings of the same
    tasks that are gone on from.
    """
    loop, num_runs = tasks[0].config.train, tasks[0].config.num_runs
    inputs, capacity = [own for task in tasks for own in training_inputs(task)], (capacity or len(tasks)) * num_runs
    if pad_to:
        inputs = [functions.padded(one, *pad_to) for one in inputs]
    slopes = np.repeat([_mean_slopes(task) for task in tasks], num_runs, axis=0).T

    def in_own_units(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if observe:
            observe(step, losses + slopes[0], scores + slopes[1], diverged)

    population = train_in_parts(
        training_functions_of(tasks[0]),
        loop,
        inputs,
        placement,
        capacity=capacity,
        observe=in_own_units,
        states=start and start.state,
    )
    population = on_host(population, len(inputs))
    if start is not None:
        population = _joined(_moved(start, -slopes), population)
    selected = _select(tasks, population, inputs, placement, capacity)
    return selected, _moved(population, slopes)


def _moved(population: Population, slopes: Float[np.ndarray, "2 M"]) -> Population:
    """The same with these numbers added to its losses and to its scores."""
    history = population.history
    loss, scores = history.loss + slopes[0][:, None], history.validation_scores + slopes[1][:, None]
    return population._replace(history=history._replace(loss=loss, validation_scores=scores))


def _joined(start: Population, population: Population) -> Population:
    """What went on from a start, with the history of the start before its own."""
    before, after = start.history, population.history
    loss = np.concatenate([before.loss, after.loss], axis=1)
    scores = np.concatenate([before.validation_scores, after.validation_scores], axis=1)
    history = History(loss, np.concatenate([before.report_steps, after.report_steps]), scores)
    return Population(population.state, history, population.diverged | start.diverged)


def compile_networks(task: Task, placement: Placement) -> None:
    """Compiles the programs of `train_networks`."""
    part = training_inputs(task)[:: placement.num_threads]
    compile_training(training_functions_of(task), task.config.train, placement, place(placement, part, len(part)))


def networks_of(config: Run, selected: SelectedNetworks) -> Networks:
    """The networks of the first configuration, without those whose part is nothing."""
    params, *pooling = jax.tree.map(lambda leaf: leaf[0], (selected.params, *pooling_of(config, selected)))
    return without_unused(Networks(params, *pooling))


def pooling_of(config: Run, selected: SelectedNetworks) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Parts and scale floors of networks, where these are their own."""
    if not config.networks_differ:
        return None, None
    return selected.weight.astype(np.float32), selected.scale_floor.astype(np.float32)


def training_functions_of(task: Task) -> functions.TrainingFunctions:
    """The training that all networks of a task share, and all tasks that differ in numbers, keys and data alone."""
    own = task.config.with_setting(0)
    model, train, _ = functions.split_sections(own.model, own.train)
    return functions.make_training_functions(model, train, task.train.x.shape[1], task.train.y.shape[1])


def _mean_slopes(task: Task) -> list[float]:
    """What the mean NLL of both parts grows by from units of training to the data's own."""
    return [float(np.mean(log_slopes(task.scaler, part.y))) for part in (task.train, task.validation)]


def _validation_slope(task: Task) -> float:
    """The same of the rows that the networks held out."""
    turns = range(task.config.ensemble.num_members if task.config.ensemble.rotate else 1)
    held_out = (rotated(task.train, task.validation, turn)[1] for turn in turns)
    return float(np.mean([np.mean(log_slopes(task.scaler, part.y)) for part in held_out]))
