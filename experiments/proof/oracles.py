"""Mixtures once more, in float64 numpy and scipy, one example at a time; of the library only parameters are read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from mdnjax import Full, Isotropic, Laplace, LowRank, Mixture, StudentT, Warped

Numbers = np.ndarray


class _Laplace(type(stats.laplace)):
    """scipy's own takes the logarithm of a density that underflows 745 scales out."""

    def _logpdf(self, x: Numbers, *args: Any) -> Numbers:
        return -np.abs(x) - np.log(2)


LAPLACE: Any = _Laplace(name="laplace")


class Example(NamedTuple):
    """p(y) = sum_k w_k p_k(u(y)) |du/dy| of one example: what is on the line, and the bounds that it is carried to.

    `scale` and `df` are those of each target by itself; `covariance` is None where targets are independent.
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
        """Arguments of scipy's distribution before location and scale."""
        return () if self.df is None else (self.df,)

    def log_components(self, u: Numbers) -> Numbers:
        """log p_k(u) of points `[..., D]` of the line, `[..., K]`."""
        if self.covariance is None:
            return self.kind.logpdf(u[..., None, :], *self.shape(), self.loc, self.scale).sum(-1)
        parts = zip(self.loc, self.covariance, strict=True)
        return np.stack([np.asarray(stats.multivariate_normal(m, c).logpdf(u)) for m, c in parts], axis=-1)

    def log_prob(self, y: Numbers) -> Numbers:
        """log p(y), -inf outside of the bounds."""
        inside = np.all((y > self.low) & (y < self.high), axis=-1)
        y = np.where(inside[..., None], y, from_line(np.zeros_like(y), self.low, self.high))
        log_p = special.logsumexp(self.log_components(to_line(y, self.low, self.high)), b=self.weight, axis=-1)
        return np.where(inside, log_p + np.log(slope(y, self.low, self.high)).sum(-1), -np.inf)

    def responsibilities(self, y: Numbers) -> Numbers:
        """Bayes' rule."""
        log_p = self.log_components(to_line(y, self.low, self.high))
        joint = self.weight * np.exp(log_p - log_p.max(-1, keepdims=True))
        return joint / joint.sum(-1, keepdims=True)

    def target_slopes(self, y: Numbers, without: int) -> float:
        """log |du/dy| of all targets but one."""
        return float(np.delete(np.log(slope(np.asarray(y, float), self.low, self.high)), without).sum())

    def target(self, d: int) -> Example:
        """One target by itself."""
        df = None if self.df is None else self.df[:, d : d + 1]
        cut = slice(d, d + 1)
        return self._replace(
            loc=self.loc[:, cut], scale=self.scale[:, cut], df=df, covariance=None, low=self.low[cut], high=self.high[cut]
        )


def examples(mixture: Mixture) -> list[Example]:
    """Every example of a mixture with one batch axis."""
    return [_example(mixture, i) for i in range(mixture.logits.shape[0])]


def to_line(y: Numbers, low: Any, high: Any) -> Numbers:
    """u(y), target by target: y, log(y - low), -log(high - y) or log((y - low) / (high - y))."""
    above = np.where(np.isfinite(low), np.log(np.where(np.isfinite(low), y - np.where(np.isfinite(low), low, 0), 1)), 0)
    below = np.where(np.isfinite(high), np.log(np.where(np.isfinite(high), np.where(np.isfinite(high), high, 0) - y, 1)), 0)
    return np.where(np.isfinite(low) | np.isfinite(high), above - below, y)


def from_line(u: Numbers, low: Any, high: Any) -> Numbers:
    """y(u)."""
    low, high = np.broadcast_to(low, u.shape), np.broadcast_to(high, u.shape)
    y = np.array(u, float)
    with np.errstate(over="ignore"):
        only_low, only_high = np.isfinite(low) & ~np.isfinite(high), ~np.isfinite(low) & np.isfinite(high)
        both = np.isfinite(low) & np.isfinite(high)
        y[only_low] = low[only_low] + np.exp(u[only_low])
        y[only_high] = high[only_high] - np.exp(-u[only_high])
        y[both] = low[both] + (high[both] - low[both]) * special.expit(u[both])
    return y


def slope(y: Numbers, low: Any, high: Any) -> Numbers:
    """du/dy: 1, 1 / (y - low), 1 / (high - y), or the sum of both."""
    with np.errstate(divide="ignore", over="ignore"):
        total = np.where(np.isfinite(low), 1 / (y - low), 0) + np.where(np.isfinite(high), 1 / (high - y), 0)
    return np.where(np.isfinite(low) | np.isfinite(high), total, 1.0)


def _example(mixture: Mixture, i: int) -> Example:
    component = mixture.component
    transform_targets: Any = component.component if isinstance(component, Warped) else component
    logits, *leaves = (np.asarray(leaf, np.float64)[i] for leaf in (mixture.logits, *transform_targets))
    weight = np.exp(logits - logits.max())
    loc = leaves[0]
    low, high = component.support if isinstance(component, Warped) else ((-np.inf,) * loc.shape[1], (np.inf,) * loc.shape[1])
    kind, df, covariance = stats.norm, None, None
    if isinstance(transform_targets, Full):
        covariance = np.linalg.inv(leaves[1] @ np.swapaxes(leaves[1], 1, 2))
    elif isinstance(transform_targets, LowRank):
        covariance = leaves[1] @ np.swapaxes(leaves[1], 1, 2) + leaves[2][:, :, None] * np.eye(loc.shape[1]) * leaves[2][:, None]
    elif isinstance(transform_targets, Laplace):
        kind = LAPLACE
    elif isinstance(transform_targets, StudentT):
        kind, df = stats.t, leaves[2]
    if covariance is not None:
        scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    else:
        scale = np.broadcast_to(leaves[1][:, None], loc.shape) if isinstance(transform_targets, Isotropic) else leaves[1]
    return Example(kind, weight / weight.sum(), loc, scale, df, covariance, np.asarray(low), np.asarray(high))
