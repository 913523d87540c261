"""What the networks of a task are trained on: data in units of training with the predictions of experts, keys and numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdnjax.config.schema import Run
from mdnjax.data.dataset import Dataset, joined, select_rows
from mdnjax.data.scaler import Scaler, limited_inputs, scaled_inputs
from mdnjax.data.stored import StoredRows
from mdnjax.data.training_units import min_scale_of_rounding, parts_to_train_on
from mdnjax.training import functions
from mdnjax.training.experts import Experts, fit_experts
from mdnjax.training.selection import training_keys
from mdnjax.types import Float, Int


class Task(NamedTuple):
    """A configuration, the training and validation examples of its networks, and the units of training.

    If the rows do not fit in memory, the networks are trained on those that are `stored`, and the examples are some of them.
    """

    config: Run
    train: Dataset
    validation: Dataset
    scaler: Scaler
    stored: StoredRows | None = None


def training_inputs(task: Task, experts: Experts | None = None) -> list[functions.TrainingInputs]:
    """Returns the data, key and settings of each network that a task trains.

    Without `experts` their predictions are 0, which is enough where only the shapes count.
    """
    config, scaler, ensemble = task.config, task.scaler, task.config.ensemble
    keys = training_keys(config.seed, ensemble.num_members * ensemble.num_restarts)
    splits = _splits(task, experts) if task.stored is None else _stored_splits(task, task.stored)
    num_train = None if task.stored is None else task.stored.num_train
    min_scale = min_scale_of_rounding(config.data.rounding, scaler, joined(task.train, task.validation).y)
    inputs = list[functions.TrainingInputs]()
    for setting in range(config.selection.num_settings):
        with_setting = config.with_setting(setting)
        numbers = functions.split_sections(with_setting.model, with_setting.train)[2]
        numbers["model"]["scale_floor"] = max(numbers["model"]["scale_floor"], min_scale)
        of_setting = [
            functions.make_training_inputs(numbers, key, *splits[run // ensemble.num_restarts], num_train)
            for run, key in enumerate(keys)
        ]
        for run, first in zip(of_setting, inputs[: len(keys)] or of_setting, strict=True):  # settings share the arrays of rows
            inputs.append(run._replace(train=first.train, validation=first.validation, start=first.start))
    return inputs


def turns_of(config: Run) -> list[int]:
    """Returns the turn of `rotated_split` of each network of the ensemble."""
    return [member if config.ensemble.rotate else 0 for member in range(config.ensemble.num_members)]


def _splits(task: Task, experts: Experts | None) -> list[tuple[Dataset, Dataset]]:
    """Returns the train and validation rows of each network of the ensemble."""
    train, validation = _scaled(task, experts)
    rotates = task.config.ensemble.rotate
    return [rotated_split(train, validation, turn) if rotates else (train, validation) for turn in turns_of(task.config)]


def _stored_splits(task: Task, stored: StoredRows) -> list[tuple[Dataset, Dataset]]:
    """Returns the rows that the first parameters of each network are fitted to, and its validation rows."""
    places = np.arange(0, stored.num_train, functions.spacing_of_start(stored.num_train))
    splits = [
        (stored.dataset(stored.train_positions(turn, places)), stored.dataset(stored.validation_positions(turn)))
        for turn in turns_of(task.config)
    ]
    return splits


def experts_of(task: Task) -> Experts | None:
    """Fits the experts of a task, if it has any, to its train and validation rows."""
    names = task.config.model.experts
    if not names:
        return None
    whole = joined(*parts_to_train_on(task.scaler, task.train, task.validation))
    return fit_experts(names, whole.x, whole.y, task.config.seed, whole.weight)


def _scaled(task: Task, experts: Experts | None) -> list[Dataset]:
    """Returns the train and validation rows in units of training, with the predictions of experts as the last inputs."""
    parts = parts_to_train_on(task.scaler, task.train, task.validation)
    num_experts = len(task.config.model.experts) * parts[0].y.shape[1]
    if not num_experts:
        return parts
    shape = (sum(len(part.x) for part in parts), num_experts)
    predictions = np.zeros(shape, np.float32) if experts is None else experts.predictions
    of_parts = np.split(predictions, [len(parts[0].x)])
    return [part._replace(x=np.concatenate([part.x, more], axis=1)) for part, more in zip(parts, of_parts, strict=True)]


def rotated_split(train: Dataset, validation: Dataset, turn: int) -> tuple[Dataset, Dataset]:
    """Splits the same rows into parts of the same sizes; other rows are for validation: the last at turn 0, then those before."""
    whole, size = joined(train, validation), len(validation.x)
    start = _first_of_validation(len(whole.x), size, turn)
    in_validation = np.zeros(len(whole.x), bool)
    in_validation[start : start + size] = True
    return select_rows(whole, ~in_validation), select_rows(whole, in_validation)


def _first_of_validation(num_rows: int, size: int, turn: int) -> int:
    return num_rows - turn % (num_rows // size) * size - size


def some_inputs(task: Task, run: int, num: int) -> tuple[Float[np.ndarray, "T X"], Float[np.ndarray, "V X"]]:
    """Returns at most `num` train rows and as many validation rows of a training, evenly spaced, in units of training.

    Args: `run` is the place of the training in `training_inputs`. Predictions of experts are not among the inputs.
    """
    config, stored = task.config, task.stored
    turn = turns_of(config)[run // config.ensemble.num_restarts % config.ensemble.num_members]
    if stored is not None:
        places = stored.train_positions(turn, _spaced(stored.num_train, num))
        parts = places, stored.validation_positions(turn)[_spaced(stored.num_validation, num)]
        return stored.dataset(parts[0]).x, stored.dataset(parts[1]).x
    num_train, size = len(task.train.x), len(task.validation.x)
    start, places = _first_of_validation(num_train + size, size, turn), _spaced(num_train, num)
    parts = np.where(places < start, places, places + size), start + _spaced(size, num)
    x, scaler = (task.train.x, task.validation.x), task.scaler
    rows = [np.concatenate([x[0][part[part < num_train]], x[1][part[part >= num_train] - num_train]]) for part in parts]
    train, validation = (limited_inputs(scaler, scaled_inputs(scaler, part)).astype(np.float32) for part in rows)
    return train, validation


def _spaced(num_rows: int, num: int) -> Int[np.ndarray, " n"]:
    """Returns the numbers of at most `num` evenly spaced rows, in order."""
    return np.arange(num_rows) if num_rows <= num else np.arange(num) * num_rows // num


def whole_folds(train: Dataset, validation: Dataset, num_members: int) -> tuple[Dataset, Dataset]:
    """Splits few rows so that each, except for a remainder, is a validation row of one of the networks that rotate.

    Where there are fewer than five networks, a fifth of the rows is enough, so that enough are left for training.
    """
    whole = joined(train, validation)
    num = len(whole.x) - max(len(validation.x), len(whole.x) // max(num_members, 5))
    return select_rows(whole, slice(num)), select_rows(whole, slice(num, None))


def training_functions_of(task: Task) -> functions.TrainingFunctions:
    """Returns the functions that train the networks of a task; tasks that differ only in numbers, keys and data share them."""
    config = task.config.with_setting(0)
    model, train, _ = functions.split_sections(config.model, config.train)
    return functions.make_training_functions(model, train, task.train.x.shape[1], task.train.y.shape[1])
