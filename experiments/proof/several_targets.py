"""Oracles for several targets: integrals over the other targets, scipy's normal probabilities, draws by numpy."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from experiments.proof import one_target
from experiments.proof.oracles import LAPLACE, Example, Numbers

HALF_WIDTH, NUM_PANELS = 10.0, 14


def component(example: Example, k: int) -> Example:
    """Returns the mixture in which one component has all the weight."""
    return example._replace(weight=np.eye(len(example.weight))[k])


def mean(example: Example) -> Numbers:
    """Returns the mean of each target."""
    return np.array([one_target.mean(target) for target in example.targets()])


def variance(example: Example) -> Numbers:
    """Returns the variance of each target."""
    return np.array([one_target.central(target, 2) for target in example.targets()])


def component_variances(example: Example) -> Numbers:
    """Returns the variances `[K, D]` of the components."""
    return np.stack([variance(component(example, k)) for k in range(len(example.weight))])


def covariance(example: Example) -> Numbers:
    """Returns E[Y Y^T] - E[Y] E[Y]^T; between correlated targets on a bounded support by a product of two rules."""
    middle, total = mean(example), np.diag(variance(example))
    for i in range(len(middle)):
        for j in range(i):
            products = [
                _product(example, k, i, j) - middle[i] * middle[j] if w > 0 else 0.0 for k, w in enumerate(example.weight)
            ]
            total[i, j] = total[j, i] = np.dot(example.weight, products)
    return total


def box_prob(example: Example, low: Numbers, high: Numbers) -> float:
    """Returns P(low < Y <= high): by products of differences, or by scipy's multivariate normal."""
    a, b = (example.to_line(end) for end in (low, high))
    if example.covariance is None:
        sides = [example.kind.cdf(end, *example.shape(), example.loc, example.scale) for end in (a, b)]
        return float(example.weight @ np.prod(sides[1] - sides[0], axis=1))
    parts = zip(example.loc, example.covariance, strict=True)
    values = [
        stats.multivariate_normal.cdf(b, m, c, lower_limit=a, abseps=1e-8, releps=1e-8, maxpts=300_000, rng=0) for m, c in parts
    ]
    return float(example.weight @ np.array(values))


def marginal_log_prob(example: Example, y: Numbers, d: int) -> float:
    """Returns the log of the density's integral over target d; the value of y[d] is not used."""
    at, scale, edges = example.to_line(y), example.scale[:, d], []
    for k in np.flatnonzero(example.weight):
        step = np.concatenate([[0], np.geomspace(0.02, 1e12 if example.df is not None else 300, 120)])
        edges += [example.loc[k, d] + sign * scale[k] * step for sign in (-1, 1)]
        if example.covariance is not None:  # finer panels around the mean of target d given the others
            others = [i for i in range(len(y)) if i != d]
            block = example.covariance[k][np.ix_(others, others)]
            deviation = at[others] - example.loc[k][others]
            centre = example.loc[k, d] + example.covariance[k][d, others] @ np.linalg.solve(block, deviation)
            edges += [centre + sign * scale[k] * step / 4 for sign in (-1, 1)]
    nodes, weight = one_target.gauss_legendre(np.unique(np.concatenate(edges)))
    u = np.repeat(at[None], len(nodes), axis=0)
    u[:, d] = nodes
    log_p = example.log_components(u)
    top = log_p.max()
    log_slopes = np.delete(np.log(example.slope(np.asarray(y, float))), d).sum()
    return float(np.log(weight @ (np.exp(log_p - top) @ example.weight)) + top + log_slopes)


def draw(example: Example, rng: np.random.Generator, num_draws: int) -> Numbers:
    """Returns draws by numpy: of a component, and of a point from it."""
    chosen = rng.choice(len(example.weight), num_draws, p=example.weight)
    shape = (num_draws, example.loc.shape[1])
    if example.covariance is not None:
        factor = np.linalg.cholesky(example.covariance)
        u = example.loc[chosen] + np.einsum("nij,nj->ni", factor[chosen], rng.standard_normal(shape))
    elif example.df is not None:
        u = example.loc[chosen] + example.scale[chosen] * rng.standard_t(example.df[chosen])
    else:
        noise = rng.laplace(size=shape) if example.kind is LAPLACE else rng.standard_normal(shape)
        u = example.loc[chosen] + example.scale[chosen] * noise
    return example.from_line(u)


def highest_log_density(example: Example) -> float:
    """Returns the largest log density that searches from all locations reach."""
    best = -np.inf
    for start in example.loc[example.weight > 0]:
        found = optimize.minimize(
            lambda u: -float(example.log_prob(example.from_line(u))),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000},
        )
        best = max(best, -found.fun)
    return best


def _product(example: Example, k: int, i: int, j: int) -> float:
    """Returns E_k[Y_i Y_j]."""
    target_i, target_j = (component(example, k).target(d) for d in (i, j))
    if example.covariance is None:
        return one_target.mean(target_i) * one_target.mean(target_j)
    pair = example.covariance[k][np.ix_([i, j], [i, j])]
    if not any(one_target.bounds(target_i)):
        return float(pair[0, 1] + example.loc[k, i] * example.loc[k, j])
    z, weight = one_target.gauss_legendre(np.linspace(-HALF_WIDTH, HALF_WIDTH, NUM_PANELS + 1))
    mass = weight * stats.norm.pdf(z)
    factor = np.linalg.cholesky(pair)
    u_i = example.loc[k, i] + factor[0, 0] * z
    u_j = example.loc[k, j] + factor[1, 0] * z[:, None] + factor[1, 1] * z
    y_i, y_j = one_target.value(target_i, u_i), one_target.value(target_j, u_j)
    return float(mass @ (y_i * (y_j @ mass)))
