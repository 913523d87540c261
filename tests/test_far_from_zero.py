"""Mixtures far from zero: what depends on differences alone keeps its digits, and stated errors are never too small."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import mdnjax as mdn

NODES, RULE = np.polynomial.legendre.leggauss(24)
STEPS = np.concatenate([[0.0], 2.0 ** np.arange(-4, 40)])
P = (0.001, 0.05, 0.5, 0.95)
# Locations are on a grid whose step float32 still has at 2^17, so that the shifted mixtures are the same ones exactly.
SHIFTS = (0.0, 2.0**10, 2.0**17)
GRID = 2.0**-6
FAMILIES = {
    "isotropic": lambda loc, s: mdn.Isotropic(loc, s[..., 0]),
    "diagonal": mdn.Diagonal,
    "full": lambda loc, s: mdn.Full(loc, 1 / s[..., None]),
    "low_rank": lambda loc, s: mdn.LowRank(loc, 0.6 * s[..., None], 0.8 * s),
    "laplace": mdn.Laplace,
    "student_t": lambda loc, s: mdn.StudentT(loc, s, jnp.full_like(loc, 3.5)),
}
STANDARD = {"laplace": stats.laplace(), "student_t": stats.t(3.5)}


def parts(dtype, num=6):
    """Logits, locations on the grid, scales that are powers of 2, and targets on the grid, `[num, 3]` and `[num, 1]`."""
    generator = np.random.default_rng(0)
    logits, loc = generator.standard_normal((num, 3)), np.round(3 * generator.standard_normal((num, 3)) / GRID) * GRID
    scale, y = 2.0 ** generator.integers(-2, 2, (num, 3)), np.round(3 * generator.standard_normal((num, 1)) / GRID) * GRID
    return tuple(part.astype(dtype) for part in (logits, loc, scale, y))


def panels(loc, scale):
    """Nodes and weights of panels that grow away from each location."""
    ends = np.unique(np.concatenate([loc + sign * s * STEPS[:, None] for sign in (-1, 1) for s in scale]))
    low, length = ends[:-1, None], np.diff(ends)[:, None]
    return (low + length * (NODES + 1) / 2).ravel(), (length * RULE / 2).ravel()


def truth(family, weight, loc, scale, y):
    """CRPS, entropy and expected shortfalls of one mixture near zero."""
    z: Any = STANDARD.get(family, stats.norm())
    u, rule = panels(np.append(loc, y), scale)
    standard = (u[:, None] - loc) / scale
    tail = np.where(u < y, z.cdf(standard) @ weight, z.sf(standard) @ weight)
    log_p = np.asarray(special.logsumexp(z.logpdf(standard) - np.log(scale), b=weight, axis=1))
    shortfalls = []
    for p in P:
        q = quantile(z, weight, loc, scale, p)
        near, more = panels(np.append(loc, q), scale)
        near, more = near[near < q], more[near < q]
        shortfalls.append(q - more @ (z.cdf((near[:, None] - loc) / scale) @ weight) / p)
    return np.array([rule @ tail**2, -rule @ (np.exp(log_p) * np.maximum(log_p, -1e4)), *shortfalls])


def quantile(z, weight, loc, scale, p):
    low, high = (end(loc + scale * z.ppf(p)) for end in (np.min, np.max))
    for _ in range(200):
        middle = (low + high) / 2
        below = z.cdf((middle - loc) / scale) @ weight < p
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


@jax.jit
def statistics(mixture, y):
    """CRPS, CRPS by quadrature, entropy and expected shortfalls, with the errors that are stated."""
    crps, entropy = mdn.crps_by_quadrature(mixture, y), mdn.entropy(mixture)
    shortfall = mdn.expected_shortfall(mixture[:, None], jnp.asarray(P, y.dtype))[..., 0]
    return jnp.stack([mdn.crps(mixture, y), crps.value, entropy.value], -1), jnp.stack([crps.error, entropy.error], -1), shortfall


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_statistics_far_from_zero_are_those_near_zero(family, dtype):
    logits, loc, scale, y = parts(dtype)
    weight, eps = special.softmax(logits.astype(float), axis=-1), np.finfo(dtype).eps
    exact = np.stack(
        [truth(family, *(part.astype(float) for part in row)) for row in zip(weight, loc, scale, y[:, 0], strict=True)]
    )
    for shift in SHIFTS:
        far = jnp.asarray((loc + dtype(shift))[..., None])
        mixture = mdn.Mixture(jnp.asarray(logits), FAMILIES[family](far, jnp.asarray(scale[..., None])))
        values, errors, shortfalls = (np.asarray(part, float) for part in statistics(mixture, jnp.asarray(y + dtype(shift))))
        differences = np.abs(values - exact[:, [0, 0, 1]])
        assert differences.max() <= max(30 * eps, 1e-10), shift
        assert (differences[:, 1:] <= errors + 1e-14).all(), shift  # the oracle is off by this much
        assert np.abs(shortfalls - shift - exact[:, 2:]).max() <= 200 * eps + eps * shift, shift


@pytest.mark.parametrize("family", ["diagonal", "laplace", "student_t"])
def test_the_gradient_of_the_entropy_is_finite_and_right(family):
    """The square of the farthest nodes overflows in float64, which must not reach the gradient."""
    logits, loc, scale, _ = (part[0] for part in parts(np.float64))

    def entropy_of(loc):
        component = FAMILIES[family](loc[:, None], jnp.asarray(scale[:, None]))
        return mdn.entropy(mdn.Mixture(jnp.asarray(logits), component)).value

    step = 1e-6 * np.array([0.3, -0.5, 0.8])
    value, gradient = jax.jit(jax.value_and_grad(entropy_of))(loc)
    difference = entropy_of(loc + step) - entropy_of(loc - step)
    assert np.isfinite(value)
    assert float(2 * gradient @ step) == pytest.approx(float(difference), rel=1e-4, abs=1e-11)
