"""Computes blocks of rows on all cores: several at a time, in threads, with the results in the order of the blocks."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np

from mdnjax.batching import padded_size
from mdnjax.runtime import num_cores
from mdnjax.types import Int

S = TypeVar("S")
T = TypeVar("T")


class _Thread(threading.local):
    uses_one_core = False


THIS_THREAD = _Thread()


def num_threads() -> int:
    """Returns how many blocks are computed at the same time: one for each core, and one on other devices or in `one_core`."""
    return num_cores() if jax.default_backend() == "cpu" and not THIS_THREAD.uses_one_core else 1


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Computes one block at a time in this thread, inside of the `with` block: other threads or processes use the other cores."""
    before, THIS_THREAD.uses_one_core = THIS_THREAD.uses_one_core, True
    try:
        yield
    finally:
        THIS_THREAD.uses_one_core = before


def max_block_rows() -> int:
    """Returns how many rows a block has at most: on a CPU as many as its cache can hold, on other devices more."""
    return 2**11 if jax.default_backend() == "cpu" else 2**14


def map_in_threads(function: Callable[[S], T], blocks: Iterable[S], compiled: bool = False) -> Iterator[T]:
    """Yields function(block) of each block in order; the next blocks are read and computed while the caller uses a result.

    At most one block more than there are threads is read ahead. The first is computed alone, so that each program is compiled
    once, unless the programs are `compiled`. A block that is computed beside others uses one core. Of the settings of jax that
    hold in a `with` block, the size of floats holds in the threads too.
    """
    remaining, num = iter(blocks), num_threads()
    yield from map(function, itertools.islice(remaining, None if num == 1 else 0 if compiled else 1))
    if (second := next(remaining, None)) is None:
        return
    x64, waiting = jax.config.read("jax_enable_x64"), deque[Future[T]]()  # of this thread; others have that of the process

    def compute(block: S) -> T:
        with jax.enable_x64(x64), one_core():
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


def map_row_blocks(function: Callable[[Int[np.ndarray, " R"]], Any], num_rows: int, max_rows: int | None = None) -> Any:
    """Returns the results of function(rows) for blocks of the numbers of rows, in threads, joined as numpy arrays.

    All blocks have the same size, one of a few and at most `max_rows` (by default `max_block_rows()`), so that they share a
    compiled program. The last one is filled with its own rows again.
    """
    size = min(padded_size(num_rows), max_rows or max_block_rows())

    def of_block(start: int) -> Any:
        num = min(size, num_rows - start)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:num], function(start + np.arange(size) % num))

    results = map_in_threads(of_block, range(0, num_rows, size))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)
