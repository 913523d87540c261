"""Launch angles that the network predicts, where a ball launched at them lands, and the scores of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.projectile.flight import farthest, landings, refined, solutions
from experiments.sorted_modes import sorted_modes
from mdnjax.predictor import Predictor
from mdnjax.statistics import modes

MIN_MODE_MASS = 0.02  # of a mode that counts as a predicted angle
MAX_HIT_MISS = 0.01  # largest miss that counts as a hit, as a share of the distance


class Launches(NamedTuple):
    """Predicted launch angles for inputs `x` (speed, distance, wind) `[N, 3]`, and where balls launched at them land.

    `angle[N, M]` are the modes in degrees, the most probable first, `mass` their probabilities and `place` the landings in
    metres; NaN fills up rows with fewer modes. `refined` and `refined_place` are the same after Newton steps through the flight.
    `exact[N, 2]` are the low and the high angle that hit, NaN where there is none;
    `farthest[N]` is the greatest distance that can be reached, at `farthest_angle[N]`.
    """

    x: np.ndarray
    angle: np.ndarray
    mass: np.ndarray
    place: np.ndarray
    refined: np.ndarray
    refined_place: np.ndarray
    exact: np.ndarray
    farthest: np.ndarray
    farthest_angle: np.ndarray

    @property
    def miss(self) -> np.ndarray:
        """Returns the signed miss of each mode as a share of the distance `[N, M]`, negative where it lands too near."""
        return self._miss(self.place)

    @property
    def refined_miss(self) -> np.ndarray:
        """Returns the signed miss of each refined mode as a share of the distance `[N, M]`."""
        return self._miss(self.refined_place)

    @property
    def mode_of_arc(self) -> np.ndarray:
        """Returns the index of the mode with the smallest miss below and above `farthest_angle` `[N, 2]`; -1 if there is none."""
        low = self.angle < self.farthest_angle[:, None]
        miss = np.where(np.isnan(self.angle), np.inf, np.abs(self.miss))
        sides = [np.where(side, miss, np.inf) for side in (low, ~low)]
        return np.stack([np.where(np.isfinite(side.min(axis=1)), side.argmin(axis=1), -1) for side in sides], axis=1)

    @property
    def miss_of_arc(self) -> np.ndarray:
        """Returns the absolute miss of the mode of the low and of the high arc `[N, 2]`; NaN where there is no such mode."""
        mode = self.mode_of_arc
        return np.where(mode < 0, np.nan, np.abs(np.take_along_axis(self.miss, np.maximum(mode, 0), axis=1)))

    @property
    def predicted_within_reach(self) -> np.ndarray:
        """Whether the most probable mode hits `[N]`, which is the network's prediction that the distance can be reached."""
        return np.abs(self.miss[:, 0]) <= MAX_HIT_MISS

    def _miss(self, place: np.ndarray) -> np.ndarray:
        distance = self.x[:, 1:2]
        return (place - distance) / distance


def evaluate_all(predictor: Predictor, parts: Sequence[np.ndarray]) -> list[Launches]:
    """Evaluates several arrays of inputs together, since each number of rows would need another compiled program."""
    ends = np.cumsum([len(part) for part in parts])
    whole = evaluate(predictor, np.concatenate(parts))
    return [Launches(*(values[end - len(part) : end] for values in whole)) for part, end in zip(parts, ends, strict=True)]


def evaluate(predictor: Predictor, x: np.ndarray) -> Launches:
    """Predicts launch angles for inputs `[N, 3]`, and computes where they land."""
    y, mass = sorted_modes(predictor.map_rows(modes, x), MIN_MODE_MASS)
    num = max(1, int(np.isfinite(mass).sum(axis=1).max()))
    angle, mass = y[:, :num, 0], mass[:, :num]
    speed, distance, wind = (np.ascontiguousarray(column) for column in x.T)
    refined_angle = refined(np.nan_to_num(angle), speed[:, None], distance[:, None], wind[:, None])
    places = (landings(np.nan_to_num(each), speed[:, None], wind[:, None]) for each in (angle, refined_angle))
    missing = np.isnan(angle)
    place, refined_place = (np.where(missing, np.nan, each) for each in places)
    refined_angle = np.where(missing, np.nan, refined_angle)
    limit = farthest(speed, wind)
    exact = solutions(speed, distance, wind, limit)
    return Launches(x, angle, mass, place, refined_angle, refined_place, exact, limit.distance, limit.angle)


def score(launches: Launches) -> dict[str, float]:
    """Returns shares of arcs found, misses of the modes in percent of the distance, and how well reachability is predicted."""
    two = np.isfinite(launches.exact).all(axis=1)
    found = launches.miss_of_arc <= MAX_HIT_MISS
    smallest_miss = 1 - launches.farthest / launches.x[:, 1]  # at the best angle; negative where the target is within reach
    reachable, out_of_reach = smallest_miss <= 0, smallest_miss > MAX_HIT_MISS
    misses, refined_misses = (_in_percent(miss[reachable]) for miss in (launches.miss, launches.refined_miss))
    return {
        "num_two": int(two.sum()),
        "both_found": _share(found[two].all(axis=1)),
        "low_found": _share(found[two, 0]),
        "high_found": _share(found[two, 1]),
        "median_miss": float(np.median(misses)),
        "mean_miss": float(np.mean(misses)),
        "miss_95": float(np.quantile(misses, 0.95)),
        "share_within_goal": _share(np.less_equal(misses, 0.3)),
        "refined_within_goal": _share(np.less_equal(refined_misses, 0.3)),
        "refined_median_miss": float(np.median(refined_misses)),
        "num_out_of_reach": int(out_of_reach.sum()),
        "predicted_out_of_reach": _share(~launches.predicted_within_reach[out_of_reach]),
        "predicted_within_reach": _share(launches.predicted_within_reach[reachable]),
    }


def describe(launches: Launches, number: int) -> str:
    """Returns one line of text with an input, its refined angles and their landings."""
    speed, distance, wind = launches.x[number]
    prefix = f"{speed:g} m/s, {distance:g} m, wind {wind:+g} m/s: "
    if not launches.predicted_within_reach[number] and distance > launches.farthest[number]:
        limit, angle = launches.farthest[number], launches.farthest_angle[number]
        return prefix + f"out of reach; the farthest is {limit:.1f} m, at {angle:.1f} degrees"
    hits = sorted(
        (float(angle), float(place), float(mass))
        for angle, place, mass in zip(
            launches.refined[number], launches.refined_place[number], launches.mass[number], strict=True
        )
        if np.isfinite(angle)
    )
    return prefix + ", ".join(f"{angle:.2f} degrees lands at {place:.2f} m ({100 * mass:.0f} %)" for angle, place, mass in hits)


def _in_percent(misses: np.ndarray) -> np.ndarray:
    """Returns the absolute misses of the modes that exist, in percent."""
    return 100 * np.abs(misses[~np.isnan(misses)])


def _share(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")
