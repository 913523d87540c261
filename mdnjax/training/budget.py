"""A limit of time for a fit: the learning rates fall with the time that is used, so that training is complete when it ends."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

SHARE_FOR_THE_REST = 0.05  # of the budget, for what follows training: the weights of the networks
RATE = "optimizer.learning_rate"


class Budget:
    """The seconds that a fit may take, from the moment at which this is made.

    The rates follow a cosine from their first values to 0, by the share of the steps or of the time that is used, whichever is
    larger. So results depend on the speed of the machine.
    """

    def __init__(self, seconds: float) -> None:
        self.start = time.monotonic()
        self.deadline = self.start + (1 - SHARE_FOR_THE_REST) * seconds

    def is_used(self) -> bool:
        """Returns whether training must end."""
        return time.monotonic() >= self.deadline

    def last_step(self, done: int, num_steps: int, begin: float) -> int:
        """Returns at which step training will end at the present speed, at most `num_steps`."""
        share = (time.monotonic() - begin) / max(self.deadline - begin, 1e-9)
        return max(done, min(num_steps, int(done / max(share, 1e-9))))

    def with_rates(self, inputs: Any, rates: np.ndarray, share_of_steps: float, begin: float) -> Any:
        """Returns the inputs of a population with the learning rates of its next chunk of steps.

        Args: `rates` are the first ones, `begin` is the time at which the first step was taken.
        """
        share_of_time = (time.monotonic() - begin) / max(self.deadline - begin, 1e-9)
        factor = 0.5 * (1 + np.cos(np.pi * min(max(share_of_steps, share_of_time, 0.0), 1.0)))
        (first, *others) = inputs
        train = first.numbers["train"]
        changed = jax.device_put((rates * factor).astype(rates.dtype), train[RATE].sharding)
        return (first._replace(numbers={**first.numbers, "train": {**train, RATE: changed}}), *others)
