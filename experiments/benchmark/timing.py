"""Times contenders that do the same work in turn, so that whatever slows the machine for a while affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Contender(NamedTuple):
    """One implementation of the work: `run()` does `num_units` of it and returns when they are done.

    `check` is a number that all contenders must agree on, such as the first loss.
    """

    name: str
    run: Callable[[], None]
    check: float
    num_units: int


class Timing(NamedTuple):
    """Seconds per unit of one contender's work, one number for each round."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class ContenderFailed(Exception):
    """A contender's process that failed; its text is one line."""


def median_and_range(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Returns median, minimum and maximum."""
    return statistics.median(seconds), min(seconds), max(seconds)


def ratio(timing: Timing, reference: Timing) -> float:
    """Returns the median over rounds of the ratio within a round: whatever slows the machine for a while slows both."""
    return statistics.median(a / b for a, b in zip(timing.seconds, reference.seconds, strict=True))


def disagreements(contenders: Sequence[Contender], tolerance: float) -> list[str]:
    """Returns a text for each contender whose check differs from that of the first by more than the tolerance."""
    reference = contenders[0].check
    return [f"{c.name}: {c.check!r} against {reference!r}" for c in contenders if not abs(c.check - reference) <= tolerance]


def order_of_round(contenders: Sequence[T], number: int) -> list[T]:
    """Returns the contenders in the order of a round; each round starts with another one."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def time_in_turn(
    contenders: Sequence[Contender], num_rounds: int, report: Callable[[str], None], pause: float = 0
) -> list[Timing]:
    """Runs every contender once to warm up (and compile), then times rounds in which every contender runs once.

    The order changes, because a run changes what is in the caches, and the clock rate of the processor.
    Args: `pause` is a time before each run, in seconds: threads of the run before may still be active for some milliseconds.
    """
    for contender in contenders:
        contender.run()
    timings = [Timing(contender.name, []) for contender in contenders]
    for number in range(num_rounds):
        for contender, timing in order_of_round(list(zip(contenders, timings, strict=True)), number):
            time.sleep(pause)
            start = time.perf_counter()
            contender.run()
            timing.seconds.append((time.perf_counter() - start) / contender.num_units)
        report(f"round {number + 1}/{num_rounds}: " + ", ".join(f"{t.name} {1e6 * t.seconds[-1]:.1f} us" for t in timings))
    return timings


def table_of(timings: Sequence[Timing], unit: str) -> list[list[str]]:
    """Returns header and rows: microseconds per unit (median and range), and the median ratio to the first contender."""
    header = ["contender", f"us per {unit}, median", "min", "max", "ratio to the first"]
    return [header, *(_row(timing, timings[0]) for timing in timings)]


def _row(timing: Timing, reference: Timing) -> list[str]:
    digits = 1 if timing.median > 1e-5 else 3
    numbers = [f"{1e6 * seconds:.{digits}f}" for seconds in median_and_range(timing.seconds)]
    return [timing.name, *numbers, f"{ratio(timing, reference):.2f}"]
