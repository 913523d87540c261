"""What comes after a training is compiled while it runs: a compiler and a training each keep one core busy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def rehearsal(work: Callable[[], object]) -> Iterator[None]:
    """Does some work beside, for the programs that jax keeps of it; what comes of it is forgotten, its errors too.

    The same work in earnest comes after, and tells what is wrong.
    """

    def rehearse() -> None:
        with contextlib.suppress(Exception):
            work()

    beside = threading.Thread(target=rehearse, name="rehearsal")
    beside.start()
    try:
        yield
    finally:
        beside.join()
