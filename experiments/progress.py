"""Progress of running work, live on a terminal and as plain lines elsewhere; and the seconds that each phase takes."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator

from rich.console import Console

SECONDS_BETWEEN_PLAIN_LINES = 2.0
SECONDS_BETWEEN_LIVE_LINES = 0.1


class Clock:
    """Seconds spent in each phase, in the order of the phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __str__(self) -> str:
        return "seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in self.seconds.items())

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class ProgressLine:
    """A line on stderr that is updated in place on a terminal, and printed again every two seconds elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.live, self.width = console.is_terminal and not console.is_dumb_terminal, console.width
        self.between = SECONDS_BETWEEN_LIVE_LINES if self.live else SECONDS_BETWEEN_PLAIN_LINES
        self.last = -math.inf

    def update(self, make: Callable[[float], str], always: bool = False) -> None:
        """Shows the text `make(now)`, if the last update is long enough ago or `always` is true."""
        now = time.perf_counter()
        if not always and now - self.last < self.between:
            return
        self.last = now
        if self.live:
            sys.stderr.write("\r\x1b[2K" + make(now)[: self.width - 1])
            sys.stderr.flush()
        else:
            print(make(now), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line on a terminal, so that later output does not overwrite it."""
        if self.live and self.last > -math.inf:
            sys.stderr.write("\n")


@contextlib.contextmanager
def training_progress(name: str, num_steps: int, score_name: str) -> Iterator[Callable[[int, float, float], None]]:
    """Gives an observer of a training run that shows step, loss, validation score, speed and time left."""
    line = ProgressLine()
    start: tuple[int, float] | None = None

    def observe(step: int, loss: float, score: float) -> None:
        nonlocal start
        first = start = start or (step, time.perf_counter())  # the first chunk includes compilation: speed is measured after it
        text = f"{name}: step {step}/{num_steps}  loss {loss:.4f}  {score_name} {score:.4f}"
        line.update(lambda now: text + _pace(step - first[0], num_steps - step, now - first[1], "steps"), step >= num_steps)

    try:
        yield observe
    finally:
        line.end()


@contextlib.contextmanager
def sweep_progress(num_members: int, num_done: int, num_diverged: int) -> Iterator[Callable[[float, int], None]]:
    """Gives an observer of a sweep, called with the numbers of members trained since its start (fractional) and diverged."""
    line = ProgressLine()
    start: tuple[float, float] | None = None

    def observe(done: float, diverged: int) -> None:
        nonlocal start
        first = start = start or (done, time.perf_counter())
        left = num_members - num_done - done
        text = f"sweep: {num_done + done:.0f}/{num_members} members  {num_diverged + diverged} diverged"
        line.update(lambda now: text + _pace(done - first[0], left, now - first[1], "members"), left <= 0)

    try:
        yield observe
    finally:
        line.end()


def print_candidate(number: int, candidates: Collection[int]) -> None:
    """Prints which number of components is tried next."""
    noun = "component" if number == 1 else "components"
    place = sorted(candidates).index(number) + 1
    print(f"trying {number} {noun} ({place} of {len(candidates)})", file=sys.stderr, flush=True)


def _pace(done: float, left: float, seconds: float, things: str) -> str:
    """Returns speed and time left as text; empty until something is done."""
    if done <= 0 or seconds <= 0:
        return ""
    speed = done / seconds
    shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.2f}"
    return f"  {shown} {things}/s  {left / speed:.0f} s left"
