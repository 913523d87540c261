"""Saves and loads the states, optimisers and histories of all networks of a task, so that their training can be continued."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdnjax import checkpoint
from mdnjax.checkpoint import CheckpointError
from mdnjax.training.history import History
from mdnjax.training.inputs import Task, training_functions_of, training_inputs
from mdnjax.training.population import Population

IGNORED_TRAIN_KEYS = {"num_steps", "patience"}  # they may differ when a training is continued: they decide when it ends


def save_training(path: Path, population: Population, task: Task) -> None:
    """Writes the trainings of a task to a file; an existing file is replaced completely or not at all."""
    checkpoint.save(path, population, {"training": _description(task)})


def load_training(path: Path, task: Task) -> Population:
    """Reads the trainings of a task from a file.

    Raises: CheckpointError if the file is damaged, or has trainings of another configuration or of other examples.
    """
    arrays, metadata = checkpoint.read(path)
    try:
        stored: dict[str, Any] = json.loads(metadata["training"])
    except (KeyError, ValueError):
        raise CheckpointError(f"{path}: got a file without a training, expected a training file") from None
    expected = json.loads(_description(task))
    if other := sorted(key for key in {*expected, *stored} if expected.get(key) != stored.get(key)):
        raise CheckpointError(f"{path}: got a training with other {', '.join(other)}; choose another file, or remove it")
    inputs = training_inputs(task)
    state = jax.eval_shape(training_functions_of(task).init, inputs[0])
    stacked = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(inputs), *leaf.shape), leaf.dtype), state)
    history: Any = History(*(arrays.get(f"history/{name}", np.zeros(0)) for name in History._fields))
    return checkpoint.restore(path, arrays, Population(stacked, history, np.zeros(len(inputs), bool)))


def _description(task: Task) -> str:
    """Returns as JSON what must be equal to continue a training: all settings except its length, and a hash of the examples."""
    settings = task.config.model_dump(mode="json", by_alias=True)
    train = {key: value for key, value in settings["train"].items() if key not in IGNORED_TRAIN_KEYS}
    digest = hashlib.sha256()
    for array in filter(lambda array: array is not None, (*task.train, *task.validation)):
        digest.update(np.ascontiguousarray(array, np.float64).tobytes())
    return json.dumps({**settings, "train": train, "examples": digest.hexdigest()}, sort_keys=True)
