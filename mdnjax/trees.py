"""Regression trees as plain arrays: experts whose predictions are further inputs of a network, evaluated without scikit-learn.

A node sends an example to the left if its input is at most the threshold. A leaf is its own left and right node, so that an
example stays there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array, Float, Int

NUM_FOLDS = 5  # of the cross-fit; the prediction for new rows is the mean over the folds
# Trees in a fold, and the largest number of leaves of a tree. They are fixed, so that arrays have the same shapes for all tables.
SIZES = {"boosted_trees": (200, 24), "extra_trees": (50, 400)}


class Trees(NamedTuple):
    """T trees of V nodes for each of D targets, whose values are added, and a constant `baseline` for each target."""

    feature: Int[AnyArray, "*members D T V"]
    threshold: Float[AnyArray, "*members D T V"]
    left: Int[AnyArray, "*members D T V"]
    right: Int[AnyArray, "*members D T V"]
    value: Float[AnyArray, "*members D T V"]
    baseline: Float[AnyArray, "*members D"]


def trees_like(experts: tuple[str, ...], num_targets: int) -> dict[str, Trees]:
    """Returns the shapes and dtypes of the trees of each expert."""
    return {name: _like(*SIZES[name], num_targets) for name in experts}


def predictions(trees: dict[str, Trees], z: Float[AnyArray, "*batch X"]) -> Float[Array, "*batch E"]:
    """Returns the prediction of each expert for each target, in units of training: that of all targets by the first expert first.

    Experts are in alphabetical order, as in any dictionary that jax has rebuilt.
    """
    rows = jnp.moveaxis(jnp.asarray(z), -1, 0).reshape(z.shape[-1], math.prod(z.shape[:-1]))
    values = jnp.concatenate([_predict(trees[name], rows) for name in sorted(trees)])
    return values.T.reshape(*z.shape[:-1], len(values))


def _predict(trees: Trees, x: Float[Array, "X N"]) -> Float[Array, "D N"]:
    """Adds the values of all trees, those of one fold at a time, so that less memory is needed."""
    num_targets, num_nodes = trees.feature.shape[0], trees.feature.shape[2]
    columns = jnp.arange(x.shape[1])

    def add(total: Array, fold: list[Array]) -> tuple[Array, None]:
        feature, threshold, left, right, value = (array.reshape(-1, num_nodes) for array in fold)

        def unfinished(state: tuple[Array, Array]) -> Array:
            return jnp.any(state[0] != state[1])

        def descend(state: tuple[Array, Array]) -> tuple[Array, Array]:
            node = state[1]
            goes_left = x[_at(feature, node), columns] <= _at(threshold, node)
            return node, jnp.where(goes_left, _at(left, node), _at(right, node)).astype(node.dtype)

        root = jnp.zeros((len(feature), x.shape[1]), jnp.int32)
        node = jax.lax.while_loop(unfinished, descend, (root - 1, root))[1]
        return total + jnp.sum(_at(value, node).reshape(num_targets, len(feature) // num_targets, x.shape[1]), axis=1), None

    folds = [jnp.moveaxis(jnp.asarray(a).reshape(num_targets, NUM_FOLDS, -1, num_nodes), 1, 0) for a in trees[:5]]
    start = jnp.broadcast_to(jnp.asarray(trees.baseline)[:, None], (num_targets, x.shape[1]))
    return jax.lax.scan(add, start, folds)[0]


def _at(array: Array, node: Array) -> Array:
    """Returns the entry of each tree at a node for each example."""
    return jnp.take_along_axis(array, node, axis=1)


def stacked(trees: list[dict[str, Trees]]) -> dict[str, Trees]:
    """Returns the trees of several tasks with an axis of tasks in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _like(num_trees: int, num_leaves: int, num_targets: int) -> Trees:
    shape = (num_targets, NUM_FOLDS * num_trees, 2 * num_leaves - 1)
    whole, real = (jax.ShapeDtypeStruct(shape, dtype) for dtype in (np.dtype(np.int16), np.dtype(np.float32)))
    baseline = jax.ShapeDtypeStruct((num_targets,), np.dtype(np.float32))
    return Trees(whole, real, whole, whole, real, baseline)  # pyright: ignore[reportArgumentType]
