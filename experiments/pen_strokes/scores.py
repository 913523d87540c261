"""What a network, or points without memory, pay for each point of drawings."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pen_strokes import pen
from experiments.pen_strokes.schema import PenModel
from mdnjax.components import Diagonal
from mdnjax.mixture import Mixture, log_prob
from mdnjax.sequences import Rows
from mdnjax.training.initialise import fit_marginal
from mdnjax.types import Params

ROWS = 128  # that are scored together


class Score(NamedTuple):
    """Mean nats per point; `point` is offset and lift together, the end of drawings comes beside it."""

    offset: float
    lift: float
    point: float
    end: float


def score(model: PenModel, params: Params, rows: Rows) -> Score:
    """The scores of a network, in blocks of rows."""
    totals, num = np.zeros(3), rows.mask.shape[1]
    for start in range(0, num, ROWS):
        block = jax.tree.map(lambda leaf, at=start: _filled(leaf[..., at : at + ROWS], min(ROWS, num)), rows)
        totals += np.asarray(_totals(model, params, block), np.float64)
    offset, lift, end = totals / rows.mask.sum()
    return Score(*map(float, (offset, lift, offset + lift, end)))


def independent_nll(train: Rows, test: Rows, num_components: int) -> Score:
    """The same for points without memory: a mixture of diagonal Gaussians for either state of the pen, by EM, and two shares.

    The offsets of training are spread out as those of the test are: by less than EM's floor, which is not looked at.
    """
    nats, (seen, asked) = np.zeros(3), (_points(train), _points(test))
    lifted_share = np.mean(seen[:, 2])
    ends = train.last.sum() / max(seen[:, 2].sum(), 1)
    for state in (0.0, 1.0):
        own, new = seen[seen[:, 2] == state, :2], asked[asked[:, 2] == state, :2]
        if not len(own) or not len(new):
            continue
        marginal = jax.jit(fit_marginal, static_argnums=2)(jax.random.key(0), own.T, min(num_components, len(own)), 0.01)
        mixture = Mixture(jnp.log(marginal.weights), Diagonal(marginal.loc, marginal.scale))
        share = lifted_share if state else 1 - lifted_share
        nats += [-float(np.sum(log_prob(mixture, new))), -len(new) * np.log(share), 0]
    num_lifted, num_ends = asked[:, 2].sum(), test.last.sum()
    nats[2] = -num_ends * np.log(ends) - ((num_lifted - num_ends) * np.log1p(-ends) if num_lifted > num_ends else 0)
    offset, lift, end = nats / len(asked)
    return Score(*map(float, (offset, lift, offset + lift, end)))


@partial(jax.jit, static_argnums=0)
def _totals(model: PenModel, params: Params, rows: Rows) -> list[jax.Array]:
    return [jnp.sum(term) for term in pen.nll(model, params, rows)]


def _filled(leaf: np.ndarray, num: int) -> np.ndarray:
    """Rows without a point behind the last, so that one program serves all blocks."""
    return np.concatenate([leaf, np.zeros((*leaf.shape[:-1], num - leaf.shape[-1]), leaf.dtype)], axis=-1)


def _points(rows: Rows) -> np.ndarray:
    return np.asarray(rows.values)[:, np.asarray(rows.mask)].T
