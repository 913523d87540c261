"""Gaussian components with any covariance, stored as the Cholesky factor of the precision, so that a density needs no solve."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.components import triangular
from mdnjax.components.diagonal import HALF_LOG_2PI, Diagonal
from mdnjax.components.location_scale import Sizes, blocks, positive_scale, raw_of_scale, split_infinite
from mdnjax.types import AnyArray, Array, Float, PRNGKey


class Full(NamedTuple):
    """Locations `[*batch, K, D]` and L `[*batch, K, D, D]`, lower triangular, with covariance (L L^T)^-1.

    1 / L_dd is the standard deviation of target d given the targets after it.
    """

    loc: Float[Array, "..."]
    precision_tril: Float[Array, "..."]

    @staticmethod
    def raw_sizes(sizes: Sizes) -> tuple[int, ...]:
        """Returns the sizes of the blocks of network outputs: locations, raw conditional scales, entries below the diagonal."""
        num_components, num_targets, _ = sizes
        return (num_components * num_targets,) * 2 + (num_components * num_targets * (num_targets - 1) // 2,)

    @classmethod
    def from_raw(cls, raw: Float[Array, "P *batch"], sizes: Sizes, scale_floor: float | Float[Array, ""]) -> Full:
        """L = A diag(1 / scale), scale = scale_floor + exp(min(raw, 40)), A with ones on the diagonal and raw below it.

        The floor is a lower bound of each conditional scale, and thus bounds the density.
        """
        (num_components, num_targets, _), batch = sizes, raw.shape[1:]
        shape = (num_components, num_targets)
        loc, raw_scale, below = blocks(raw, shape, shape, (num_components, num_targets * (num_targets - 1) // 2))
        # The index of each entry of A in the concatenation of below, 1 and 0.
        index = np.full((num_targets, num_targets), below.shape[1] + 1)
        index[np.diag_indices(num_targets)] = below.shape[1]
        index[np.tril_indices(num_targets, -1)] = np.arange(below.shape[1])
        one = jnp.ones((num_components, 1, *batch), raw.dtype)
        unit_tril = jnp.concatenate([below, one, 0 * one], axis=1)[:, index]
        return cls(loc, unit_tril / positive_scale(raw_scale, scale_floor)[:, None])

    @staticmethod
    def to_raw(
        loc: Float[Array, "K D"], sd: Float[Array, "K D"], sizes: Sizes, scale_floor: float | Float[Array, ""]
    ) -> Float[Array, " P"]:
        """Returns the network outputs of components with these locations and standard deviations, and independent targets."""
        below = jnp.zeros(loc.size * (sizes.num_targets - 1) // 2, loc.dtype)
        return jnp.concatenate([loc.ravel(), raw_of_scale(sd, scale_floor).ravel(), below])

    @classmethod
    def from_covariances(cls, loc: Float[Array, "K D *batch"], covariance: Float[Array, "K D D *batch"]) -> Full:
        """Returns the components with these locations and covariances."""
        return cls(loc, triangular.precision_tril(covariance))

    def log_probs(self, y: Float[Array, "D *#batch"]) -> Float[Array, "K ..."]:
        """log N(y; loc_k, (L L^T)^-1) = sum_d log L_dd - |L^T (y - loc)|^2 / 2 - D / 2 log(2 pi); -inf for an infinite y."""
        infinite, y = split_infinite(y)  # sums over correlated targets would be inf - inf
        z, log_scale = self._whitened(y)
        log_probs = -jnp.sum(0.5 * z**2 + log_scale, axis=1) - HALF_LOG_2PI * self.loc.shape[1]
        return log_probs - jnp.where(jnp.any(infinite, axis=0), jnp.inf, 0)

    def conditionals(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "K D ..."], Float[Array, "K D ..."]]:
        """Returns the cdf and log density of each target given the targets after it."""
        z, log_scale = self._whitened(y)
        return jax.scipy.special.ndtr(z), -0.5 * z**2 - log_scale - HALF_LOG_2PI

    def draw(self, noise_key: PRNGKey) -> Float[Array, "K D *batch"]:
        """Draws loc + L^-T z, with z standard normal."""
        noise = jax.random.normal(noise_key, self.loc.shape, self.loc.dtype)
        return self.loc + triangular.solve_transposed(self.precision_tril, noise)

    def covariances(self) -> Float[Array, "K D D *batch"]:
        inverse = triangular.inverse(self.precision_tril)
        return jnp.sum(inverse[:, :, :, None] * inverse[:, :, None], axis=1)

    def marginals(self) -> Diagonal:
        """Returns the marginal distribution of each target."""
        inverse = triangular.inverse(self.precision_tril)
        return Diagonal(self.loc, jnp.sqrt(jnp.sum(inverse**2, axis=1)))

    def entropies(self) -> Float[Array, "K *batch"]:
        return (0.5 + HALF_LOG_2PI) * self.loc.shape[1] - triangular.log_determinant(self.precision_tril)

    def select(self, targets: tuple[int, ...]) -> Full:
        """Returns the joint distribution of some of the targets."""
        indices = list(targets)
        return Full.from_covariances(self.loc[:, indices], self.covariances()[:, indices][:, :, indices])

    def condition(self, rest: tuple[int, ...], given: tuple[int, ...], y: Float[Array, "G *#batch"]) -> Full:
        """Returns the distribution of the other targets (`rest`) conditional on the value y of the given targets.

        Its precision is the block P_rr of P = L L^T, its location is loc_r - P_rr^-1 P_rg (y - loc_g).
        """
        precision = jnp.sum(self.precision_tril[:, :, None] * self.precision_tril[:, None], axis=3)
        tril = triangular.cholesky(precision[:, list(rest)][:, :, list(rest)])
        projected = jnp.sum(precision[:, list(rest)][:, :, list(given)] * (y - self.loc[:, list(given)])[:, None], axis=2)
        shift = triangular.solve_transposed(tril, triangular.solve(tril, projected))
        return Full(self.loc[:, list(rest)] - shift, jnp.broadcast_to(tril, (*tril.shape[:3], *shift.shape[2:])))

    def affine(self, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Full:
        """Returns the components of `offset + factor * y`, for a positive factor; batch-first."""
        return Full(jnp.asarray(offset + factor * self.loc), self.precision_tril / jnp.asarray(factor)[:, None])

    def stretch(self, factor: float | Float[Array, ""]) -> Full:
        """Returns components with the same locations and all standard deviations times a factor."""
        return self._replace(precision_tril=self.precision_tril / factor)

    def _whitened(self, y: Float[Array, "D *#batch"]) -> tuple[Float[Array, "K D ..."], Float[Array, "K D ..."]]:
        """Returns L^T (y - loc) and -log L_dd."""
        z = jnp.sum(self.precision_tril * (y - self.loc)[:, :, None], axis=1)
        diagonal = jnp.stack([self.precision_tril[:, d, d] for d in range(self.loc.shape[1])], axis=1)
        return z, -jnp.log(diagonal)
