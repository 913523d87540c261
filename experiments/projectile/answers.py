"""What the network answers, and where these angles really land: found arcs, misses, what is out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.projectile.flight import farthest, landings, solutions
from experiments.sorted_modes import sorted_modes
from mdnjax.predictor import Predictor
from mdnjax.statistics import modes

MIN_MODE_MASS = 0.02  # of a mode that counts as an answer
HIT = 0.01  # of the distance: what lands farther off is no hit


class Answers(NamedTuple):
    """Of questions (speed, distance, wind) `[N, 3]`: modes in degrees, the most probable first, and where they land `[N, M]`.

    NaN where there are no more. `exact[N, 2]` are the low and the high angle that truly hit, NaN where none does;
    `farthest[N]` and `farthest_angle[N]` how far one can get.
    """

    question: np.ndarray
    angle: np.ndarray
    mass: np.ndarray
    place: np.ndarray
    exact: np.ndarray
    farthest: np.ndarray
    farthest_angle: np.ndarray

    @property
    def miss(self) -> np.ndarray:
        """How far off the modes land, as shares of the distance `[N, M]`; negative where they fall short."""
        distance = self.question[:, 1:2]
        return (self.place - distance) / distance

    @property
    def of_arcs(self) -> np.ndarray:
        """The modes that land nearest to the target, below and above the farthest angle, by number `[N, 2]`; -1 if none."""
        low = self.angle < self.farthest_angle[:, None]
        off = np.where(np.isnan(self.angle), np.inf, np.abs(self.miss))
        sides = [np.where(side, off, np.inf) for side in (low, ~low)]
        return np.stack([np.where(np.isfinite(side.min(axis=1)), side.argmin(axis=1), -1) for side in sides], axis=1)

    @property
    def within_reach(self) -> np.ndarray:
        """Whether the network's most probable angle hits: what it says of a target's being in reach `[N]`."""
        return np.abs(self.miss[:, 0]) <= HIT


def answer_all(predictor: Predictor, questions: Sequence[np.ndarray]) -> list[Answers]:
    """The same for several lots of questions at once: a lot of another length would be another program."""
    ends = np.cumsum([len(lot) for lot in questions])
    whole = answer(predictor, np.concatenate(questions))
    return [Answers(*(values[end - len(lot) : end] for values in whole)) for lot, end in zip(questions, ends, strict=True)]


def answer(predictor: Predictor, questions: np.ndarray) -> Answers:
    """Asks, and launches the answers."""
    y, mass = sorted_modes(predictor.map_rows(modes, questions), MIN_MODE_MASS)
    num = max(1, int(np.isfinite(mass).sum(axis=1).max()))
    angle, mass = y[:, :num, 0], mass[:, :num]
    speed, distance, wind = (np.ascontiguousarray(column) for column in questions.T)
    place = landings(np.nan_to_num(angle), *np.broadcast_arrays(speed[:, None], wind[:, None], angle)[:2])
    most = farthest(speed, wind)
    exact = solutions(speed, distance, wind, most)
    return Answers(questions, angle, mass, np.where(np.isnan(angle), np.nan, place), exact, most.distance, most.angle)


def score(told: Answers) -> dict[str, float]:
    """Shares of arcs found, and misses at the modes in percent of the distance; what is said of reach, and whether it is so."""
    two = np.isfinite(told.exact).all(axis=1)
    off = np.abs(np.take_along_axis(told.miss, np.maximum(told.of_arcs, 0), axis=1))
    off = np.where(told.of_arcs < 0, np.inf, off)
    found = off <= HIT
    shortfall = 1 - told.farthest / told.question[:, 1]  # of the best angle
    reachable, beyond = shortfall <= 0, shortfall > HIT
    hits = np.where(np.isnan(told.miss), np.nan, np.abs(told.miss))[reachable]
    hits = 100 * hits[~np.isnan(hits)]
    return {
        "num_two": int(two.sum()),
        "both_found": _share(found[two].all(axis=1)),
        "low_found": _share(found[two, 0]),
        "high_found": _share(found[two, 1]),
        "median_miss": float(np.median(hits)),
        "mean_miss": float(np.mean(hits)),
        "miss_95": float(np.quantile(hits, 0.95)),
        "share_within_goal": _share(np.less_equal(hits, 0.3)),
        "num_out_of_reach": int(beyond.sum()),
        "said_out_of_reach": _share(~told.within_reach[beyond]),
        "said_in_reach": _share(told.within_reach[reachable]),
    }


def in_words(told: Answers, number: int) -> str:
    """One question and its answer."""
    speed, distance, wind = told.question[number]
    asked = f"{speed:g} m/s, {distance:g} m, wind {wind:+g} m/s: "
    if not told.within_reach[number] and distance > told.farthest[number]:
        most, angle = told.farthest[number], told.farthest_angle[number]
        return asked + f"out of reach; the farthest is {most:.1f} m, at {angle:.1f} degrees"
    hits = sorted(
        (float(angle), float(place), float(mass))
        for angle, place, mass in zip(told.angle[number], told.place[number], told.mass[number], strict=True)
        if np.isfinite(angle)
    )
    said = [f"{angle:.2f} degrees lands at {place:.2f} m ({100 * mass:.0f} %)" for angle, place, mass in hits]
    return asked + ", ".join(said)


def _share(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")
