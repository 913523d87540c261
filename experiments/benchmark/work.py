"""The work that is timed: training steps of some size, with data and first parameters that are the same for every contender."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

RATE = 1e-3
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Sizes(NamedTuple):
    """The sizes on which the cost of a training step depends; `batch_size` is None for a full batch."""

    num_examples: int = 1000
    num_components: int = 5
    hidden_sizes: tuple[int, ...] = (20,)
    num_targets: int = 1
    family: str = "diagonal"
    batch_size: int | None = None

    @property
    def num_at_once(self) -> int:
        """The number of examples of one step."""
        return self.batch_size or self.num_examples


STUDY = Sizes()


class Work(NamedTuple):
    """Training steps of some size: all contenders start from these layers (kernel and bias each) and train on these data.

    `start` is what mdnjax needs: functions, state and inputs of the training.
    """

    sizes: Sizes
    layers: list[tuple[np.ndarray, ...]]
    x: np.ndarray
    y: np.ndarray
    start: Any = None
    first_loss: float = 0.0
