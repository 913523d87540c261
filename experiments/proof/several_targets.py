"""Independent answers for several targets: integrals over what is left out, scipy's normal probabilities, draws by numpy."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from experiments.proof import one_target
from experiments.proof.oracles import LAPLACE, Example, Numbers, from_line, to_line

HALF_WIDTH, NUM_PANELS = 10.0, 14


def component(example: Example, k: int) -> Example:
    """One component as a mixture of its own."""
    return example._replace(weight=np.eye(len(example.weight))[k])


def mean(example: Example) -> Numbers:
    """Target by target."""
    return np.array([one_target.mean(example.target(d)) for d in range(example.loc.shape[1])])


def covariance(example: Example) -> Numbers:
    """E[Y Y^T] - E[Y] E[Y]^T; between correlated targets on a bounded support by a product of two rules."""
    size, middle = example.loc.shape[1], mean(example)
    total = np.diag([one_target.central(example.target(d), 2) for d in range(size)])
    for i in range(size):
        for j in range(i):
            products = [
                _product(example, k, i, j) - middle[i] * middle[j] if w > 0 else 0.0 for k, w in enumerate(example.weight)
            ]
            total[i, j] = total[j, i] = np.dot(example.weight, products)
    return total


def box_prob(example: Example, low: Numbers, high: Numbers) -> float:
    """P(low < Y <= high): a product of differences, or scipy's multivariate normal."""
    a, b = (to_line(np.asarray(end, float), example.low, example.high) for end in (low, high))
    if example.covariance is None:
        sides = [example.kind.cdf(end, *example.shape(), example.loc, example.scale) for end in (a, b)]
        return float(example.weight @ np.prod(sides[1] - sides[0], axis=1))
    parts = zip(example.loc, example.covariance, strict=True)
    values = [
        stats.multivariate_normal.cdf(b, m, c, lower_limit=a, abseps=1e-8, releps=1e-8, maxpts=300_000, rng=0) for m, c in parts
    ]
    return float(example.weight @ np.array(values))


def marginal_log_prob(example: Example, y: Numbers, d: int) -> float:
    """log of the density's integral over target d; y has a value there that is not looked at."""
    edges, scale = [], example.scale[:, d]
    for k in np.flatnonzero(example.weight):
        step = np.concatenate([[0], np.geomspace(0.02, 1e12 if example.df is not None else 300, 120)])
        edges += [example.loc[k, d] + sign * scale[k] * step for sign in (-1, 1)]
        if example.covariance is not None:  # where the others pull it to
            others = [i for i in range(len(y)) if i != d]
            block = example.covariance[k][np.ix_(others, others)]
            away = to_line(np.asarray(y, float), example.low, example.high)[others] - example.loc[k][others]
            centre = example.loc[k, d] + example.covariance[k][d, others] @ np.linalg.solve(block, away)
            edges += [centre + sign * scale[k] * step / 4 for sign in (-1, 1)]
    points = np.unique(np.concatenate(edges))
    half = np.diff(points)[:, None] / 2
    nodes, weight = (points[:-1, None] + half + half * one_target.NODES).ravel(), (half * one_target.RULE).ravel()
    u = np.repeat(to_line(np.asarray(y, float), example.low, example.high)[None], len(nodes), axis=0)
    u[:, d] = nodes
    log_p = example.log_components(u)
    rest = example.target_slopes(y, d)
    top = log_p.max()
    return float(np.log(weight @ (np.exp(log_p - top) @ example.weight)) + top + rest)


def draw(example: Example, rng: np.random.Generator, number: int) -> Numbers:
    """Draws by numpy: a component, and a point of it."""
    chosen = rng.choice(len(example.weight), number, p=example.weight)
    shape = (number, example.loc.shape[1])
    if example.covariance is not None:
        factor = np.linalg.cholesky(example.covariance)
        u = example.loc[chosen] + np.einsum("nij,nj->ni", factor[chosen], rng.standard_normal(shape))
    elif example.df is not None:
        u = example.loc[chosen] + example.scale[chosen] * rng.standard_t(example.df[chosen])
    else:
        noise = rng.laplace(size=shape) if example.kind is LAPLACE else rng.standard_normal(shape)
        u = example.loc[chosen] + example.scale[chosen] * noise
    return from_line(u, example.low, example.high)


def highest_log_density(example: Example) -> float:
    """The largest log density that searches from the locations reach."""
    best = -np.inf
    for start in example.loc[example.weight > 0]:
        found = optimize.minimize(
            lambda u: -float(example.log_prob(from_line(u, example.low, example.high))),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000},
        )
        best = max(best, -found.fun)
    return best


def _product(example: Example, k: int, i: int, j: int) -> float:
    """E_k[Y_i Y_j]."""
    alone = component(example, k)
    if example.covariance is None:
        return one_target.mean(alone.target(i)) * one_target.mean(alone.target(j))
    pair = example.covariance[k][np.ix_([i, j], [i, j])]
    if not np.isfinite([example.low[i], example.high[i]]).any():
        return float(pair[0, 1] + example.loc[k, i] * example.loc[k, j])
    half = HALF_WIDTH / NUM_PANELS
    middles = np.linspace(-HALF_WIDTH + half, HALF_WIDTH - half, NUM_PANELS)
    z, weight = (middles[:, None] + half * one_target.NODES).ravel(), np.tile(half * one_target.RULE, NUM_PANELS)
    mass = weight * stats.norm.pdf(z)
    factor = np.linalg.cholesky(pair)
    u_i = example.loc[k, i] + factor[0, 0] * z
    u_j = example.loc[k, j] + factor[1, 0] * z[:, None] + factor[1, 1] * z
    y_i, y_j = from_line(u_i, example.low[i], example.high[i]), from_line(u_j, example.low[j], example.high[j])
    return float(mass @ (y_i * (y_j @ mass)))
