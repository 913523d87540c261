"""A mixture of a single target as functions on the real line, batch-last: what integrals, modes and regions are computed from."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import Component
from mdnjax.quadrature import NUM_STEPS, Estimate, integrate
from mdnjax.types import Array, Bool, Float


class Line(NamedTuple):
    """Log weights `[K, *batch]` and a component of one target; arguments are points `u[n, *batch]` of the line, values y(u)."""

    log_weight: Float[Array, "K *batch"]
    marginals: Any

    def log_prob(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Log density of u."""
        log_probs = self.marginals.line().target_log_probs(u[:, None, None])[:, :, 0]
        return jax.scipy.special.logsumexp(self.log_weight + log_probs, axis=1)

    def log_slope(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """log |du/dy|."""
        return self.marginals.log_slope(u[:, None], axis=1)[:, 0]

    def log_density(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """Log density of y, at y(u)."""
        return self.log_prob(u) + self.log_slope(u)

    def cdf(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """P(U <= u)."""
        return jnp.sum(jnp.exp(self.log_weight) * self.marginals.line().cdfs(u[:, None, None])[:, :, 0], axis=1)

    def survival(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """P(U > u)."""
        return jnp.sum(jnp.exp(self.log_weight) * self.marginals.line().survivals(u[:, None, None])[:, :, 0], axis=1)

    def tails(self, u: Float[Array, "Q ..."], lower: Bool[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """The cdf where `lower`, else the survival."""
        tails = self.marginals.line().tails(u[:, None, None], lower[:, None, None])
        return jnp.sum(jnp.exp(self.log_weight) * tails[:, :, 0], axis=1)

    def value(self, u: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
        """y(u)."""
        return self.marginals.from_line(u[:, None], axis=1)[:, 0]

    def integrate(self, integrand: Any, *more: Array, num_steps: int = NUM_STEPS) -> Estimate:
        """Integral over the line, cut at the locations, at 0 (where a logit turns) and at more points."""
        line = self.marginals.line()
        cuts = [line.loc[:, 0], jnp.zeros_like(line.loc[:1, 0]), *(point[None] for point in more)]
        batch = jnp.broadcast_shapes(*(cut.shape[1:] for cut in cuts))
        points = jnp.sort(jnp.concatenate([jnp.broadcast_to(cut, (cut.shape[0], *batch)) for cut in cuts]), axis=0)
        return integrate(integrand, points, jnp.max(line.scale[:, 0], axis=0), num_steps=num_steps)


def line_of(logits: Float[Array, "K *batch"], component: Component) -> Line:
    """The line of a mixture, batch-last."""
    return Line(jax.nn.log_softmax(logits, axis=0), component.marginals())
