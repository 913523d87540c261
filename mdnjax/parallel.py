"""Computes blocks of rows on all cores: several at a time, in threads, with the results in the order of the blocks."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax

from mdnjax.runtime import num_cores

S = TypeVar("S")
T = TypeVar("T")


def num_threads() -> int:
    """Returns how many blocks are computed at the same time: one for each core, and one on other devices."""
    return num_cores() if jax.default_backend() == "cpu" else 1


def map_in_threads(
    function: Callable[[S], T], blocks: Iterable[S], compiled: bool = False, max_threads: int | None = None
) -> Iterator[T]:
    """Yields function(block) of each block in order; the next blocks are read and computed while the caller uses a result.

    At most one block more than there are threads is read ahead. The first is computed alone, so that each program is compiled
    once, unless the programs are `compiled`. There are `max_threads` threads at most. Of the settings of jax that hold in a
    `with` block, the size of floats holds in the threads too.
    """
    remaining, num = iter(blocks), min(num_threads(), max_threads or num_threads())
    yield from map(function, itertools.islice(remaining, None if num == 1 else 0 if compiled else 1))
    if (second := next(remaining, None)) is None:
        return
    x64, waiting = jax.config.read("jax_enable_x64"), deque[Future[T]]()  # of this thread; others have that of the process

    def compute(block: S) -> T:
        with jax.enable_x64(x64):
            return function(block)

    threads = ThreadPoolExecutor(num)
    try:
        for block in itertools.chain([second], remaining):
            waiting.append(threads.submit(compute, block))
            if len(waiting) > num + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # after an interrupt nobody waits for blocks that nobody reads
