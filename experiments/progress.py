"""The progress of a command: the seconds that each phase takes, and the members of a sweep that are trained."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterator

from experiments.sentences import say
from mdnjax.progress import ProgressLine, pace, running


class Clock:
    """Seconds spent in each phase, in the order of the phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __str__(self) -> str:
        return "seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in self.seconds.items())

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside the block to a phase, and shows its name if it takes longer than two seconds."""
        start = time.perf_counter()
        try:
            with running(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@contextlib.contextmanager
def sweep_progress(num_members: int, num_done: int, num_diverged: int) -> Iterator[Callable[[float, int, str], None]]:
    """Gives an observer of a sweep, called with the numbers of members trained since its start (fractional) and diverged.

    Its third argument is shown behind them.
    """
    line = ProgressLine()
    start: tuple[float, float] | None = None

    def observe(done: float, diverged: int, more: str) -> None:
        nonlocal start
        first = start = start or (done, time.perf_counter())
        left = num_members - num_done - done
        text = f"sweep: {num_done + done:.0f}/{num_members} members  {num_diverged + diverged} diverged{more}"
        line.update(lambda now: text + pace(done - first[0], left, now - first[1], "members"), left <= 0)

    with running("sweep: compiling and starting"):
        try:
            yield observe
        finally:
            line.end()


def print_candidate(number: int, candidates: Collection[int]) -> None:
    """Prints which number of components is tried next."""
    noun = "component" if number == 1 else "components"
    place = sorted(candidates).index(number) + 1
    say(f"trying {number} {noun} ({place} of {len(candidates)})", to=sys.stderr)
