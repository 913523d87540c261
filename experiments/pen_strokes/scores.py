"""Scores in nats per point: of a network, and of a baseline in which points are independent."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pen_strokes import network
from experiments.pen_strokes.schema import PenModel
from mdnjax.components import Diagonal
from mdnjax.mixture import Mixture, log_prob
from mdnjax.sequences import Rows
from mdnjax.training.initialise import fit_marginal
from mdnjax.types import Params

ROWS_PER_BLOCK = 128


class Score(NamedTuple):
    """Mean NLL per point in nats; `point` is the sum of offset and lift, without the end of drawings."""

    offset: float
    lift: float
    point: float
    end: float


def score(model: PenModel, params: Params, rows: Rows) -> Score:
    """Returns the scores of a network, computed in blocks of rows."""
    totals, num = np.zeros(3), rows.mask.shape[1]
    size = min(ROWS_PER_BLOCK, num)
    for start in range(0, num, size):
        block = jax.tree.map(lambda leaf, at=start: _padded(leaf[..., at : at + size], size), rows)
        totals += np.asarray(_totals(model, params, block), np.float64)
    return _score_of(totals / rows.mask.sum())


def independent_nll(train: Rows, test: Rows, num_components: int) -> Score:
    """Returns the test scores of independent points.

    A mixture of diagonal Gaussians is fitted to the training offsets of each state of the pen by EM; lift and end have the
    frequencies of the training data. The training offsets are not dequantised; instead, no scale is below 0.01.
    """
    totals, train_points, test_points = np.zeros(3), _points(train), _points(test)
    lift_share = np.mean(train_points[:, 2])
    end_share = train.last.sum() / max(train_points[:, 2].sum(), 1)
    for lifted in (0.0, 1.0):
        fitted, scored = (points[points[:, 2] == lifted, :2] for points in (train_points, test_points))
        if not len(fitted) or not len(scored):
            continue
        marginal = jax.jit(fit_marginal, static_argnums=2)(jax.random.key(0), fitted.T, min(num_components, len(fitted)), 0.01)
        mixture = Mixture(jnp.log(marginal.weights), Diagonal(marginal.loc, marginal.scale))
        share = lift_share if lifted else 1 - lift_share
        totals += [-float(np.sum(log_prob(mixture, scored))), -len(scored) * np.log(share), 0]
    num_lifted, num_ends = test_points[:, 2].sum(), test.last.sum()
    totals[2] = -num_ends * np.log(end_share) - ((num_lifted - num_ends) * np.log1p(-end_share) if num_lifted > num_ends else 0)
    return _score_of(totals / len(test_points))


def _score_of(means: np.ndarray) -> Score:
    offset, lift, end = means
    return Score(*map(float, (offset, lift, offset + lift, end)))


@partial(jax.jit, static_argnums=0)
def _totals(model: PenModel, params: Params, rows: Rows) -> list[jax.Array]:
    return [jnp.sum(term) for term in network.nll(model, params, rows)]


def _padded(leaf: np.ndarray, num: int) -> np.ndarray:
    """Appends rows without points, so that all blocks have one shape and share one compiled program."""
    return np.concatenate([leaf, np.zeros((*leaf.shape[:-1], num - leaf.shape[-1]), leaf.dtype)], axis=-1)


def _points(rows: Rows) -> np.ndarray:
    return np.asarray(rows.values)[:, np.asarray(rows.mask)].T
