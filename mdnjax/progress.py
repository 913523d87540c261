"""Shows on stderr what runs: the progress of trainings, and the name of whatever takes longer than two seconds."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from mdnjax.training.history import PopulationObserver, Report

SECONDS_BETWEEN_PLAIN_LINES = 1.5
SECONDS_BETWEEN_LIVE_LINES = 0.1
MAX_SILENT_SECONDS = 2.0

_activities: list[object] = []  # what runs now, the innermost last
_last_shown = [-math.inf]  # when any line was shown


class ProgressLine:
    """A line on stderr that is updated in place on a terminal, and printed again after one and a half seconds elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.between = SECONDS_BETWEEN_LIVE_LINES if self.live else SECONDS_BETWEEN_PLAIN_LINES
        self.last = -math.inf

    def update(self, make: Callable[[float], str], always: bool = False) -> None:
        """Shows the text `make(now)`, if the last update is long enough ago or `always` is true."""
        now = time.perf_counter()
        if not always and now - self.last < self.between:
            return
        self.last = _last_shown[0] = now
        if self.live:
            sys.stderr.write("\r\x1b[2K" + fitting(make(now), shutil.get_terminal_size().columns - 1))
            sys.stderr.flush()
        else:
            print(make(now), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line on a terminal, so that later output does not overwrite it."""
        if self.live and self.last > -math.inf:
            sys.stderr.write("\n")

    def clear(self) -> None:
        """Removes the line from a terminal."""
        if self.live and self.last > -math.inf:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def fitting(text: str, width: int) -> str:
    """Returns the first parts of a text, which two spaces separate, that fit a width."""
    while len(text) > width and "  " in text:
        text = text.rpartition("  ")[0]
    return text[:width]


@contextlib.contextmanager
def running(what: str) -> Iterator[Callable[[str], None]]:
    """Shows what the block does, and since when, whenever nothing else is shown for two seconds; of nested blocks the innermost.

    It gives a function that changes this text.
    """
    line, ended, start, activity = ProgressLine(), threading.Event(), time.perf_counter(), object()

    def rename(new: str) -> None:
        nonlocal what
        what = new

    def speak() -> None:
        while not ended.wait(SECONDS_BETWEEN_PLAIN_LINES / 8):
            silent = time.perf_counter() - max(_last_shown[0], start)
            if silent >= MAX_SILENT_SECONDS and _activities[-1:] == [activity]:
                line.update(lambda now: f"{what}, {now - start:.0f} s", always=True)

    thread = threading.Thread(target=speak, name="progress", daemon=True)
    _activities.append(activity)
    thread.start()
    try:
        yield rename
    finally:
        _activities.remove(activity)
        ended.set()
        thread.join()
        line.clear()


@contextlib.contextmanager
def training_progress(
    name: str,
    num_steps: int,
    score_name: str = "validation NLL",
    preparation: str = "compiling",
    budget: float | None = None,
) -> Iterator[PopulationObserver]:
    """Gives an observer of trainings that shows step, time left, validation score, loss and speed, the most important first.

    Of several trainings, it shows how many continue, and the median over all of their best scores so far; not their losses, whose
    median would jump whenever one of them ends. `preparation` says what happens before the first step. `budget` are the seconds
    from now to the end at most.
    """
    line, start, best, opened = ProgressLine(), None, np.zeros(0), time.perf_counter()

    with running(f"{name}: {preparation}") as rename:

        def observe(report: Report) -> None:
            nonlocal start, best
            first = start = start or (report.step, time.perf_counter())  # the time before includes compilation
            rename(f"{name}: {'training' if report.running.any() else 'finishing'}")
            scores = np.where(report.diverged, np.nan, report.scores)
            best = np.fmin(best, scores) if best.size else scores
            text, scored = f"{name}: {_position(report, num_steps)}", _scores(report, score_name, best)
            ended, limit = not report.running.any(), "up to " * (len(scores) > 1)

            def make(now: float) -> str:
                left = None if budget is None else max(0.0, budget - (now - opened))
                done, remaining = report.step - first[0], num_steps - report.step
                return text + (scored if ended else pace(done, remaining, now - first[1], "steps", limit, left, scored))

            line.update(make, always=ended)

        try:
            yield observe
        finally:
            line.end()


def _position(report: Report, num_steps: int) -> str:
    """Returns the step of a report, and how many of several trainings continue, as text."""
    number, total, step = int(report.running.sum()), len(report.running), f"step {report.step}/{num_steps}"
    return f"{step}  {number or 'none'} of {total} networks" if total > 1 else step


def _scores(report: Report, score_name: str, best: np.ndarray) -> str:
    """Returns the scores of a report as text, and of a single training its loss."""
    finite = best[np.isfinite(best)]
    of_best = f"{np.median(finite):.4g}" if finite.size else "none"
    if report.diverged.all():
        return "  no finite loss"
    if len(best) > 1:
        return f"  best {score_name.removeprefix('validation ')} {of_best}"
    return f"  {score_name} {report.scores[0]:.4g} (best {of_best})  loss {report.losses[0]:.4g}"


def pace(
    done: float | int,
    left: float | int,
    seconds: float,
    things: str,
    limit: str = "",
    max_seconds: float | None = None,
    more: str = "",
) -> str:
    """Returns the time left, at most `max_seconds`, `more`, and the speed as text; only `more` until something is done."""
    if done <= 0 or seconds <= 0:
        return more
    speed = done / seconds
    shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
    seconds_left = left / speed if max_seconds is None else min(left / speed, max_seconds)
    return f"  {limit}{seconds_left:.0f} s left{more}  {shown} {things}/s"
