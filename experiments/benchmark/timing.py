"""Contenders that do the same work, timed in turn, so that a slow moment of the machine falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Contender(NamedTuple):
    """One way to do the work: `run()` does `num_units` of it and blocks until they are done; `check` all must agree on."""

    name: str
    run: Callable[[], None]
    check: float
    num_units: int


class Timing(NamedTuple):
    """Seconds of a unit of one contender's work, a number a round."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Failed(Exception):
    """A contender's process that ended badly; its text is one line."""


def ratio(timing: Timing, reference: Timing) -> float:
    """Median over rounds of the ratio within a round: what slows the machine for a while slows both."""
    return statistics.median(a / b for a, b in zip(timing.seconds, reference.seconds, strict=True))


def disagreements(contenders: Sequence[Contender], tolerance: float) -> list[str]:
    """Names of those whose check differs from the first one's by more than the tolerance."""
    reference = contenders[0].check
    return [f"{c.name}: {c.check!r} against {reference!r}" for c in contenders if not abs(c.check - reference) <= tolerance]


def race(contenders: Sequence[Contender], num_rounds: int, tell: Callable[[str], None], rest: float = 0) -> list[Timing]:
    """One run each to warm up (and compile), then rounds in which every contender runs once, each round from another start.

    Args: `rest` is a pause before each run, in seconds: threads of the one before may go on spinning for some milliseconds.
    """
    for contender in contenders:
        contender.run()
    timings = [Timing(contender.name, []) for contender in contenders]
    entries = list(zip(contenders, timings, strict=True))
    for number in range(num_rounds):
        first = number % len(entries)  # what ran just before leaves its mark on caches and clock rates
        for contender, timing in entries[first:] + entries[:first]:
            time.sleep(rest)
            start = time.perf_counter()
            contender.run()
            timing.seconds.append((time.perf_counter() - start) / contender.num_units)
        tell(f"round {number + 1}/{num_rounds}: " + ", ".join(f"{t.name} {1e6 * t.seconds[-1]:.1f} us" for t in timings))
    return timings


def table_of(timings: Sequence[Timing], unit: str) -> list[list[str]]:
    """Header and rows: microseconds a unit (median, range) and the median of the ratios to the first contender."""
    header = ["contender", f"us per {unit}, median", "min", "max", "ratio to the first"]
    return [header, *(_row(timing, timings[0]) for timing in timings)]


def _row(timing: Timing, reference: Timing) -> list[str]:
    numbers = (timing.median, min(timing.seconds), max(timing.seconds))
    digits = 1 if timing.median > 1e-5 else 3
    return [timing.name, *(f"{1e6 * seconds:.{digits}f}" for seconds in numbers), f"{ratio(timing, reference):.2f}"]
