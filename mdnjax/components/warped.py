"""Components of bounded or positive targets: the logarithm or logit of a target has a component of another family."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components.diagonal import Diagonal
from mdnjax.components.full import Full
from mdnjax.components.isotropic import Isotropic
from mdnjax.components.laplace import Laplace
from mdnjax.components.location_scale import Moments, diagonal_matrix
from mdnjax.components.low_rank import LowRank
from mdnjax.components.student_t import StudentT
from mdnjax.components.support import Support
from mdnjax.quadrature import integrate
from mdnjax.types import AnyArray, Array, Float, PRNGKey

NUM_HERMITE = 64  # nodes of the Gauss-Hermite rule for covariances
BRACKET_STEPS = tuple(4.0**step for step in range(1, 11))  # distances from a location, in scales


class Warped(NamedTuple):
    """y = from_line(u) with u a component of another family: p(y) = p_u(u(y)) |du/dy|.

    Moments are computed by quadrature for a logit, and in closed form for a logarithm.
    """

    component: Diagonal | Isotropic | Full | LowRank | Laplace | StudentT
    support: Support

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """Returns log p_k(u(y)) + sum_d log |du_d/dy_d|; -inf outside of the support."""
        u = self.support.to_line(y)
        inside = jnp.isfinite(u)
        safe = jnp.where(inside, u, 0)
        values = self.component.log_probs(safe) + jnp.sum(self.support.log_slope(safe), axis=0)
        return jnp.where(jnp.all(inside, axis=0), values, jnp.where(jnp.any(jnp.isnan(y), axis=0), jnp.nan, -jnp.inf))

    def target_log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        return self.conditionals(y)[1]

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "K D ..."], Float[Array, "K D ..."]]:
        """Returns the cdf and log density of each target given the targets after it."""
        u = self.support.to_line(y)
        inside = jnp.isfinite(u)
        cdfs, log_probs = self.component.conditionals(jnp.where(inside, u, 0))
        outside = jnp.where(u > 0, 1.0, 0.0).astype(y.dtype)
        slopes = self.support.log_slope(jnp.where(inside, u, 0))
        return jnp.where(inside, cdfs, outside), jnp.where(inside, log_probs + slopes, -jnp.inf)

    def cdfs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        """Returns P_k(Y_d <= y_d)."""
        return self._marginal_line().cdfs(self.support.to_line(y))

    def survivals(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        """Returns P_k(Y_d > y_d)."""
        return self._marginal_line().survivals(self.support.to_line(y))

    def log_between(self, low: Float[Array, "D *#batch"], high: Float[Array, "D *#batch"]) -> Float[Array, "K D ..."]:
        """Returns log P_k(low_d < Y_d <= high_d) for low < high; a bound of the support is an infinite end."""
        return self._marginal_line().log_between(self.support.to_line(low), self.support.to_line(high))

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """Draws one value from each component."""
        return self.support.from_line(self.component.draw(noise_key), axis=1)

    def marginals(self) -> Warped:
        """Returns the marginal distribution of each target."""
        return Warped(self.component.marginals(), self.support)

    def moments(self) -> Moments:
        """Returns mean and central moments of each target."""
        line, low, high = self._marginal_line(), *(np.asarray(bound) for bound in self.support)
        targets = [_moments_of(line.select((d,)), float(low[d]), float(high[d])) for d in range(len(low))]
        return Moments(*(jnp.concatenate(parts, axis=1) for parts in zip(*targets, strict=True)))

    def covariances(self) -> Float[Array, "K D D *batch"]:
        """Returns the covariance of each component; for dependent targets by a product of Gauss-Hermite rules."""
        covariances = diagonal_matrix(self.moments().second)
        if not isinstance(self.component, Full | LowRank):
            return covariances
        line_covariances, mean = self.component.covariances(), self.moments().mean
        for i in range(mean.shape[1]):
            for j in range(i):
                pair = self._covariance(line_covariances, mean, i, j)
                covariances = covariances.at[:, i, j].set(pair).at[:, j, i].set(pair)
        return covariances

    def entropies(self) -> Float[Array, "K *batch"]:
        """Returns the entropy of each component, in nats: the entropy of u minus the mean of log |du/dy|."""
        slopes = _expectation(self._marginal_line(), lambda u: self.support.log_slope(u, axis=2))
        return self.component.entropies() - jnp.sum(slopes, axis=1)

    def select(self, targets: tuple[int, ...]) -> Warped:
        """Returns the joint distribution of some of the targets."""
        return Warped(self.component.select(targets), self.support.select(targets))

    def condition(self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Warped:
        """Returns the distribution of the other targets (`rest`) conditional on the value y of the given targets."""
        conditional = self.component.condition(rest, given, self.support.select(given).to_line(y))
        return Warped(conditional, self.support.select(rest))

    def affine(self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Warped:
        raise ValueError(
            "affine: got a mixture on a bounded support, expected one on the whole real line: change units first, then warp"
        )

    def stretch(self, factor: float | Float[Array, ""]) -> Warped:
        """Returns components with the same locations and the scales times a factor, both on the real line."""
        return self._replace(component=self.component.stretch(factor))

    def line(self) -> Any:
        """Returns the marginal distribution of u on the real line."""
        return self._marginal_line()

    def to_line(self, y: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns u for values y; `axis` is the axis of the targets."""
        return self.support.to_line(y, axis)

    def from_line(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns y for points u of the real line."""
        return self.support.from_line(u, axis)

    def log_slope(self, u: Float[Array, "..."], axis: int = 0) -> Float[Array, "..."]:
        """Returns log |du/dy| of each target at points u of the real line."""
        return self.support.log_slope(u, axis)

    def line_points(self) -> Float[Array, "n D *batch"]:
        """Returns the points of the family on the real line, and points that bracket the modes of y.

        A logarithm shifts the modes by the variance, a logit by the variance to either side. With tails heavier than exponential
        the density of y increases again near a bound, beyond a minimum that may be many scales away.
        """
        line = self._marginal_line()
        shift = line.scale**2 + line.scale
        near = jnp.linspace(-1, 1, 13, dtype=shift.dtype).reshape(-1, *(1 for _ in shift.shape)) * 4 * shift
        moved = [line.loc + sign * line.scale**2 + step for sign in (-1, 1) for step in (near / 4, near)]
        points = jnp.concatenate([line.loc + near, *moved])
        steps = jnp.asarray(BRACKET_STEPS, shift.dtype).reshape(-1, *(1 for _ in shift.shape))
        parts = [points, line.loc + steps * line.scale, line.loc - steps * line.scale]
        return jnp.concatenate(
            [line.line_points(), *(part.reshape(part.shape[0] * part.shape[1], *part.shape[2:]) for part in parts)]
        )

    def most_modes(self) -> int:
        """Returns the bound of the modes of y.

        A Gaussian times e^u is a Gaussian, a logit's slope is a sum of three such terms, and each bound can have one more mode.
        """
        return self._marginal_line().most_modes() * (3 if self.support.two_sided() else 1) + 2

    def _marginal_line(self) -> Diagonal | Laplace | StudentT:
        return self.component.marginals()

    def _covariance(self, line_covariances: Array, mean: Array, i: int, j: int) -> Float[Array, "K *batch"]:
        nodes, weight = (np.asarray(part) for part in np.polynomial.hermite_e.hermegauss(NUM_HERMITE))
        ones = (1,) * (mean.ndim - 1)
        z = jnp.asarray(nodes, mean.dtype).reshape(-1, *ones)
        mass = jnp.asarray(weight / weight.sum(), mean.dtype).reshape(-1, *ones)
        sd_i = jnp.sqrt(line_covariances[:, i, i])
        slope = line_covariances[:, i, j] / sd_i
        conditional_sd = jnp.sqrt(jnp.maximum(line_covariances[:, j, j] - slope**2, 0))
        u_i = self.component.loc[:, i] + sd_i * z
        u_j = self.component.loc[:, j] + slope * z + conditional_sd * z[:, None]  # [n, n, K, *batch]
        y_i = self.support.select((i,)).from_line(u_i, axis=1) - mean[:, i]
        y_j = self.support.select((j,)).from_line(u_j, axis=2) - mean[:, j]
        return jnp.sum(mass * y_i * jnp.sum(mass[:, None] * y_j, axis=0), axis=0)


def from_bounds(component: Any) -> tuple[Any, Any]:
    """Returns the lower bound of each target (or the upper one, or 0) as a column, and the components of y minus that bound.

    Far from zero, the distance of y from a bound has digits that y itself has not.
    """
    if not isinstance(component, Warped):
        return 0.0, component
    bounds, support = component.support.relative()
    ones = (1,) * (component.component.loc.ndim - 2)
    return jnp.asarray(bounds, component.component.loc.dtype).reshape(-1, *ones), Warped(component.component, support)


def _expectation(line: Any, function: Any) -> Float[Array, "K D *batch"]:
    """Returns E[function(u)] of each component and target."""
    points = jnp.sort(jnp.stack([line.loc, jnp.zeros_like(line.loc)]), axis=0)
    return integrate(lambda u: jnp.exp(line.target_log_probs(u)) * function(u), points, line.scale).value


def _moments_of(line: Any, low: float, high: float) -> Moments:
    """Returns the moments of one target: by quadrature for a logit, in closed form for a logarithm."""
    if np.isfinite(low) and np.isfinite(high):
        support = Support((low,), (high,))
        mean = _expectation(line, lambda u: support.from_line(u, axis=2))
        return Moments(mean, *(_expectation(line, lambda u, m=m: (support.from_line(u, axis=2) - mean) ** m) for m in (2, 3, 4)))
    if not np.isfinite(low) and not np.isfinite(high):
        return line.moments()
    sign = 1 if np.isfinite(low) else -1  # high - exp(-u) is a mirrored positive variable
    of_exp = _moments_of_exp(line._replace(loc=sign * line.loc))
    bound = low if sign > 0 else high
    return Moments(bound + sign * of_exp.mean, of_exp.second, sign * of_exp.third, of_exp.fourth)


def _moments_of_exp(line: Any) -> Moments:
    """Returns the moments of exp(u): log-normal, log-Laplace, or log-Student-t, whose moments are all infinite."""
    unit = jnp.exp(line.loc)
    if isinstance(line, Diagonal):
        v, w = jnp.expm1(line.scale**2), jnp.exp(line.scale**2)
        mean = unit * jnp.sqrt(w)
        return Moments(mean, mean**2 * v, mean**3 * v**2 * (w + 2), mean**4 * v**2 * (w**4 + 2 * w**3 + 3 * w**2 - 3))
    if isinstance(line, StudentT):
        return Moments(*(jnp.full_like(unit, jnp.inf) for _ in range(4)))
    # with q = scale^2: E[exp(t u)] = exp(t loc) / (1 - t^2 q) where t^2 q < 1, and infinite beyond
    q = line.scale**2
    a, b, c, d = (1 - t**2 * q for t in (1, 2, 3, 4))
    mean = unit / a
    second = unit**2 * q * (q + 2) / (a**2 * b)
    third = 2 * unit**3 * q**2 * (2 * q**2 + 7 * q + 15) / (a**3 * b * c)
    fourth = 3 * unit**4 * q**2 * (12 * q**4 + 33 * q**3 + 95 * q**2 + 212 * q + 8) / (a**4 * b * c * d)
    pairs = zip((mean, second, third, fourth), (a, b, c, d), strict=True)
    return Moments(*(jnp.where(factor > 0, moment, jnp.inf) for moment, factor in pairs))
