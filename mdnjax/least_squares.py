"""Student's predictive distributions of a linear function and of a constant, which are right for few rows too.

For y = [1, x] b + e with normal errors of unknown sd, p(y|x) is a Student-t distribution with N - rank degrees of freedom, the
location [1, x] b and the scale s (1 + h(x))^(1/2), where h(x) = [1, x] (A^T A)^-1 [1, x]^T for the matrix A of all rows [1, x].
Source: Gelman et al. (2013), Bayesian data analysis, section 14.2.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Diagonal
from mdnjax.data.dataset import Dataset
from mdnjax.mixture import Mixture, log_weights
from mdnjax.types import AnyArray, Array, Float

NAMES = ("a constant with normal errors", "least squares")  # without and with slopes
NUM_GAUSSIANS = 6  # whose mixture approximates a Student-t
NUM_POINTS, NUM_EM_ITERATIONS = 2000, 300
MIN_SCALE = 1e-3  # in units of training; targets of a few rows may lie exactly on a line


class LeastSquares(NamedTuple):
    """The constant and the linear function, S = 2, of I = 1 + X inputs, in units of training, with their weights in a mixture.

    h(x) is the squared length of [1, x] `factor`. The Student-t distribution of each is a mixture of J Gaussians with the
    weights `share` and the scales `stretch`, times `scale`.
    """

    coefficients: Float[AnyArray, "*members S I D"]
    factor: Float[AnyArray, "*members S I I"]
    scale: Float[AnyArray, "*members S D"]
    df: Float[AnyArray, "*members S"]
    share: Float[AnyArray, "*members S J"]
    stretch: Float[AnyArray, "*members S J"]
    weight: Float[AnyArray, "*members S"]


def least_squares_like(num_inputs: int, num_targets: int) -> LeastSquares:
    """Returns arrays of the shapes and dtypes of a fit."""
    num, size = len(NAMES), 1 + num_inputs
    shapes = ((num, size, num_targets), (num, size, size), (num, num_targets), (num,), *[(num, NUM_GAUSSIANS)] * 2, (num,))
    return LeastSquares(*(np.zeros(shape, np.float32) for shape in shapes))


def fit_least_squares(
    x: Float[np.ndarray, "N X"], y: Float[np.ndarray, "N D"], weight: Float[np.ndarray, " N"] | None = None
) -> LeastSquares:
    """Fits a constant and a linear function to N rows in units of training; their weights are 0 if no degree of freedom is left.

    With row weights, of which only the ratios matter, it is weighted least squares.
    """
    root = np.ones(len(x)) if weight is None else np.sqrt(weight / np.mean(weight))
    fits = []
    for used in (0, x.shape[1]):
        rows, size = np.column_stack([np.ones(len(x)), x[:, :used]]) * root[:, None], 1 + x.shape[1]
        coefficients, factor = np.zeros((size, y.shape[1])), np.zeros((size, size))
        inverse = np.linalg.pinv(rows)
        coefficients[: used + 1] = inverse @ (root[:, None] * y)
        factor[: used + 1, : used + 1] = _root_of(inverse @ inverse.T)
        df = len(x) - np.linalg.matrix_rank(rows)
        residuals = root[:, None] * y - rows @ coefficients[: used + 1]
        known = max(int(df), 1)
        scale = np.sqrt(np.sum(residuals**2, axis=0) / known)
        fits.append((coefficients, factor, np.maximum(scale, MIN_SCALE), known, *student_as_gaussians(known), df > 0))
    return LeastSquares(*(np.stack(arrays).astype(np.float64) for arrays in zip(*fits, strict=True)))


def log_probs(fit: LeastSquares, scaled: Dataset) -> Float[np.ndarray, "S N"]:
    """Returns log p(y|x) by the constant and by the linear function, or the log probabilities of cells."""
    from scipy import stats  # imported here because the import takes half a second

    loc, scale = location_and_scale(fit, scaled.x)
    df = fit.df[:, None, None]
    densities = stats.t.logpdf((scaled.y - loc) / scale, df) - np.log(scale)
    if scaled.cells is None:
        return np.sum(densities, axis=2)
    low, high = (stats.t.cdf((scaled.cells[:, side] - loc) / scale, df) for side in (0, 1))
    of_cells = np.log(np.maximum(high - low, np.finfo(float).tiny))
    return np.sum(of_cells if scaled.exact is None else np.where(scaled.exact, densities, of_cells), axis=2)


def location_and_scale(fit: LeastSquares, x: Float[AnyArray, "*batch X"]) -> tuple[AnyArray, AnyArray]:
    """Returns location and scale of both Student-t distributions, S first: `[S, *batch, D]`."""
    xp = np if isinstance(x, np.ndarray) and isinstance(fit.scale, np.ndarray) else jnp
    rows = xp.concatenate([xp.ones((*x.shape[:-1], 1), x.dtype), x], axis=-1)
    loc = xp.einsum("...i,sid->s...d", rows, fit.coefficients)
    leverage = xp.sum(xp.einsum("...i,sij->s...j", rows, fit.factor) ** 2, axis=-1, keepdims=True)
    batch = (1,) * (x.ndim - 1)
    return loc, fit.scale.reshape(len(NAMES), *batch, -1) * xp.sqrt(1 + leverage)


def with_least_squares(mixture: Mixture, fit: LeastSquares, z: Float[AnyArray, "*batch X"]) -> Mixture:
    """Returns the mixture of the networks, whose weight is what the others leave, and of both Student-t distributions."""
    loc, scale = (jnp.moveaxis(values, 0, -2) for values in location_and_scale(fit, jnp.asarray(z)))
    component, batch = mixture.component, mixture.logits.shape[:-1]
    assert isinstance(component, Diagonal)

    def joined(ours: Array, theirs: Array) -> Array:
        flat = jnp.broadcast_to(theirs, (*batch, *theirs.shape[len(batch) :])).reshape(*batch, -1, ours.shape[-1])
        return jnp.concatenate([ours, flat.astype(ours.dtype)], axis=-2)

    stretched = scale[..., :, None, :] * fit.stretch[..., None]
    repeated = jnp.broadcast_to(loc[..., :, None, :], stretched.shape)
    shares = (jnp.log(fit.weight)[:, None] + jnp.log(fit.share)).ravel()
    own = log_weights(mixture) + jnp.log(jnp.maximum(1 - jnp.sum(fit.weight), 0))
    logits = jnp.concatenate([own, jnp.broadcast_to(shares, (*batch, len(shares))).astype(own.dtype)], axis=-1)
    return Mixture(logits, Diagonal(joined(component.loc, repeated), joined(component.scale, stretched)))


@functools.cache
def student_as_gaussians(df: int) -> tuple[Float[np.ndarray, " J"], Float[np.ndarray, " J"]]:
    """Returns weights and scales of Gaussians at 0 whose mixture is close to a Student-t: EM with its quantiles as data."""
    from scipy import stats  # imported here because the import takes half a second

    points = stats.t.isf((np.arange(NUM_POINTS) + 0.5) / (2 * NUM_POINTS), df)
    scale = np.quantile(np.abs(points), np.linspace(0.3, 0.999, NUM_GAUSSIANS))
    share = np.full(NUM_GAUSSIANS, 1 / NUM_GAUSSIANS)
    for _ in range(NUM_EM_ITERATIONS):
        joint = share[:, None] * stats.norm.pdf(points, scale=scale[:, None])
        of_component = joint / joint.sum(axis=0)
        share = of_component.mean(axis=1)
        scale = np.sqrt(of_component @ points**2 / (share * NUM_POINTS))
    return share, scale


def _root_of(matrix: Float[np.ndarray, "I I"]) -> Float[np.ndarray, "I I"]:
    """Returns F with F F^T = matrix, for a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))
