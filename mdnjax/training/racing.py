"""Ends trainings early whose settings are so far behind others that they would hardly get a weight in the mixture.

A setting is judged by the best validation scores so far of its networks. It ends if it would not come near the best setting of
its task by the last step, even if its score fell three times as fast as it did between two checkpoints. The checkpoints are at
steps in a geometric sequence, because scores fall about linearly with the logarithm of the step.
Source: Domhan et al. (2015), Speeding up automatic hyperparameter optimization by extrapolation of learning curves, for the idea.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from mdnjax.types import AnyArray, Bool, Float, Int

FIRST, RATIO = 0.05, 2**0.5  # the first checkpoint, as a share of all steps, and how much later the next one is
MIN_SHARE = 0.1  # of the steps before anything ends
OPTIMISM = 3.0  # how much faster a score may fall than it did
MARGIN = 0.05  # in nats; a setting that is not further behind may have a weight in the mixture


class Race:
    """The trainings of settings that are compared, in one thread or in several, which all decide by the same scores.

    Args: `tasks` and `settings` are those of each of M trainings; only settings of one task are compared.
    """

    def __init__(self, tasks: Int[np.ndarray, " M"], settings: Int[np.ndarray, " M"], num_steps: int, report_every: int) -> None:
        reports, last = set[int](), num_steps // report_every
        share = FIRST
        while share < 1:
            reports.add(max(1, round(share * last)))
            share *= RATIO
        self.tasks, self.settings, self.num_steps = tasks, settings, num_steps
        self.steps = [report * report_every for report in sorted(reports) if report < last]
        self.best = np.full((len(self.steps), len(tasks)), np.nan)
        self.posted = np.zeros(self.best.shape, bool)
        self.changed, self.stopped = threading.Condition(), False

    def continuing(
        self, part: Sequence[int], step: int, best: Float[AnyArray, " P"], last_step: int | None = None
    ) -> Bool[np.ndarray, " P"]:
        """Returns which trainings of a part continue after a step, from the best scores of this part; it waits for the others."""
        if step not in self.steps:
            return np.ones(len(part), bool)
        index = self.steps.index(step)
        self._post(part, slice(index, index + 1), best)
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or self.posted[index].all())
        return np.ones(len(part), bool) if self.stopped else self.in_reach(index, last_step or self.num_steps)[list(part)]

    def end(self, part: Sequence[int], step: int, best: Float[AnyArray, " P"]) -> None:
        """Takes the last scores of a part whose trainings have ended."""
        self._post(part, slice(int(np.searchsorted(self.steps, step)), None), best)

    def known(self, part: Sequence[int]) -> Float[np.ndarray, "2 checkpoints P"]:
        """Returns the scores of a part at the checkpoints, and 1 where they are known, for `restore`."""
        with self.changed:
            return np.stack([self.best[:, list(part)], self.posted[:, list(part)]])

    def restore(self, part: Sequence[int], known: Float[np.ndarray, "2 checkpoints P"]) -> None:
        """Takes what `known` returned, when the trainings of a part continue in another process."""
        with self.changed:
            self.best[:, list(part)], self.posted[:, list(part)] = known[0], known[1] > 0
            self.changed.notify_all()

    def stop(self) -> None:
        """Lets no thread wait any longer, after another one has failed."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def in_reach(self, index: int, last_step: int) -> Bool[np.ndarray, " M"]:
        """Returns which trainings may still come near the best setting of their task, by the scores at this checkpoint."""
        before = next((i for i in range(index) if self.steps[i] >= self.steps[index] / 2 - 0.5 * self.steps[0]), 0)
        result = np.ones(len(self.tasks), bool)
        if self.steps[index] < MIN_SHARE * self.num_steps or before == index:
            return result
        doublings, left = (np.log2(a / b) for a, b in ((self.steps[index], self.steps[before]), (last_step, self.steps[index])))
        for task in np.unique(self.tasks):
            of_task = self.tasks == task
            known = np.unique(self.settings[of_task])
            rows = [of_task & (self.settings == setting) for setting in known]
            now, then = (np.array([self.best[at, row].mean() for row in rows]) for at in (index, before))
            if not np.isfinite(now).any():
                continue
            then = np.where(np.isfinite(now), then, 0.0)
            fall = np.maximum(then - np.where(np.isfinite(now), now, 0.0), 0) / doublings
            expected = np.where(np.isfinite(now), now, np.inf) - OPTIMISM * left * fall
            for row, value in zip(rows, expected, strict=True):
                result[row] = value <= np.min(now[np.isfinite(now)]) + MARGIN
        return result

    def _post(self, part: Sequence[int], rows: slice, best: Float[AnyArray, " P"]) -> None:
        with self.changed:
            new = ~self.posted[rows, list(part)]
            self.best[rows, list(part)] = np.where(new, best, self.best[rows, list(part)])
            self.posted[rows, list(part)] = True
            self.changed.notify_all()
