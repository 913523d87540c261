"""Checks for several targets (marginals, conditionals, modes), and of functions that combine mixtures."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

import mdnjax as mdn
from experiments.proof import several_targets
from experiments.proof.cases import Case, Name
from experiments.proof.checks import select
from experiments.proof.checks.check import Check, Position, Stated, each_example, of_mixture, points
from experiments.proof.oracles import Example, Numbers
from experiments.proof.regimes import OF_MIXTURES
from mdnjax import Mixture

NUM_POINTS = 4  # near the components


def _marginal(mixture: Mixture, case: Case) -> Any:
    targets = np.arange(case.y.shape[-1] - 1)[::-1]
    return mdn.log_prob(mdn.marginal(mixture, targets.tolist()), points(mixture, case)[:NUM_POINTS, :, targets])


def _true_marginal(case: Case) -> Numbers:
    last = case.y.shape[-1] - 1
    return case.each(lambda e, y: several_targets.marginal_log_prob(e, y, last), case.points[:NUM_POINTS])


def _condition(mixture: Mixture, case: Case) -> Any:
    """Far from zero the locations given the last target are rounded, which moves log p by its slope in y."""
    y = points(mixture, case)[:NUM_POINTS]
    at, given = jnp.split(jnp.asarray(case.points[:NUM_POINTS]), [1], axis=-1)
    conditional = mdn.condition(case.centred(), [1], given)
    slope = jax.grad(lambda at: jnp.sum(mdn.log_prob(conditional, at)))(at)[..., 0]
    error = np.abs(slope) * case.rounding(mixture.logits.dtype)[:, 0]
    return Stated(mdn.log_prob(mdn.condition(mixture, [1], y[..., 1:]), y[..., :1]), error)


def _true_condition(case: Case) -> Numbers:
    """Returns log p(y) minus the log density of the last of two targets, which is an integral over the first."""
    return case.each(lambda e, y: float(e.log_prob(y)) - several_targets.marginal_log_prob(e, y, 0), case.points[:NUM_POINTS])


def _highest_log_density(mixture: Mixture) -> Any:
    return np.nanmax(np.asarray(mdn.modes(mixture).log_density, float), axis=-1)


def _members(mixture: Mixture) -> Mixture:
    """Returns two members of a batch of three: the examples 0, 1, 2, and the examples 3, 4, 5."""
    return jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), mixture)


def _pool(mixture: Mixture, case: Case) -> Any:
    return mdn.prob(mdn.pool(_members(mixture)), points(mixture, case)[:, :3])


def _true_pool(case: Case) -> Numbers:
    y = case.y[:, :3].astype(float)
    parts = [[np.exp(case.examples[i + m].log_prob(y[:, i])) for m in (0, 3)] for i in range(3)]
    return np.stack([np.mean(part, axis=0) for part in parts], axis=-1)


def _true_split_variance(case: Case) -> Any:
    means, variances = (case.each(oracle).reshape(2, 3, -1) for oracle in (several_targets.mean, several_targets.variance))
    means = means + np.reshape(case.centre, means.shape)
    return variances.mean(0), ((means - means.mean(0)) ** 2).mean(0)


def _reduced_moments(mixture: Mixture, case: Case) -> Any:
    """The rounding r of merged locations far from zero changes covariances by r_i s_j + s_i r_j, with s their largest size."""
    small, dtype = mdn.reduce(mixture, 2), mixture.logits.dtype
    rounding, distance = case.rounding(dtype), np.stack([np.abs(example.loc).max(0) for example in case.examples])
    product = rounding[:, :, None] * distance[:, None]
    return Position(mdn.mean(small)), Stated(mdn.covariance(small), product + np.swapaxes(product, 1, 2))


def _true_reduced_weights(example: Example) -> Numbers:
    """Returns the sorted weights after the merges of least cost."""
    covariances = example.covariance
    if covariances is None:
        covariances = [np.diag(variances) for variances in several_targets.component_variances(example)]
    parts = list(zip(example.weight, example.loc, covariances, strict=True))
    while len(parts) > 2:
        pairs = [(k, j) for j, k in combinations(range(len(parts)), 2)]
        merges = [_merge(parts[k], parts[j]) for k, j in pairs]
        costs = [_volume(new) - _volume(parts[k]) - _volume(parts[j]) for new, (k, j) in zip(merges, pairs, strict=True)]
        best = int(np.argmin(costs))
        parts = [part for i, part in enumerate(parts) if i not in pairs[best]] + [merges[best]]
    return np.sort([part[0] for part in parts])


def _merge(one: Any, other: Any) -> Any:
    (v, m, c), (w, n, d) = one, other
    total = v + w
    if total == 0:
        return 0.0, (m + n) / 2, (c + d) / 2
    a, b = v / total, w / total
    return total, a * m + b * n, a * c + b * d + a * b * np.outer(m - n, m - n)


def _volume(part: Any) -> float:
    return part[0] * np.linalg.slogdet(part[2])[1]


def _aligned_weights(mixture: Mixture) -> Any:
    """Aligns the first three examples, with their components in another order, to the last three, and returns the weights."""
    order = np.roll(np.arange(mixture.logits.shape[-1]), 1)
    permuted = jax.tree.map(lambda leaf: leaf[:3][:, order], mixture)
    return mdn.weights(mdn.align(permuted, mixture[3:]))


def _true_aligned_weights(case: Case) -> Numbers:
    scales = np.sqrt(case.each(several_targets.component_variances))
    num_components = scales.shape[1]
    cost = np.zeros((num_components, num_components))
    for i, (e, reference) in enumerate(zip(case.examples[:3], case.examples[3:], strict=True)):
        for k, j in np.ndindex(*cost.shape):
            distance = ((reference.loc[k] - e.loc[j]) ** 2).sum() + ((scales[i + 3][k] - scales[i][j]) ** 2).sum()
            cost[k, j] += np.sqrt(reference.weight[k] * e.weight[j]) * distance
    columns = optimize.linear_sum_assignment(cost)[1]
    return np.stack([e.weight[columns] for e in case.examples[:3]])


def _combined(name: Name) -> bool:
    return select.two_on_the_line(name) or name == Name("diagonal")


CHECKS = [
    Check(
        "marginal",
        "int p(y) dy_last",
        "the density integrated over the last target",
        _marginal,
        _true_marginal,
        lambda n: select.several(n) and n.num_components > 1,
        (5e-5, 1e-9),
        regimes=(*OF_MIXTURES, "kinks"),
    ),
    Check(
        "condition",
        "p(y) / p(y_given)",
        "joint density over its integral",
        _condition,
        _true_condition,
        select.two,
        (2e-4, 1e-9),
        regimes=(*OF_MIXTURES, "kinks"),
    ),
    Check(
        "modes",
        "highest log density of several targets",
        "Nelder-Mead from every location",
        of_mixture(_highest_log_density),
        each_example(several_targets.highest_log_density),
        lambda n: select.two(n) and n.support != "box",
        (1e-4, 1e-8),
        regimes=OF_MIXTURES,
    ),
    Check(
        "pool",
        "1/M sum_m p_m(y)",
        "scipy's densities",
        _pool,
        _true_pool,
        select.two_on_the_line,
        (1e-4, 1e-11),
        regimes=("weights", "df", "kinks"),
    ),
    Check(
        "split_variance",
        "mean_m v_m, var_m m_m",
        "Gauss-Legendre panels",
        of_mixture(lambda m: mdn.split_variance(_members(m))),
        _true_split_variance,
        _combined,
        (1e-4, 1e-10),
        regimes=("far", "weights", "df"),
    ),
    Check(
        "reduce",
        "mean and covariance are preserved",
        "Gauss-Legendre panels",
        _reduced_moments,
        lambda c: (c.each(several_targets.mean), c.each(several_targets.covariance)),
        _combined,
        (1e-4, 1e-10),
        regimes=("far", "weights", "df"),
    ),
    Check(
        "reduce",
        "cheapest merges: the weights",
        "Runnalls (2007) in numpy",
        of_mixture(lambda m: np.sort(mdn.weights(mdn.reduce(m, 2)), -1)),
        each_example(_true_reduced_weights),
        _combined,
        (1e-5, 1e-12),
        regimes=("far",),
    ),
    Check(
        "align",
        "the assignment of least cost",
        "scipy's linear_sum_assignment",
        of_mixture(_aligned_weights),
        _true_aligned_weights,
        _combined,
        (1e-6, 1e-12),
    ),
]
