"""The work that is timed: one training step of some size, its data and first parameters, the same for every contender."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

RATE = 1e-3


class Sizes(NamedTuple):
    """What a training step's cost depends on; `batch_size` is None for the whole data."""

    num_examples: int = 1000
    num_components: int = 5
    hidden_sizes: tuple[int, ...] = (20,)
    num_targets: int = 1
    family: str = "diagonal"
    batch_size: int | None = None

    @property
    def num_at_once(self) -> int:
        """Examples of a step."""
        return self.batch_size or self.num_examples


STUDY = Sizes()


class Work(NamedTuple):
    """Training steps of some size: all contenders start at these layers (kernel and bias each) and see these data."""

    sizes: Sizes
    layers: list[tuple[np.ndarray, ...]]
    x: np.ndarray
    y: np.ndarray
    start: Any = None  # of mdnjax
    first_loss: float = 0.0
