"""Defines mixtures in float64 by numpy and scipy, one example at a time; only their parameters come from mdnjax."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from mdnjax import Full, Isotropic, Laplace, LowRank, Mixture, StudentT, Warped

Numbers = np.ndarray
INFINITY = 1e150  # so large that a limit is reached, and that its square is finite


class _Laplace(type(stats.laplace)):
    """scipy's Laplace distribution, except that its log density does not underflow 745 scales from the location."""

    def _logpdf(self, x: Numbers, *args: Any) -> Numbers:
        return -np.abs(x) - np.log(2)


LAPLACE: Any = _Laplace(name="laplace")


class Example(NamedTuple):
    """p(y) = sum_k w_k p_k(u(y)) |du/dy| of one example: a mixture on the real line (u), and the bounds of the targets (y).

    `scale` and `df` are those of each target's marginal; `covariance` is None where the targets are independent.
    """

    kind: Any  # scipy's distribution of one target
    weight: Numbers  # [K]
    loc: Numbers  # [K, D]
    scale: Numbers  # [K, D]
    df: Numbers | None
    covariance: Numbers | None  # [K, D, D]
    low: Numbers  # [D]
    high: Numbers  # [D]

    def shape(self) -> tuple[Any, ...]:
        """Returns the arguments of scipy's distribution before location and scale."""
        return () if self.df is None else (self.df,)

    def log_components(self, u: Numbers) -> Numbers:
        """Returns log p_k(u), `[..., K]`, at points `[..., D]` of the real line."""
        if self.covariance is None:
            return self.kind.logpdf(u[..., None, :], *self.shape(), self.loc, self.scale).sum(-1)
        parts = zip(self.loc, self.covariance, strict=True)
        return np.stack([np.asarray(stats.multivariate_normal(m, c).logpdf(u)) for m, c in parts], axis=-1)

    def log_prob(self, y: Numbers) -> Numbers:
        """Returns log p(y), -inf outside of the bounds."""
        inside = np.all((y > self.low) & (y < self.high), axis=-1)
        y = np.where(inside[..., None], np.asarray(y, float), self.from_line(np.zeros(y.shape)))
        log_p = special.logsumexp(self.log_components(self.to_line(y)), b=self.weight, axis=-1)
        return np.where(inside, log_p + np.log(self.slope(y)).sum(-1), -np.inf)

    def responsibilities(self, y: Numbers) -> Numbers:
        """Returns the posterior probability of each component, by Bayes' rule: at infinity its limit, nan beyond a bound."""
        log_p = self.log_components(np.clip(self.to_line(y), -INFINITY, INFINITY))
        joint = self.weight * np.exp(log_p - log_p.max(-1, keepdims=True))
        outside = (np.isfinite(self.low) & (y <= self.low)) | (np.isfinite(self.high) & (y >= self.high))
        return np.where(np.any(outside, axis=-1, keepdims=True), np.nan, joint / joint.sum(-1, keepdims=True))

    def to_line(self, y: Any) -> Numbers:
        """Returns u(y), target by target: y, log(y - low), -log(high - y) or log((y - low) / (high - y))."""
        y, has_low, has_high = np.asarray(y, float), np.isfinite(self.low), np.isfinite(self.high)
        with np.errstate(invalid="ignore"):
            above, below = (np.log(np.where(has, part, 1)) for has, part in ((has_low, y - self.low), (has_high, self.high - y)))
        return np.where(has_low | has_high, above - below, y)

    def from_line(self, u: Numbers) -> Numbers:
        """Returns y(u), the inverse of `to_line`."""
        has_low, has_high = np.isfinite(self.low), np.isfinite(self.high)
        with np.errstate(over="ignore", invalid="ignore"):
            between = self.low + (self.high - self.low) * special.expit(u)
            one_sided = np.where(has_low, self.low + np.exp(u), self.high - np.exp(-u))
        return np.where(has_low & has_high, between, np.where(has_low | has_high, one_sided, u))

    def slope(self, y: Numbers) -> Numbers:
        """Returns du/dy: 1, 1 / (y - low), 1 / (high - y), or the sum of both."""
        has_low, has_high = np.isfinite(self.low), np.isfinite(self.high)
        with np.errstate(divide="ignore", over="ignore"):
            total = np.where(has_low, 1 / (y - self.low), 0) + np.where(has_high, 1 / (self.high - y), 0)
        return np.where(has_low | has_high, total, 1.0)

    def target(self, d: int) -> Example:
        """Returns the marginal of one target."""
        df = None if self.df is None else self.df[:, d : d + 1]
        cut = slice(d, d + 1)
        return self._replace(
            loc=self.loc[:, cut], scale=self.scale[:, cut], df=df, covariance=None, low=self.low[cut], high=self.high[cut]
        )

    def targets(self) -> list[Example]:
        """Returns the marginal of each target."""
        return [self.target(d) for d in range(self.loc.shape[1])]


def examples(mixture: Mixture) -> list[Example]:
    """Returns every example of a batch, in the order of the flattened batch."""
    component: Any = mixture.component
    unbounded = component.component if isinstance(component, Warped) else component
    leaves = [np.asarray(leaf, np.float64) for leaf in (mixture.logits, *unbounded)]
    num_targets = leaves[1].shape[-1]
    support = component.support if isinstance(component, Warped) else ((-np.inf,) * num_targets, (np.inf,) * num_targets)
    return [_example(type(unbounded), [leaf[index] for leaf in leaves], *support) for index in np.ndindex(*mixture.shape)]


def _example(family: type, leaves: list[Numbers], low: Any, high: Any) -> Example:
    logits, loc, *rest = leaves
    weight = np.exp(logits - logits.max())
    kind, df, covariance = stats.norm, None, None
    if family is Full:
        covariance = np.linalg.inv(rest[0] @ np.swapaxes(rest[0], 1, 2))
    elif family is LowRank:
        covariance = rest[0] @ np.swapaxes(rest[0], 1, 2) + rest[1][:, :, None] * np.eye(loc.shape[1]) * rest[1][:, None]
    elif family is Laplace:
        kind = LAPLACE
    elif family is StudentT:
        kind, df = stats.t, rest[1]
    if covariance is not None:
        scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    else:
        scale = np.broadcast_to(rest[0][:, None], loc.shape) if family is Isotropic else rest[0]
    return Example(kind, weight / weight.sum(), loc, scale, df, covariance, np.asarray(low), np.asarray(high))
