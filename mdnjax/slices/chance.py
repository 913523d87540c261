"""Scores of many sets of rows by their PIT values, and p-values that are corrected for all sets by simulation.

If a model is right, the PIT values u of the rows are independent and uniform on [0, 1], whatever the inputs are (Dawid 1984).
Three means over a set of rows are compared with that: the shares outside of the central 50 and 90 % intervals, and the mean PIT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mdnjax.types import Bool, Float, Int

LEVELS = (0.5, 0.9)  # of the central intervals
NUM_DRAWS = 2000
MAX_NUMBERS = 1_000_000  # in memory at once
TIE = 1e-5  # scores that differ by less are equal up to rounding

Scores = list[Float[np.ndarray, "_ 3"]]  # of the sets of each family, or their p-values
Draw = Callable[[int], Float[np.ndarray, "R N"]]  # returns as many draws of the PIT values of all rows


class Sets(NamedTuple):
    """J sets of N rows. Each of P blocks is a set of rows, and set j is the union of the blocks `start[j]` to `stop[j] - 1`.

    If the family is a search, only its worst set is reported.
    """

    blocks: Bool[np.ndarray, "P N"]
    start: Int[np.ndarray, " J"]
    stop: Int[np.ndarray, " J"]
    is_search: bool = False

    def rows(self, index: int) -> Bool[np.ndarray, " N"]:
        """Returns which rows are in a set."""
        return np.asarray(self.blocks[self.start[index] : self.stop[index]].any(axis=0))

    def sums(self, values: Float[np.ndarray, "N R"]) -> Float[np.ndarray, "J R"]:
        """Returns the sums of values over the rows of each set, in float64."""
        below = np.zeros((len(self.blocks) + 1, values.shape[1]))
        np.cumsum(self.blocks.astype(values.dtype) @ values, axis=0, out=below[1:])
        return below[self.stop] - below[self.start]


class Expected(NamedTuple):
    """The shares outside of the intervals of LEVELS, and mean and standard deviation of the PIT, that sets are compared with."""

    outside: tuple[float, ...]
    mean: float
    sd: float


UNIFORM = Expected(tuple(1 - level for level in LEVELS), 0.5, 12**-0.5)


class Chance(NamedTuple):
    """The largest |z| in B draws of the PIT of all rows, for each family of sets, and for each set of a family without search."""

    of_family: Float[np.ndarray, "F B"]
    of_set: list[Float[np.ndarray, "J B"] | None]

    def p_values(self, z: Scores) -> Scores:
        """Returns the p-values of scores of the observed PIT without a correction, or corrected for a search alone."""
        found = []
        for family, scores in enumerate(map(np.abs, z)):
            of_set = self.of_set[family]
            if of_set is None:
                found.append(_share_at_least(np.append(self.of_family[family], scores.max()), scores))
            else:
                num = np.sum(of_set[:, None] >= scores[:, :, None] - TIE, axis=2)
                found.append((1 + num) / (1 + of_set.shape[1]))
        return found

    def corrected(self, z: Scores) -> Scores:
        """Returns p-values of scores of the observed PIT that are corrected for all scores of all families.

        The observed PIT is one more draw. With p_f(t), the share of draws in which the largest score of family f is at least t,
        and m, the smallest p_f of a draw, the p-value of a score t is the share of draws with m <= p_f(t). If the observed PIT is
        from the law of the others, any of them is at most a with a probability of at most a, however much the sets overlap.
        Source: Westfall and Young (1993), Resampling-based multiple testing, in a single step.
        """
        draws = [np.append(top, np.abs(scores).max()) for top, scores in zip(self.of_family, z, strict=True)]
        smallest = np.min([_share_at_least(top, top) for top in draws], axis=0)
        return [_share_at_most(smallest, _share_at_least(top, np.abs(scores))) for top, scores in zip(draws, z, strict=True)]

    def limits(self, rate: float) -> list[float]:
        """Returns the |z| of each family above which the corrected p-value is at most `rate`."""
        smallest = np.min([_share_at_least(top, top) for top in self.of_family], axis=0)
        share = np.quantile(smallest, rate, method="lower")
        return [float(np.quantile(top, 1 - share, method="higher")) for top in self.of_family]


def chance_of(families: Sequence[Sets], weight: np.ndarray, draw: Draw, expected: Expected) -> Chance:
    """Scores NUM_DRAWS draws of the PIT of all rows, which have these weights, from the law that it is compared with."""
    of_family = np.zeros((len(families), NUM_DRAWS))
    of_set = [None if sets.is_search else np.zeros((len(sets.start), NUM_DRAWS), np.float32) for sets in families]
    step = max(1, MAX_NUMBERS // (3 * max(len(weight), *(max(len(sets.start), len(sets.blocks)) for sets in families))))
    for first in range(0, NUM_DRAWS, step):
        columns = slice(first, min(first + step, NUM_DRAWS))
        drawn = draw(columns.stop - first)
        for family, sets in enumerate(families):
            scores = np.abs(z_scores(sets, weight, drawn, expected)).max(axis=1)
            of_family[family, columns] = scores.max(axis=0)
            if (kept := of_set[family]) is not None:
                kept[:, columns] = scores
    return Chance(of_family, of_set)


def means(sets: Sets, weight: np.ndarray, u: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "J 3 R"]:
    """Returns the weighted shares outside of the intervals, and the weighted mean PIT, of each set and draw."""
    values = np.stack([*(np.abs(u - 0.5) > level / 2 for level in LEVELS), u], dtype=np.float32)
    values *= weight.astype(np.float32)
    sums = sets.sums(values.reshape(-1, len(weight)).T)
    return sums.reshape(len(sums), len(values), -1) / sets.sums(weight[:, None])[:, :, None]


def sizes(sets: Sets, weight: np.ndarray) -> Float[np.ndarray, " J"]:
    """Returns the numbers of equally weighted rows whose means vary as much, (sum w)^2 / sum w^2."""
    return sets.sums(weight[:, None])[:, 0] ** 2 / sets.sums(weight[:, None] ** 2)[:, 0]


def z_scores(sets: Sets, weight: np.ndarray, u: Float[np.ndarray, "R N"], expected: Expected) -> Float[np.ndarray, "J 3 R"]:
    """Returns approximately standard normal scores of the three means of each set and draw.

    That of a share s of n rows is 2 sqrt(n + 1/2) (a(s) - arcsin sqrt(p)), with a(s) = arcsin sqrt((n s + 3/8) / (n + 3/4)), that
    of the mean PIT sqrt(n) (mean - m) / sd. Since they are not exactly normal, sets of some sizes are the worst of their family
    slightly too often, but no p-value is wrong.
    Source: Anscombe (1948), The transformation of Poisson, binomial and negative-binomial data.
    """
    of_sets, n = means(sets, weight, u).astype(np.float32), sizes(sets, weight).astype(np.float32)[:, None, None]
    shares = of_sets[:, :-1]
    angles = np.arcsin(np.sqrt(np.clip((n * shares + 0.375) / (n + 0.75), 0, 1)))
    of_shares = 2 * np.sqrt(n + 0.5) * (angles - np.arcsin(np.sqrt(expected.outside)).astype(np.float32)[:, None])
    return np.concatenate([of_shares, np.sqrt(n) * (of_sets[:, -1:] - expected.mean) / expected.sd], axis=1)


def range_by_chance(size: float, limit: float) -> Float[np.ndarray, "2 3"]:
    """Returns the smallest and the largest shares inside of the intervals, and mean PIT, with |z| of at most a limit.

    It inverts `z_scores` for UNIFORM; `size` is one of `sizes`.
    """
    ends = []
    for sign in (1, -1):
        angles = np.arcsin(np.sqrt(UNIFORM.outside)) + sign * limit / (2 * (size + 0.5) ** 0.5)
        outside = ((size + 0.75) * np.sin(np.clip(angles, 0, np.pi / 2)) ** 2 - 0.375) / size
        mean = UNIFORM.mean - sign * limit * UNIFORM.sd / size**0.5
        ends.append([*(1 - outside), mean])
    return np.clip(ends, 0, 1)


def _share_at_least(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the share of values that are at least each number, up to rounding."""
    return 1 - np.searchsorted(np.sort(values), at - TIE, side="left") / len(values)


def _share_at_most(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), at + 1e-9, side="right") / len(values)
