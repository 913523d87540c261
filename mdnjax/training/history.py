"""What a training records: its losses and validation scores, and the reports that an observer gets between chunks of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mdnjax.deprecated import warn_of


class History(NamedTuple):
    """The loss before each step, and the validation scores after the steps `report_steps`, as numpy arrays."""

    loss: np.ndarray
    report_steps: np.ndarray
    validation_scores: np.ndarray

    @property
    def held_out(self) -> np.ndarray:
        """The old name of `validation_scores`."""
        warn_of("History.held_out", "validation_scores")
        return self.validation_scores


class Report(NamedTuple):
    """What a population reports between two chunks of steps: one entry for each of M trainings.

    They are the losses before the last step, the validation scores, which trainings have diverged, and which of them continue.
    """

    step: int
    losses: np.ndarray
    scores: np.ndarray
    diverged: np.ndarray
    running: np.ndarray


Observer = Callable[[int, float, float], None]
PopulationObserver = Callable[[Report], None]


def until_last_step(history: History, start: int, last: np.ndarray) -> History:
    """Returns the history, which begins at step `start`, with NaN after the last step of each member."""
    loss, report_steps, scores = history
    loss = np.where(start + np.arange(loss.shape[1]) <= last[:, None], loss, np.nan)
    return History(loss, report_steps, np.where(report_steps <= last[:, None], scores, np.nan))


def means_of(observe: Observer) -> PopulationObserver:
    """Returns an observer that calls observe(step, loss, validation score) with means over the trainings that continue.

    After the last step, when none continues, they are means over those that have not diverged; if all have, there is no call.
    """

    def observe_means(report: Report) -> None:
        counted = report.running if report.running.any() else ~report.diverged & np.isfinite(report.losses)
        if counted.any():
            observe(report.step, float(np.mean(report.losses[counted])), float(np.mean(report.scores[counted])))

    return observe_means
