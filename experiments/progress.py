"""What is shown while something runs, live on a terminal and as plain lines elsewhere; and where the seconds went."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console

SECONDS_BETWEEN_PLAIN_LINES = 2.0
SECONDS_BETWEEN_LIVE_LINES = 0.1


class Clock:
    """Seconds per phase, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __str__(self) -> str:
        return "seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in self.seconds.items())

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class ProgressLine:
    """A line that is told anew again and again: in its place on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.live, self.width = console.is_terminal and not console.is_dumb_terminal, console.width
        self.between = SECONDS_BETWEEN_LIVE_LINES if self.live else SECONDS_BETWEEN_PLAIN_LINES
        self.last = -math.inf

    def tell(self, make: Callable[[float], str], at_any_rate: bool = False) -> None:
        """Tells `make(now)`, if the last one is long enough ago or it must be told."""
        now = time.perf_counter()
        if not at_any_rate and now - self.last < self.between:
            return
        self.last = now
        if self.live:
            sys.stderr.write("\r\x1b[2K" + make(now)[: self.width - 1])
            sys.stderr.flush()
        else:
            print(make(now), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the line on the terminal."""
        if self.live and self.last > -math.inf:
            sys.stderr.write("\n")


@contextlib.contextmanager
def training(name: str, num_steps: int, score_name: str) -> Iterator[Callable[[int, float, float], None]]:
    """Gives an observer of a training run that prints step, loss, held-out score, speed and time left."""
    line = ProgressLine()
    start: tuple[int, float] | None = None

    def observe(step: int, loss: float, score: float) -> None:
        nonlocal start
        begun = start = start or (step, time.perf_counter())  # the first chunk was compiled too: speed is counted from its end
        said = f"{name}: step {step}/{num_steps}  loss {loss:.4f}  {score_name} {score:.4f}"
        line.tell(lambda now: said + _pace(step - begun[0], num_steps - step, now - begun[1], "steps"), step >= num_steps)

    try:
        yield observe
    finally:
        line.end()


@contextlib.contextmanager
def sweeping(num_members: int, num_done: int, num_diverged: int) -> Iterator[Callable[[float, int], None]]:
    """Gives an observer of a sweep: members done since its start (a fraction of those in work counts), and diverged."""
    line = ProgressLine()
    start: tuple[float, float] | None = None

    def observe(done: float, diverged: int) -> None:
        nonlocal start
        begun = start = start or (done, time.perf_counter())
        left = num_members - num_done - done
        said = f"sweep: {num_done + done:.0f}/{num_members} members  {num_diverged + diverged} diverged"
        line.tell(lambda now: said + _pace(done - begun[0], left, now - begun[1], "members"), left <= 0)

    try:
        yield observe
    finally:
        line.end()


def _pace(done: float, left: float, seconds: float, things: str) -> str:
    """Speed and time left, once there is something to tell."""
    if done <= 0 or seconds <= 0:
        return ""
    speed = done / seconds
    shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.2f}"
    return f"  {shown} {things}/s  {left / speed:.0f} s left"
