"""Posteriors by networks of p(theta|x), from which parameters are drawn at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.posteriors.posterior import Evaluated, Posterior, as_shape, in_shape
from mdnjax.posteriors.proposals import draws_near
from mdnjax.posteriors.ranks import rank
from mdnjax.statistics import Modes, modes
from mdnjax.types import Bool, Float, PRNGKey

SHARE_OUTSIDE = 1e-3  # of the draws: their density is lower than that of all proposals
NUM_DRAWS = 2000  # by which the region of the proposals is found
CANDIDATES_PER_CALL = 10_000
MAX_CALLS = 100


@dataclass(frozen=True, eq=False)
class DirectPosterior(Posterior):
    """A posterior by networks of p(theta|x), whose inputs are x and whose targets are theta."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return self.predictor.columns.targets

    def sample(self, key: PRNGKey, x: Any, shape: int | Sequence[int]) -> Float[np.ndarray, "*shape D"]:
        """Draws parameters given one observation; `shape` is their number, or the shape of an array of them."""
        sizes = as_shape(shape)
        return in_shape(self.predictor.sample(key, self._row(x), math.prod(sizes))[0], sizes)

    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " N"]:
        """Computes log p(theta|x) of parameters `[N, D]` given one observation."""
        theta = as_numbers("theta", theta)
        inside, values = self._inside(theta), np.full(len(theta), -np.inf)
        values[inside] = self.predictor.log_prob(np.repeat(self._row(x), inside.sum(), axis=0), theta[inside])
        return values

    def modes(self, x: Any) -> Modes:
        """Returns the modes of the mixture p(theta|x); see `mdnjax.modes`."""
        return modes(self.predictor(self._row(x)[0]))

    def evaluate(self, key: PRNGKey, test: Dataset, num: int) -> Evaluated:
        """Ranks the true parameters of test simulations among `num` draws, and computes their densities."""
        return Evaluated(rank(self.predictor, test, key, num), self.predictor.nll(test), np.asarray(test.x, np.float64))

    def propose(self, key: PRNGKey, x: Any, num: int) -> Float[np.ndarray, "N D"]:
        """Draws parameters from the prior where p(theta|x) is not lower than that of all but a thousandth of its draws.

        Networks of p(theta|x) that are trained on their simulations alone need no correction, because the prior is the same
        inside. Source: Deistler et al. (2022), truncated proposals.
        Raises: ValueError if the prior is not known, or hardly any of its draws are in this region.
        """
        prior = self.prior
        if prior is None:
            raise ValueError("propose: got a posterior without a prior, from which new parameters could be drawn")
        draw_key, key = jax.random.split(key)
        draws = self.sample(draw_key, x, NUM_DRAWS)
        lowest, region = np.quantile(self.log_prob(draws, x), SHARE_OUTSIDE), prior.within(draws)
        ways: list[Callable[[PRNGKey], np.ndarray]] = [lambda key: region.sample(key, (CANDIDATES_PER_CALL,))]
        if not prior.is_bounded.all():
            ways.append(lambda key: draws_near(key, prior, draws, CANDIDATES_PER_CALL))

        def proposals(way: Callable[[PRNGKey], np.ndarray], key: PRNGKey) -> Float[np.ndarray, "A D"]:
            candidates = way(key)
            return candidates[self.log_prob(candidates, x) >= lowest]

        keys = jax.random.split(key, MAX_CALLS)
        first = [proposals(way, keys[0]) for way in ways]
        best = max(range(len(ways)), key=lambda i: len(first[i]))
        accepted = [first[best]]
        for part in keys[1:]:
            if sum(map(len, accepted)) >= num:
                break
            accepted.append(proposals(ways[best], part))
        found, tried = sum(map(len, accepted)), MAX_CALLS * CANDIDATES_PER_CALL
        if found >= num:
            return np.concatenate(accepted)[:num]
        expected = "expected more: the posterior is too narrow for a truncated prior; method='likelihood' proposes draws of it"
        raise ValueError(f"propose: got {found} of {tried} candidates where the posterior is, {expected}")

    def _row(self, x: Any) -> Float[np.ndarray, "1 X"]:
        x, num = np.asarray(x, np.float64), len(self.predictor.columns.inputs)
        if x.shape != (num,):
            raise ValueError(f"x: got shape {x.shape} of an observation, expected [{num}]")
        return x[None]

    def _inside(self, theta: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Returns which parameters are inside of the support of the networks."""
        support = self.predictor.scaler.support
        if support is None:
            return np.ones(len(theta), bool)
        return np.all((theta > np.array(support.low)) & (theta < np.array(support.high)), axis=1)
