"""A mixture of a single target on the real line, batch-last; integrals, modes and regions are computed from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import Component, Family, Warped
from mdnjax.quadrature import NUM_STEPS, Estimate, integrate_near
from mdnjax.types import Array, Bool, Float


class LineMixture(NamedTuple):
    """Log weights `[K, *batch]` and components of one target y; methods take points `u[n, *batch]` of the real line, y = y(u)."""

    log_weight: Float[Array, "K *batch"]
    marginals: Any

    def log_prob(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns the log density of u."""
        return jax.scipy.special.logsumexp(self._log_joint(u), axis=1)

    def prob(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns the density of u; far from all components its gradient is 0, where that of exp(log_prob) may be nan.

        There `log_prob` takes differences of numbers such as -1e30, whose rounding errors are larger than exp can represent.
        """
        return jnp.sum(jnp.exp(self._log_joint(u)), axis=1)

    def log_slope(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns log |du/dy|."""
        return self.marginals.log_slope(u[:, None], axis=1)[:, 0]

    def log_density(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns the log density of y at y(u)."""
        return self.log_prob(u) + self.log_slope(u)

    def cdf(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns P(U <= u)."""
        return jnp.sum(jnp.exp(self.log_weight) * self.marginals.line().cdfs(u[:, None, None])[:, :, 0], axis=1)

    def survival(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns P(U > u)."""
        return jnp.sum(jnp.exp(self.log_weight) * self.marginals.line().survivals(u[:, None, None])[:, :, 0], axis=1)

    def tails(self, u: Float[Array, "Q ..."], lower: Bool[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns the cdf where `lower` holds, else the survival function."""
        tails = self.marginals.line().tails(u[:, None, None], lower[:, None, None])
        return jnp.sum(jnp.exp(self.log_weight) * tails[:, :, 0], axis=1)

    def value(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Returns y(u)."""
        return self.marginals.from_line(u[:, None], axis=1)[:, 0]

    def _log_joint(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q K ..."]:
        return self.log_weight + self.marginals.line().target_log_probs(u[:, None, None])[:, :, 0]

    def near(self, point: Float[Array, "#Q ..."]) -> LineMixture:
        """Returns the mixture on the real line whose locations, and thus arguments, are relative to a point.

        So u has all digits of its distance from a location, however far both are from zero.
        """
        on_line = self.marginals.line()
        return LineMixture(self.log_weight, on_line._replace(loc=on_line.loc - point[:, None, None]))

    def integrate(self, integrand: Any, *more: Array, num_steps: int = NUM_STEPS) -> Estimate:
        """Integrates `integrand(near, distance, point)` over the real line, cut at the locations and the points `more`.

        The nodes are `point + distance`, and `near` is `self.near(point)`. On a bounded support there is a cut at 0 too, where a
        logit bends.
        """
        on_line = self.marginals.line()
        zero = [jnp.zeros_like(on_line.loc[:1, 0])] if isinstance(self.marginals, Warped) else []
        used = self.log_weight > -jnp.inf  # a component of weight 0 may be anywhere
        loc, scale = on_line.loc[:, 0], on_line.scale[:, 0]
        first = jnp.min(jnp.where(used, loc, jnp.inf), axis=0)
        finite = (jnp.where(jnp.isfinite(point), point, first)[None] for point in more)
        cuts = [jnp.where(used, loc, first), *zero, *finite]
        batch = jnp.broadcast_shapes(*(cut.shape[1:] for cut in cuts))
        points = jnp.sort(jnp.concatenate([jnp.broadcast_to(cut, (cut.shape[0], *batch)) for cut in cuts]), axis=0)

        def at_node(point: Array, distance: Array) -> Array:
            return integrand(self.near(point), distance, point)

        return integrate_near(at_node, points, jnp.max(jnp.where(used, scale, 0), axis=0), num_steps=num_steps)


def line_mixture(logits: Float[Array, "K *batch"], component: Component) -> LineMixture:
    """Returns a batch-last mixture of a single target as a mixture on the real line."""
    return LineMixture(jax.nn.log_softmax(logits, axis=0), component.marginals())


def unwarped(component: Component) -> Family:
    """Returns the components on the real line: those inside of `Warped` on a bounded support, else the components themselves."""
    return component.component if isinstance(component, Warped) else component


def points_last(function: Callable[..., Any], line: LineMixture, *points: Float[Array, "Q *batch"]) -> Any:
    """Returns function(line, *points); points are the last axis if they are more than the examples, since long loops are fast."""
    if points[0].shape[0] <= math.prod(points[0].shape[1:]):
        return function(line, *points)
    longer = jax.tree.map(lambda leaf: leaf[..., None], line)
    results = function(longer, *(jnp.moveaxis(u, 0, -1)[None] for u in points))
    return jax.tree.map(lambda out: jnp.moveaxis(out[0], -1, 0), results)
