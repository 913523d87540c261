"""Several targets: marginals, conditionals, modes; and mixtures of mixtures."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy import optimize

import mdnjax as mdn
from experiments.proof import one_target, several_targets
from experiments.proof.cases import Case, Name
from experiments.proof.checks.check import Check
from experiments.proof.checks.density import y_of
from experiments.proof.oracles import Example, Numbers
from mdnjax import Mixture

NEAR = 4  # points in the body of the mixture


def _rest(name_or_case: Any) -> list[int]:
    number = getattr(name_or_case, "num_targets", None) or name_or_case.name.num_targets
    return list(range(number - 1))


def _marginal(mixture: Mixture, case: Case) -> Any:
    kept = _rest(case)[::-1]
    return mdn.log_prob(mdn.marginal(mixture, kept), y_of(mixture, case)[:NEAR, :, kept])


def _true_marginal(case: Case) -> Numbers:
    last = case.name.num_targets - 1
    return case.each(lambda e, y: several_targets.marginal_log_prob(e, y, last), case.y[:NEAR])


def _condition(mixture: Mixture, case: Case) -> Any:
    rest, y = _rest(case), y_of(mixture, case)[:NEAR]
    given = case.name.num_targets - 1
    return mdn.log_prob(mdn.condition(mixture, [given], y[..., [given]]), y[..., rest])


def _true_condition(case: Case) -> Numbers:
    """Joint over marginal of the last target, the others integrated out one by one (of two targets, the only other)."""
    return case.each(lambda e, y: float(e.log_prob(y.astype(float))) - several_targets.marginal_log_prob(e, y, 0), case.y[:NEAR])


def _highest(mixture: Mixture, case: Case) -> Any:
    return np.nanmax(np.asarray(mdn.modes(mixture).log_density, float), axis=-1)


def _halves(mixture: Mixture) -> Mixture:
    """Examples 0, 1, 2 and 3, 4, 5 as two members of a batch of three."""
    return jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), mixture)


def _pool(mixture: Mixture, case: Case) -> Any:
    return mdn.prob(mdn.pool(_halves(mixture)), y_of(mixture, case)[:, :3])


def _true_pool(case: Case) -> Numbers:
    y = case.y[:, :3].astype(float)
    parts = [[np.exp(case.examples[i + m].log_prob(y[:, i])) for m in (0, 3)] for i in range(3)]
    return np.stack([np.mean(part, axis=0) for part in parts], axis=-1)


def _true_split(case: Case) -> Any:
    means, variances = (
        case.each(lambda e, f=f: np.array([f(e.target(d)) for d in range(e.loc.shape[1])])).reshape(2, 3, -1)
        for f in (one_target.mean, lambda e: one_target.central(e, 2))
    )
    return variances.mean(0), ((means - means.mean(0)) ** 2).mean(0)


def _reduced_moments(mixture: Mixture, case: Case) -> Any:
    small = mdn.reduce(mixture, 2)
    return mdn.mean(small), mdn.covariance(small)


def _runnalls(example: Example) -> Numbers:
    """Weights after the cheapest merges, sorted."""
    count = len(example.weight)
    covariances = example.covariance
    if covariances is None:
        variances = [
            [one_target.central(several_targets.component(example, k).target(d), 2) for d in range(example.loc.shape[1])]
            for k in range(count)
        ]
        covariances = np.stack([np.diag(v) for v in variances])
    parts = [(w, m, c) for w, m, c in zip(example.weight, example.loc, covariances, strict=True)]
    while len(parts) > 2:
        pairs = [(k, j) for k in range(len(parts)) for j in range(k)]
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


def _align(mixture: Mixture, case: Case) -> Any:
    order = np.roll(np.arange(case.name.num_components), 1)
    mixed = jax.tree.map(lambda leaf: leaf[:3][:, order], mixture)
    reference = mixture[3:]
    return mdn.weights(mdn.align(mixed, reference))


def _true_align(case: Case) -> Numbers:
    ours, theirs = case.examples[:3], case.examples[3:]
    spread = [
        np.sqrt(
            [
                [one_target.central(several_targets.component(_on_line(e), k).target(d), 2) for d in range(e.loc.shape[1])]
                for k in range(len(e.weight))
            ]
        )
        for e in case.examples
    ]
    cost = np.zeros((len(ours[0].weight),) * 2)
    for i, (e, f) in enumerate(zip(ours, theirs, strict=True)):
        for k in range(len(cost)):
            for j in range(len(cost)):
                away = ((f.loc[k] - e.loc[j]) ** 2).sum() + ((spread[i + 3][k] - spread[i][j]) ** 2).sum()
                cost[k, j] += np.sqrt(f.weight[k] * e.weight[j]) * away
    columns = optimize.linear_sum_assignment(cost)[1]
    return np.stack([e.weight[columns] for e in ours])


def _on_line(example: Example) -> Example:
    return example._replace(low=np.full_like(example.low, -np.inf), high=np.full_like(example.high, np.inf))


def _to_be_reduced(name: Name) -> bool:
    return name.support == "line" and (name.num_targets == 2 or name == Name("diagonal"))


def _two(name: Name) -> bool:
    return name.num_targets == 2


CHECKS = [
    Check(
        "marginal",
        "int p(y) dy_last",
        "the density integrated over the last target",
        _marginal,
        _true_marginal,
        lambda n: n.num_targets > 1 and n.num_components > 1,
        5e-5,
        1e-9,
    ),
    Check("condition", "p(y) / p(y_given)", "joint density over its integral", _condition, _true_condition, _two, 2e-4, 1e-9),
    Check(
        "modes",
        "highest log density of several targets",
        "Nelder-Mead from every location",
        _highest,
        lambda c: c.each(several_targets.highest_log_density),
        lambda n: _two(n) and n.support != "box",
        1e-4,
        1e-8,
    ),
    Check(
        "pool",
        "1/M sum_m p_m(y)",
        "scipy's densities",
        _pool,
        _true_pool,
        lambda n: n.num_targets == 2 and n.support == "line",
        1e-4,
        1e-11,
    ),
    Check(
        "split_variance",
        "mean_m v_m, var_m m_m",
        "Gauss-Legendre panels",
        lambda m, c: mdn.split_variance(_halves(m)),
        _true_split,
        lambda n: _to_be_reduced(n),
        1e-4,
        1e-10,
    ),
    Check(
        "reduce",
        "mean and covariance kept",
        "Gauss-Legendre panels",
        _reduced_moments,
        lambda c: (c.each(several_targets.mean), c.each(several_targets.covariance)),
        _to_be_reduced,
        1e-4,
        1e-10,
    ),
    Check(
        "reduce",
        "cheapest merges: the weights",
        "Runnalls (2007) in numpy",
        lambda m, c: np.sort(mdn.weights(mdn.reduce(m, 2)), -1),
        lambda c: c.each(_runnalls),
        _to_be_reduced,
        1e-5,
        1e-12,
    ),
    Check(
        "align", "the assignment of least cost", "scipy's linear_sum_assignment", _align, _true_align, _to_be_reduced, 1e-6, 1e-12
    ),
]
