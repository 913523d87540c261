"""Priors of the parameters of a simulator: a law for each parameter, and a map between parameters and the whole real line.

With independent z of a known law on the real line, a parameter is v = offset + factor g(z), or exp(v) if its logarithm has the
law (see `Law`): bounded v are uniform, the others normal, and correlated if z are mixed. Samplers work on z, which has no bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.special import expit, logit

from mdnjax.posteriors.law import LOG_OF_NORMAL, Law
from mdnjax.types import AnyArray, Bool, Float, PRNGKey

MIN_SHARE = 1e-9  # of the distance between two bounds, by which parameters differ from them
MAX_ASYMMETRY = 1e-5  # of correlations: covariances may have been computed in float32
MIN_EIGENVALUE = 1e-14  # of correlations, for each parameter: smaller ones are those of a singular matrix with rounding


@dataclass(frozen=True, eq=False)
class Prior:
    """Laws of D parameters; `Box`, `Normal`, `LogUniform`, `LogNormal` and `MultivariateNormal` make them, `Product` joins them.

    `mixing` is the Cholesky factor of the correlations (see `Law`), or None if the parameters are independent.
    """

    offset: Float[np.ndarray, " D"]
    factor: Float[np.ndarray, " D"]
    is_bounded: Bool[np.ndarray, " D"]
    is_log: Bool[np.ndarray, " D"]
    names: tuple[str, ...]
    mixing: Float[np.ndarray, "D D"] | None = None

    @property
    def law(self) -> Law:
        """The law of z and its map to parameters, for compiled functions."""
        return Law(self.offset, self.factor, self.is_bounded, self.is_log, self.mixing)

    @property
    def support(self) -> tuple[tuple[float, float], ...]:
        """The lower and the upper bound of each parameter, infinite where there is none."""
        v = np.stack([self.offset, self.offset + self.factor])
        ends = np.where(self.is_bounded, v, np.array([[-np.inf], [np.inf]]))
        ends = np.where(self.is_log, np.exp(np.where(self.is_log, ends, 0)), ends)
        return tuple((float(low), float(high)) for low, high in ends.T)

    def sample(self, key: PRNGKey, shape: Sequence[int] = ()) -> Float[np.ndarray, "*shape D"]:
        """Draws parameters, in float64."""
        generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        size = (*shape, len(self.offset))
        uniform, normal = generator.random(size), generator.normal(size=size)
        v = self.offset + self.factor * np.where(self.is_bounded, uniform, self._mixed(normal))
        return np.where(self.is_log, np.exp(np.where(self.is_log, v, 0)), v)

    def parameters(self, z: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns the parameters that belong to numbers of the real line, in float64."""
        w = self._mixed(np.asarray(z, np.float64))
        v = self.offset + self.factor * np.where(self.is_bounded, expit(w), w)
        return np.where(self.is_log, np.exp(np.where(self.is_log, v, 0)), v)

    def real(self, theta: Float[AnyArray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
        """Returns the numbers of the real line to which parameters belong, in float64; those of bounds are finite."""
        theta = np.asarray(theta, np.float64)
        u = (np.log(np.where(self.is_log, theta, 1)) - self.offset) / self.factor
        u = np.where(self.is_log, u, (theta - self.offset) / self.factor)
        w = np.where(self.is_bounded, logit(np.clip(np.where(self.is_bounded, u, 0.5), MIN_SHARE, 1 - MIN_SHARE)), u)
        return self._unmixed(w)

    def log_prob(self, theta: Any) -> Float[np.ndarray, "*batch"]:
        """Computes the log density of parameters in float64; -inf outside of the support."""
        theta = np.asarray(theta, np.float64)
        if theta.shape[-1:] != self.offset.shape:
            raise ValueError(f"theta: got shape {theta.shape}, expected [..., {len(self.offset)}]")
        with np.errstate(divide="ignore", invalid="ignore"):
            v = np.where(self.is_log, np.log(np.where(theta > 0, theta, 0)), theta)
            slope = np.where(self.is_log, -v, 0) - np.log(self.factor)
            u = (v - self.offset) / self.factor
            inside = np.where(self.is_bounded, (u >= 0) & (u <= 1), np.isfinite(u))
            z = self._unmixed(np.where(inside & ~self.is_bounded, u, 0))
            values = np.where(self.is_bounded, 0.0, -0.5 * z**2 - LOG_OF_NORMAL) + slope
        log_det = 0.0 if self.mixing is None else np.sum(np.log(np.diag(self.mixing)))
        return np.asarray(np.sum(np.where(inside, values, -np.inf), axis=-1) - log_det)

    def within(self, draws: Float[np.ndarray, "S D"], margin: float = 0.1) -> Prior:
        """Returns the prior restricted to where draws of a posterior are, for further simulations there.

        Bounded parameters get the range of the draws, made wider by `margin` at each end, as far as the old bounds allow; the
        others keep their law. Where the posterior is 0 outside, posteriors under both priors are the same, so that simulations of
        the new one need no correction. Source: Deistler et al. (2022), truncated proposals.
        """
        v = np.where(self.is_log, np.log(np.where(self.is_log, draws, 1)), draws)
        low, high = v.min(axis=0), v.max(axis=0)
        wider = np.maximum(margin * (high - low), MIN_SHARE * self.factor)
        low, high = np.maximum(low - wider, self.offset), np.minimum(high + wider, self.offset + self.factor)
        offset, factor = (np.where(self.is_bounded, new, old) for new, old in ((low, self.offset), (high - low, self.factor)))
        return Prior(offset, factor, self.is_bounded, self.is_log, self.names, self.mixing)

    def _mixed(self, z: np.ndarray) -> np.ndarray:
        return z if self.mixing is None else z @ self.mixing.T

    def _unmixed(self, w: np.ndarray) -> np.ndarray:
        if self.mixing is None:
            return w
        return solve_triangular(self.mixing, w.reshape(-1, w.shape[-1]).T, lower=True).T.reshape(w.shape)


def Box(low: Any, high: Any, names: Sequence[str] = ()) -> Prior:
    """Makes the prior of parameters that are uniform between two bounds. Raises: ValueError if high <= low."""
    return _prior("Box", low, high, names, True, False)


def LogUniform(low: Any, high: Any, names: Sequence[str] = ()) -> Prior:
    """Makes the prior of positive parameters whose logarithm is uniform. Raises: ValueError unless 0 < low < high."""
    return _prior("LogUniform", low, high, names, True, True)


def Normal(mean: Any, sd: Any, names: Sequence[str] = ()) -> Prior:
    """Makes the prior of independent Gaussian parameters. Raises: ValueError if an sd is not positive."""
    return _prior("Normal", mean, sd, names, False, False)


def LogNormal(mean: Any, sd: Any, names: Sequence[str] = ()) -> Prior:
    """Makes the prior of parameters whose logarithm is Gaussian with this mean and sd."""
    return _prior("LogNormal", mean, sd, names, False, True)


def MultivariateNormal(mean: Any, covariance: Any, names: Sequence[str] = ()) -> Prior:
    """Makes the prior of Gaussian parameters with correlations.

    Args:
        mean: Means `[D]`, or one for all.
        covariance: Covariances `[D, D]`, in the products of the parameters' units.
        names: Names of the parameters.
    Raises: ValueError if the shapes do not fit together, or the covariance is not symmetric and positive definite.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if covariance.ndim != 2 or len(covariance) != covariance.shape[1] or mean.shape not in ((), (1,), covariance.shape[:1]):
        got = f"got mean of shape {mean.shape} and covariance of shape {covariance.shape}"
        raise ValueError(f"MultivariateNormal: {got}, expected [D] and [D, D]")
    if not np.isfinite(covariance).all() or not np.isfinite(mean).all():
        raise ValueError("MultivariateNormal: got numbers that are not finite, expected finite means and covariances")
    mixing, factor = _factors_of(covariance)
    unbounded = np.zeros(len(factor), bool)
    offset = np.array(np.broadcast_to(mean, factor.shape))
    return Prior(offset, factor, unbounded, unbounded.copy(), _names(len(factor), tuple(names)), mixing)


def _factors_of(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the Cholesky factor of the correlations, and the standard deviations."""
    variance = np.diag(covariance)
    if not (variance > 0).all():
        row = int(np.argmin(variance > 0))
        raise ValueError(f"MultivariateNormal: got variance {variance[row]:g} of parameter {row} from 0, expected > 0")
    sd = np.sqrt(variance)
    correlation = covariance / sd / sd[:, None]
    unequal = np.abs(correlation - correlation.T)
    if unequal.max() > MAX_ASYMMETRY:
        row, column = (int(index) for index in np.unravel_index(unequal.argmax(), unequal.shape))
        got = f"got covariance[{row}, {column}] = {covariance[row, column]:g}, [{column}, {row}] = {covariance[column, row]:g}"
        raise ValueError(f"MultivariateNormal: {got}, expected a symmetric matrix")
    symmetric = (correlation + correlation.T) / 2
    smallest = float(np.linalg.eigvalsh(symmetric)[0])
    if smallest < MIN_EIGENVALUE * len(sd):
        got = f"got a covariance whose correlations have the eigenvalue {smallest:.3g}"
        raise ValueError(f"MultivariateNormal: {got}, expected a positive definite matrix")
    return np.linalg.cholesky(symmetric), sd


def Product(*priors: Prior) -> Prior:
    """Joins the priors of independent groups of parameters."""
    offset, factor, is_bounded, is_log = (
        np.concatenate([getattr(prior, name) for prior in priors]) for name in ("offset", "factor", "is_bounded", "is_log")
    )
    mixing = None
    if any(prior.mixing is not None for prior in priors):
        mixing = np.asarray(
            block_diag(*(np.eye(len(prior.offset)) if prior.mixing is None else prior.mixing for prior in priors))
        )
    return Prior(offset, factor, is_bounded, is_log, _names(len(offset), _all_names(priors)), mixing)


def _all_names(priors: Sequence[Prior]) -> tuple[str, ...]:
    names = tuple(name for prior in priors for name in prior.names)
    return names if len(set(names)) == len(names) else ()


def _prior(law: str, first: Any, second: Any, names: Sequence[str], bounded: bool, log: bool) -> Prior:
    """Makes a prior from its bounds, or from its means and standard deviations."""
    words = ("low", "high") if bounded else ("mean", "sd")
    try:
        first, second = (np.atleast_1d(np.asarray(values, np.float64)) for values in (first, second))
        first, second = (np.array(values) for values in np.broadcast_arrays(first, second))
    except ValueError as error:
        raise ValueError(f"{law}: {' and '.join(words)} do not fit together: {error}") from None
    if first.ndim != 1 or not len(first) or not np.isfinite([first, second]).all():
        raise ValueError(f"{law}: got {words[0]} {first} and {words[1]} {second}, expected a finite number for each parameter")
    if bounded and log and not (first > 0).all():
        raise ValueError(f"{law}: got low {first}, expected positive numbers")
    if not ((second > first) if bounded else (second > 0)).all():
        expected = "low < high" if bounded else "sd > 0"
        raise ValueError(f"{law}: got {words[0]} {first} and {words[1]} {second}, expected {expected}")
    if bounded:
        first, second = (np.log(first), np.log(second)) if log else (first, second)
        second = second - first
    shape = len(first)
    return Prior(first, second, np.full(shape, bounded), np.full(shape, log), _names(shape, tuple(names)))


def _names(num: int, names: tuple[str, ...]) -> tuple[str, ...]:
    if names and len(names) != num:
        raise ValueError(f"names: got {len(names)} names for {num} parameters")
    return names or tuple(f"theta_{i + 1}" for i in range(num))
