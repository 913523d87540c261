"""The trainings of one thread as a file, from which they continue with the same numbers if the process is killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax import checkpoint

PREFIX = ".training-"
SECONDS = 60.0  # between two writes of the file


class Progress(NamedTuple):
    """What the loop of a population knows between two chunks of steps.

    `states` are those after the last chunk and `previous` those before it. `losses` and `scores` are lists of arrays, which are
    joined along their last axis, and `steps` is the list of the steps at which chunks ended.
    """

    states: Any
    previous: Any
    losses: Any
    scores: Any
    steps: Any
    running: Any
    diverged: Any


class PartFile:
    """Stores the progress of some trainings, at most once in SECONDS, and at their end.

    Args: `others` returns an array of what else is known of these trainings, such as their places in a race; `restore` takes it.
    """

    def __init__(
        self,
        path: Path,
        others: Callable[[], np.ndarray] = lambda: np.zeros(0),
        restore: Callable[[np.ndarray], None] = lambda _: None,
    ) -> None:
        self.path, self.others, self.restore = path, others, restore
        self._written = time.monotonic()

    def save(self, progress: Progress, is_end: bool) -> None:
        """Writes the progress, if it is time; an existing file is replaced whole or not at all."""
        if not is_end and time.monotonic() - self._written < SECONDS:
            return
        losses, scores = (np.concatenate(parts, axis=-1) for parts in (progress.losses, progress.scores))
        arrays = progress._replace(losses=losses, scores=scores, steps=np.array(progress.steps, np.int64))
        checkpoint.save(self.path, {"progress": arrays, "others": self.others()})
        self._written = time.monotonic()

    def load(self, states: Any) -> Progress | None:
        """Returns the stored progress of trainings with states like these, or None if there is none.

        Raises: CheckpointError if the file is damaged.
        """
        if not self.path.exists():
            return None
        arrays, _ = checkpoint.read(self.path)
        others = arrays.pop("others")
        rest = {name: arrays[f"progress/{name}"] for name in Progress._fields[2:]}
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), states)
        tree = {"progress": Progress(like, like, *rest.values())}
        self.restore(others)
        stored = checkpoint.restore(self.path, arrays, tree)["progress"]
        return stored._replace(losses=[stored.losses], scores=[stored.scores], steps=stored.steps.tolist())
