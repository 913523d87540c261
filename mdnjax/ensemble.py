"""Every training that a configuration asks for on one data set, as one population; of it the networks that are used.

Trainings come in this order: settings to choose from, networks of the ensemble, restarts of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import logsumexp

from mdnjax import recipe
from mdnjax.config.schema import Run
from mdnjax.data.dataset import Dataset, joined
from mdnjax.data.scaler import Scaler, least_scale, log_slopes, to_training_units
from mdnjax.follow import compile_training, follow_members, held_out_losses
from mdnjax.placement import Layout, place, put
from mdnjax.pooled import Networks, pruned
from mdnjax.population import History, Population, PopulationObserver, on_host
from mdnjax.selection import best_runs, kept, kept_scores, run_keys, stack
from mdnjax.types import Float, Int, Params

LEAST_LOG_PROB = -1e4  # of an example whose density is 0


class Kept(NamedTuple):
    """The networks of G configurations, R each, and how they are pooled: settings first, then the networks of each.

    `runs` are the trainings they come from, `weight` their parts of the mixture, `of_settings` `[G, C]` those of the settings.
    `held_out_nll` is that of single networks on the rows that each held out, the settings pooled by their weights.
    """

    runs: Int[np.ndarray, "G R"]
    weight: Float[np.ndarray, "G R"]
    scale_floor: Float[np.ndarray, "G R"]
    params: Params
    of_settings: Float[np.ndarray, "G C"]
    held_out_nll: Float[np.ndarray, " G"]

    @property
    def leading(self) -> Int[np.ndarray, " G"]:
        """The training of the network that has the largest part, the first of equals."""
        return self.runs[np.arange(len(self.runs)), self.weight.argmax(axis=1)]


def inputs_of(config: Run, scaler: Scaler, train: Dataset, validation: Dataset) -> list[recipe.Inputs]:
    """What each training of a configuration reads."""
    ensemble = config.ensemble
    keys = run_keys(config.seed, ensemble.num_members * ensemble.num_restarts)
    parts = [
        rotated(train, validation, member) if ensemble.rotate else (train, validation) for member in range(ensemble.num_members)
    ]
    scaled = [tuple(to_training_units(scaler, part) for part in pair) for pair in parts]
    least = least_scale(config.data.rounding, scaler, joined(train, validation).y)
    inputs = []
    for setting in range(config.selection.num_settings):
        own = config.with_setting(setting)
        numbers = recipe.split_sections(own.model, own.train)[2]
        numbers["model"]["scale_floor"] = max(numbers["model"]["scale_floor"], least)
        inputs += [recipe.make_inputs(numbers, key, *scaled[run // ensemble.num_restarts]) for run, key in enumerate(keys)]
    return inputs


def rotated(train: Dataset, validation: Dataset, turn: int) -> tuple[Dataset, Dataset]:
    """Other parts of the same rows and sizes: in turn 0 the last rows are held out, in turn 1 those before them, and so on."""
    x, y = joined(train, validation)
    size = len(validation.x)
    end = len(x) - turn % (len(x) // size) * size
    held_out = np.zeros(len(x), bool)
    held_out[end - size : end] = True
    return Dataset(x[~held_out], y[~held_out]), Dataset(x[held_out], y[held_out])


def keep(
    config: Run,
    steps: recipe.Recipe,
    population: Population,
    inputs: recipe.Inputs,
    layout: Layout,
    data: Sequence[tuple[Scaler, Dataset, Dataset]],
) -> Kept:
    """The networks of configurations that follow one another and differ in numbers, keys and data alone; `data` are the scaler
    and the parts to train on and to validate by of each.

    Of each network's restarts it is the best. Settings that there is a choice of are pooled, in the parts that suit the rows held
    out best; one with a training that diverged has none, unless all have.
    """
    num = len(data)
    scores = kept_scores(population, config.train.keep)[: num * config.num_runs]
    best = best_runs(scores, config.ensemble.num_restarts)
    params = kept(population.state, config.train.keep)
    of_settings, held_out = np.ones((num, 1)), scores[best].reshape(num, -1).mean(axis=1)
    if config.selection.settings:
        on_devices = put(layout, params, len(inputs.numbers["model"]["scale_floor"]))
        losses = held_out_losses(steps, on_devices, inputs, layout)[best]
        sound = np.isfinite(scores[best]) & np.isfinite(losses).all(axis=1)
        of_settings, held_out = _stacked(config, losses, sound, num)
    num_members, runs = config.ensemble.num_members, best.reshape(num, -1)
    weight = np.repeat(of_settings / num_members, num_members, axis=1)
    floors = np.asarray(inputs.numbers["model"]["scale_floor"])[runs]
    held_out = held_out + [_held_out_slope(config, *own) for own in data]
    return Kept(runs, weight, floors, jax.tree.map(lambda leaf: np.asarray(leaf)[runs], params), of_settings, held_out)


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
    of_rows = np.maximum(np.where(usable[..., None], np.nan_to_num(of_rows, nan=-np.inf), -np.inf), LEAST_LOG_PROB)
    of_settings = np.array([stack(rows) for rows in of_rows])
    return of_settings, -np.mean(np.asarray(logsumexp(of_rows, axis=1, b=of_settings[..., None])), axis=1)


def train_networks(
    config: Run,
    scaler: Scaler,
    train: Dataset,
    validation: Dataset,
    layout: Layout,
    *,
    observe: PopulationObserver | None = None,
    pad_to: tuple[int, int] | None = None,
    start: Population | None = None,
) -> tuple[Kept, Population]:
    """Trains all that a configuration asks for; what is kept of it, and all of it.

    Losses and scores are in nats and the data's own units.
    Args: `pad_to` are sizes of the train and validation parts for which a program is compiled, whatever theirs are; `start` are
    the trainings of the same configuration and data that are gone on from.
    """
    steps = make_recipe(config, train.x.shape[1], train.y.shape[1])
    inputs = inputs_of(config, scaler, train, validation)
    if pad_to:
        inputs = [recipe.padded(one, *pad_to) for one in inputs]
    slopes = [float(np.mean(log_slopes(scaler, part.y))) for part in (train, validation)]

    def in_own_units(step: int, losses: np.ndarray, scores: np.ndarray, diverged: np.ndarray) -> None:
        if observe:
            observe(step, losses + slopes[0], scores + slopes[1], diverged)

    population = follow_members(steps, config.train, inputs, layout, in_own_units, start and start.state)
    population = on_host(population, len(inputs))
    if start is not None:
        population = _joined(start, population, slopes)
    kept = keep(config, steps, population, place(layout, inputs, len(inputs)), layout, [(scaler, train, validation)])
    history = population.history
    history = history._replace(loss=history.loss + slopes[0], held_out=history.held_out + slopes[1])
    return kept, population._replace(history=history)


def _joined(start: Population, population: Population, slopes: Sequence[float]) -> Population:
    """What went on from a start, with the history of the start before its own, in units of training."""
    before, after = start.history, population.history
    loss = np.concatenate([before.loss - slopes[0], after.loss], axis=1)
    held_out = np.concatenate([before.held_out - slopes[1], after.held_out], axis=1)
    history = History(loss, np.concatenate([before.report_steps, after.report_steps]), held_out)
    return Population(population.state, history, population.diverged | start.diverged)


def compile_networks(config: Run, scaler: Scaler, train: Dataset, validation: Dataset, layout: Layout) -> None:
    """Compiles the programs of `train_networks`."""
    steps, inputs = make_recipe(config, train.x.shape[1], train.y.shape[1]), inputs_of(config, scaler, train, validation)
    part = inputs[:: layout.num_threads]
    compile_training(steps, config.train, layout, place(layout, part, len(part)))


def networks_of(config: Run, kept: Kept) -> Networks:
    """The networks of the first configuration, without those whose part is nothing."""
    params, *pooling = jax.tree.map(lambda leaf: leaf[0], (kept.params, *pooling_of(config, kept)))
    return pruned(Networks(params, *pooling))


def pooling_of(config: Run, kept: Kept) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Parts and scale floors of networks, where these are their own."""
    return (kept.weight.astype(np.float32), kept.scale_floor.astype(np.float32)) if config.networks_differ else (None, None)


def make_recipe(config: Run, num_inputs: int, num_targets: int) -> recipe.Recipe:
    """The training that all of a configuration's networks share."""
    own = config.with_setting(0)
    model, train, _ = recipe.split_sections(own.model, own.train)
    return recipe.make_mdn_recipe(model, train, num_inputs, num_targets)


def _held_out_slope(config: Run, scaler: Scaler, train: Dataset, validation: Dataset) -> float:
    """What the NLL of the rows held out grows by from units of training to the data's own."""
    turns = range(config.ensemble.num_members if config.ensemble.rotate else 1)
    return float(np.mean([np.mean(log_slopes(scaler, rotated(train, validation, turn)[1].y)) for turn in turns]))
