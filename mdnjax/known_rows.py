"""Some rows of training that a predictor contains, and how unlike them new rows are.

The distance of a row is that to the nearest of R rows that the network with the largest weight was trained on. Its p-value is
(1 + the number of held-out rows with a distance of at least its own) / (n + 1), for n rows that this network did not see. If they
and the new row are exchangeable, such as rows drawn at random from the same table, a p-value of at most a is found with a
probability of at most a, whatever the distance is, up to the influence that the held-out rows had on the choice of the step of
training. There are two distances, of the standardised inputs and of the standardised outputs of the last hidden layer. The first
sees every input, but combinations of a few inputs are lost in it among many others; the second sees what the network has
learnt to use. Twice the smaller p-value is again one.
With few held-out rows, n is R, and the distances are those of the R rows to the nearest other one. The rate then holds about.
Source: Sun, Ming, Zhu and Li (2022), Out-of-distribution detection with deep nearest neighbors; Bates et al. (2023), Testing for
outliers with conformal p-values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.config import schema
from mdnjax.config.numbers import split
from mdnjax.embedding import Embedding
from mdnjax.ensemble import Networks
from mdnjax.model import make_last_layer
from mdnjax.parallel import map_in_threads
from mdnjax.types import AnyArray, Array, Float, Int, Params

LEVEL = 0.01
MIN_HELD_OUT = 199  # with fewer, no p-value could be as small as LEVEL
BLOCK_ROWS = 1024  # for which the program is compiled
MIN_DISTANCE = 1e-3  # in standard deviations: a smaller one may be the rounding errors of equal rows, and counts as 0
MIN_SHARE_OF_SD = 1e-3  # of the largest sd of an output: a smaller one is rounding errors


class KnownRows(NamedTuple):
    """Inputs in units of training: R rows that the network with the largest weight was trained on, and n or no held-out rows."""

    trained: Float[AnyArray, "R X"]
    held_out: Float[AnyArray, "n X"]

    @property
    def level(self) -> float:
        """The p-value up to which a row is marked: LEVEL, or the smallest one that there is with fewer than 199 rows."""
        return max(LEVEL, 2 / (1 + (len(self.held_out) or len(self.trained))))


def known_rows(trained: Float[np.ndarray, "R X"], held_out: Float[np.ndarray, "n X"]) -> KnownRows | None:
    """Returns these rows, without held-out rows if they are few; None if there are fewer than two rows."""
    if len(trained) < 2:
        return None
    return KnownRows(trained, held_out if len(held_out) >= MIN_HELD_OUT else held_out[:0])


def known_rows_of(arrays: Mapping[str, np.ndarray], num_inputs: int) -> KnownRows | None:
    """Returns the rows among the arrays of a model file, if there are any. Raises: ValueError if they cannot be such rows."""
    found = [arrays.get(f"known/{name}") for name in KnownRows._fields]
    if all(rows is None for rows in found):
        return None
    for rows in found:
        if rows is None or rows.ndim != 2 or rows.shape[1] != num_inputs or not np.isfinite(rows).all():
            raise ValueError(f"rows of training: expected two arrays of finite numbers with {num_inputs} columns")
    known = KnownRows(*found)  # pyright: ignore
    if len(known.trained) < 2 or 0 < len(known.held_out) < MIN_HELD_OUT:
        got = f"got {len(known.trained)} and {len(known.held_out)} held-out ones"
        raise ValueError(f"rows of training: {got}, expected at least 2, and 0 or {MIN_HELD_OUT}")
    return known


def p_values(
    model: schema.Model, networks: Networks, known: KnownRows, z: Float[np.ndarray, "N X"], num_targets: int
) -> Float[np.ndarray, " N"]:
    """Returns the p-value of each new row, given by its inputs in units of training; see the text at the top of this file."""
    place = 0 if networks.weight is None else int(np.argmax(networks.weight))
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[place], networks.params)
    trained, held_out = (np.asarray(rows, z.dtype) for rows in known)
    distances_of = partial(_distances, split(model)[0], num_targets, params, trained)
    of_known = distances_of(held_out) if len(held_out) else distances_of(trained, own=True)
    pairs = zip(np.sort(of_known, axis=0).T, distances_of(z).T, strict=True)
    num_smaller = np.stack([np.searchsorted(of_space, new) for of_space, new in pairs])
    num = len(of_known)
    return np.minimum(1, 2 * np.min(1 + num - num_smaller, axis=0) / (num + 1))


def _distances(
    shape: schema.Model, num_targets: int, params: Params, trained: np.ndarray, rows: np.ndarray, own: bool = False
) -> Float[np.ndarray, "N 2"]:
    """Returns both distances of each row; with `own`, rows and `trained` are the same, and the nearest row is another one."""

    def of_block(start: int) -> np.ndarray:
        block = rows[start : start + BLOCK_ROWS]
        padded = np.concatenate([block, np.zeros((BLOCK_ROWS - len(block), rows.shape[1]), rows.dtype)])
        places = start + np.arange(BLOCK_ROWS, dtype=np.int32) if own else np.full(BLOCK_ROWS, -1, np.int32)
        return np.asarray(_compiled_distances(shape, num_targets, params, trained, padded, places))[: len(block)]

    return np.concatenate([np.zeros((0, 2), rows.dtype), *map_in_threads(of_block, range(0, len(rows), BLOCK_ROWS))])


@partial(jax.jit, static_argnums=(0, 1))
def _compiled_distances(
    shape: schema.Model,
    num_targets: int,
    params: Params,
    trained: Float[AnyArray, "R X"],
    rows: Float[AnyArray, "N X"],
    own: Int[AnyArray, " N"],
) -> Float[Array, "N 2"]:
    num_experts, embedding = len(shape.experts) * num_targets, Embedding(shape.embedding, shape.embedding_size)
    layer = make_last_layer(rows.shape[1], num_experts, embedding, hidden_sizes=shape.hidden_sizes, activation=shape.activation)
    of_trained, of_rows = (layer(params, jnp.asarray(values).T).T for values in (trained, rows))
    mean, sd = of_trained.mean(axis=0), of_trained.std(axis=0)
    scale = jnp.maximum(sd, MIN_SHARE_OF_SD * sd.max())
    scale = jnp.where(scale > 0, scale, 1)
    of_layer = _to_nearest((of_trained - mean) / scale, (of_rows - mean) / scale, own)
    return jnp.stack([_to_nearest(trained, rows, own), of_layer], axis=1)


def _to_nearest(trained: Float[AnyArray, "R X"], rows: Float[AnyArray, "N X"], own: Int[AnyArray, " N"]) -> Float[Array, " N"]:
    """Returns the distance of each row to the nearest one of `trained`, but not the one whose place is its `own`."""
    places = jnp.arange(len(trained), dtype=own.dtype)
    close = rows @ trained.T - jnp.sum(trained**2, axis=1) / 2  # is largest for the nearest row
    close = jnp.where(places == own[:, None], -jnp.inf, close)
    # An argmax takes ten times as long on a CPU. The distance is computed anew, with smaller rounding errors than from `close`.
    nearest = jnp.where(close == close.max(axis=1, keepdims=True), places, len(trained) - 1).min(axis=1)
    distance = jnp.linalg.norm(rows - trained[nearest], axis=1)
    return jnp.where(distance < MIN_DISTANCE, 0, distance)
