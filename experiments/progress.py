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

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@contextlib.contextmanager
def training(name: str, num_steps: int, score_name: str) -> Iterator[Callable[[int, float, float], None]]:
    """Gives an observer of a training run that prints step, loss, held-out score, speed and time left."""
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    between = SECONDS_BETWEEN_LIVE_LINES if live else SECONDS_BETWEEN_PLAIN_LINES
    start: tuple[int, float] | None = None
    last_line = -math.inf

    def observe(step: int, loss: float, score: float) -> None:
        nonlocal start, last_line
        now = time.perf_counter()
        if start is None:  # the first chunk was compiled too: speed is counted from its end
            start = (step, now)
        if step < num_steps and now - last_line < between:
            return
        last_line = now
        line = f"{name}: step {step}/{num_steps}  loss {loss:.4f}  {score_name} {score:.4f}"
        if step > start[0]:
            speed = (step - start[0]) / (now - start[1])
            line += f"  {speed:,.0f} steps/s  {(num_steps - step) / speed:.0f} s left"
        if live:
            sys.stderr.write("\r\x1b[2K" + line[: console.width - 1])
            sys.stderr.flush()
        else:
            print(line, file=sys.stderr, flush=True)

    try:
        yield observe
    finally:
        if live:
            sys.stderr.write("\n")
