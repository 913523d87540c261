"""Laws of parameters as arrays that compiled functions take: numbers z of the real line, their density and their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array, Bool, Float, PRNGKey

LOG_OF_NORMAL = 0.5 * float(np.log(2 * np.pi))


class Law(NamedTuple):
    """Laws of D parameters v = offset + factor g(w), or exp(v) where `is_log`, with w = mixing z, or w = z without `mixing`.

    For bounded parameters g is the logistic function and z has the logistic law; for the others g(w) = w and z is standard
    normal. `mixing` is the lower Cholesky factor of the correlations of w, in which bounded parameters have none.
    """

    offset: Float[AnyArray, " D"]
    factor: Float[AnyArray, " D"]
    is_bounded: Bool[AnyArray, " D"]
    is_log: Bool[AnyArray, " D"]
    mixing: Float[AnyArray, "D D"] | None = None

    def sample(self, key: PRNGKey, shape: Sequence[int] = ()) -> Float[Array, "*shape D"]:
        """Draws numbers z."""
        first, second = jax.random.split(key)
        size = (*shape, *np.shape(self.offset))
        return jnp.where(self.is_bounded, jax.random.logistic(first, size), jax.random.normal(second, size))

    def log_prob(self, z: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
        """Computes the log density of z, with respect to z."""
        logistic = jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)
        return jnp.sum(jnp.where(self.is_bounded, logistic, -0.5 * z**2 - LOG_OF_NORMAL), axis=-1)

    def parameters(self, z: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Returns the parameters that belong to numbers z."""
        v = self.offset + self.factor * self._inner(self.ordered(z))
        return jnp.where(self.is_log, jnp.exp(jnp.where(self.is_log, v, 0)), v).astype(z.dtype)

    def relative_log_prob(self, z: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
        """Computes the log density of the parameters that belong to z, with respect to the parameters and up to a constant."""
        v = self.factor * self._inner(self.ordered(z))
        return jnp.sum(jnp.where(self.is_bounded, 0, -0.5 * z**2) - jnp.where(self.is_log, v, 0), axis=-1)

    def standardised(self, units: ParameterUnits, z: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Returns (theta - mean) / sd for the parameters that belong to z, in float32 also where theta has more digits."""
        g = self._inner(self.ordered(z))
        exponential = jnp.exp(jnp.where(self.is_log, self.offset + self.factor * g, 0))
        linear = units.first + units.slope * g
        return jnp.where(self.is_log, (exponential - units.mean) / units.sd, linear).astype(z.dtype)

    def ordered(self, z: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Returns the numbers w of the real line, each of which grows with its own parameter alone."""
        if self.mixing is None:
            return z
        return jnp.matmul(z, jnp.asarray(self.mixing, z.dtype).T, precision=jax.lax.Precision.HIGHEST)

    def _inner(self, w: Any) -> Any:
        return jnp.where(self.is_bounded, jax.nn.sigmoid(w), w)


class ParameterUnits(NamedTuple):
    """The mean and the sd by which parameters are standardised, and the standardised parameter first + slope g(w).

    `first` and `slope` are computed in float64, because the offset of a law and the mean may be equal in their first digits.
    """

    mean: Float[AnyArray, " D"]
    sd: Float[AnyArray, " D"]
    first: Float[AnyArray, " D"]
    slope: Float[AnyArray, " D"]


def units_of(law: Law, mean: Any, sd: Any) -> ParameterUnits:
    """Returns the units of a law whose arrays are in float64."""
    mean, sd = (np.broadcast_to(np.asarray(value, np.float64), np.shape(law.offset)) for value in (mean, sd))
    return ParameterUnits(mean, sd, np.asarray((law.offset - mean) / sd), np.asarray(law.factor / sd))
