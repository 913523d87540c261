"""Trains the parts of a population in several threads, so that one device with many cores uses all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import numpy as np

from mdnjax.training.history import History, PopulationObserver, Report
from mdnjax.training.population import Population, on_host

T = TypeVar("T")


class Stopped(Exception):
    """Raised in a thread to end its training, after another thread has failed or the user has interrupted."""


def train_in_threads(
    train: Callable[[Sequence[T], PopulationObserver], Population],
    members: Sequence[T],
    num_threads: int,
    observe: PopulationObserver | None = None,
) -> Population:
    """Trains all members, each thread every `num_threads`-th of them, and returns their population as numpy arrays.

    Args: train(members, observe) trains some members; states that it returns beyond the number of members are removed.
    `observe` is always called with all members, with the latest values of each.
    """
    num_threads, stop = min(num_threads, len(members)), threading.Event()
    parts, observers = [members[first::num_threads] for first in range(num_threads)], _observers(observe, num_threads, stop)
    x64 = jax.config.read("jax_enable_x64")  # may be set for this thread alone; other threads start with the value of the process

    def train_part(part: Sequence[T], observe_part: PopulationObserver) -> Population:
        with jax.enable_x64(x64):
            return on_host(train(part, observe_part), len(part))

    with ThreadPoolExecutor(num_threads) as threads:
        try:
            return _merged([*threads.map(train_part, parts, observers)])
        except BaseException:  # also KeyboardInterrupt; the threads end at their next report
            stop.set()
            raise


def _observers(observe: PopulationObserver | None, num_parts: int, stop: threading.Event) -> list[PopulationObserver]:
    """Returns an observer for each part, which reports on all parts together once each has reported."""
    latest: dict[int, Report] = {}
    lock = threading.Lock()

    def make(part: int) -> PopulationObserver:
        def observe_part(report: Report) -> None:
            if stop.is_set():
                raise Stopped
            with lock:
                latest[part] = report
                if observe and len(latest) == num_parts:
                    steps, *values = zip(*(latest[index] for index in range(num_parts)), strict=True)
                    observe(Report(max(steps), *map(_interleaved, values)))

        return observe_part

    return [make(part) for part in range(num_parts)]


def _merged(parts: Sequence[Population]) -> Population:
    """Returns the population of all members in their order.

    The history of a part is shorter if all its members ended early; it is padded with NaN.
    """
    state = jax.tree.map(lambda *leaves: _interleaved(leaves), *(part.state for part in parts))
    histories = [part.history for part in parts]
    loss, validation_scores = (
        _interleaved(_padded([getattr(history, name) for history in histories])) for name in ("loss", "validation_scores")
    )
    report_steps = max((history.report_steps for history in histories), key=len)
    return Population(state, History(loss, report_steps, validation_scores), _interleaved([part.diverged for part in parts]))


def _padded(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pads rows with NaN to the length of the longest."""
    length = max(array.shape[1] for array in arrays)
    return [np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=np.nan) for array in arrays]


def _interleaved(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the array of which each of n parts has every n-th row."""
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    for first, part in enumerate(parts):
        whole[first :: len(parts)] = part
    return whole
