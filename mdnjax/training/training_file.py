"""Trainings as a file, to go on from: the states of all networks, with optimisers and histories."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdnjax import checkpoint
from mdnjax.checkpoint import CheckpointError
from mdnjax.training.population import History, Population
from mdnjax.training.tasks import Task, training_functions_of, training_inputs

MAY_DIFFER = {"output", "runtime"}
OF_TRAIN = {"num_steps", "patience"}  # which may differ too: they say when a training ends


def save_training(path: Path, population: Population, task: Task) -> None:
    """Writes the trainings of a task; the file is replaced whole or not at all."""
    checkpoint.save(path, population, {"training": _description(task)})


def load_training(path: Path, task: Task) -> Population:
    """The trainings of a task, from a file.

    Raises: CheckpointError if it is damaged, or holds trainings of another configuration or of other examples.
    """
    arrays, metadata = checkpoint.read(path)
    try:
        there: dict[str, Any] = json.loads(metadata["training"])
    except (KeyError, ValueError):
        raise CheckpointError(f"{path}: got no training") from None
    own = json.loads(_description(task))
    if other := sorted(key for key in {*own, *there} if own.get(key) != there.get(key)):
        raise CheckpointError(f"{path}: got a training with other {', '.join(other)}; choose another file, or remove it")
    inputs = training_inputs(task)
    state = jax.eval_shape(training_functions_of(task).init, inputs[0])
    stacked = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(inputs), *leaf.shape), leaf.dtype), state)
    known = {name: array for name, array in arrays.items() if name.startswith(("history/", "diverged"))}
    history: Any = History(*(known.get(f"history/{name}", np.zeros(0)) for name in History._fields))
    return checkpoint.restore(path, arrays, Population(stacked, history, np.zeros(len(inputs), bool)))


def _description(task: Task) -> str:
    """What must be the same in a training that goes on: all settings but the length, and the examples."""
    settings = task.config.model_dump(mode="json", by_alias=True)
    sections = {key: value for key, value in settings.items() if key not in MAY_DIFFER}
    sections["train"] = {key: value for key, value in settings["train"].items() if key not in OF_TRAIN}
    digest = hashlib.sha256()
    for array in (*task.train, *task.validation):
        digest.update(np.ascontiguousarray(array, np.float64).tobytes())
    return json.dumps({**sections, "examples": digest.hexdigest()}, sort_keys=True)
