"""A population that is trained in parts, a thread each: how one device of many cores is kept busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np

from mdnjax.training.population import History, Population, PopulationObserver, on_host

T = TypeVar("T")


class Stopped(Exception):
    """Raised inside of a thread whose population is no longer wanted."""


def train_in_threads(
    train: Callable[[Sequence[T], PopulationObserver], Population],
    members: Sequence[T],
    num_threads: int,
    observe: PopulationObserver | None = None,
) -> Population:
    """The population of all members, of which each thread trains every `num_threads`-th; on the host.

    Args: train(members, observe) trains some members, and may return more states than members, which are left out.
    The observer is told of all members at once, with the latest that is known of each.
    """
    num_threads, stop = min(num_threads, len(members)), threading.Event()
    parts, observers = [members[first::num_threads] for first in range(num_threads)], _observers(observe, num_threads, stop)
    x64 = jax.config.read("jax_enable_x64")  # in this thread; another one would start with the process's own

    def train_part(part: Sequence[T], observe_part: PopulationObserver) -> Population:
        with jax.enable_x64(x64):
            return on_host(train(part, observe_part), len(part))

    with ThreadPoolExecutor(num_threads) as threads:
        try:
            return _joined([*threads.map(train_part, parts, observers)])
        except BaseException:  # an interrupt too: the threads end at their next report
            stop.set()
            raise


def _observers(observe: PopulationObserver | None, num_parts: int, stop: threading.Event) -> list[PopulationObserver]:
    """An observer for each part."""
    latest: dict[int, tuple[Any, ...]] = {}
    telling = threading.Lock()

    def make(part: int) -> PopulationObserver:
        def tell(done: int, *values: np.ndarray) -> None:
            if stop.is_set():
                raise Stopped
            with telling:
                latest[part] = (done, *values)
                if observe and len(latest) == num_parts:
                    dones, *of_parts = zip(*(latest[number] for number in range(num_parts)), strict=True)
                    observe(max(dones), *map(_interleaved, of_parts))

        return tell

    return [make(part) for part in range(num_parts)]


def _joined(parts: Sequence[Population]) -> Population:
    """Members in their order; a part whose members all ended early has a shorter history, which is filled up with NaN."""
    state = jax.tree.map(lambda *leaves: _interleaved(leaves), *(part.state for part in parts))
    histories = [part.history for part in parts]
    loss, validation_scores = (
        _interleaved(_equally_long([getattr(own, name) for own in histories])) for name in ("loss", "validation_scores")
    )
    report_steps = max((own.report_steps for own in histories), key=len)
    return Population(state, History(loss, report_steps, validation_scores), _interleaved([part.diverged for part in parts]))


def _equally_long(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    length = max(array.shape[1] for array in arrays)
    return [np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=np.nan) for array in arrays]


def _interleaved(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The array of which each part has every n-th row."""
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    for first, part in enumerate(parts):
        whole[first :: len(parts)] = part
    return whole
