"""Regression trees as plain arrays: experts whose predictions are further inputs of a network, evaluated without scikit-learn.

A node sends an example to the right if its input is above the threshold, and to the left otherwise. The largest number of float32
as threshold sends all examples to the left.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array, Float, Int

NUM_FOLDS = 5  # of the cross-fit; the prediction for new rows is the mean over the folds
# Trees in a fold, and the largest number of leaves of a tree. They are fixed, so that arrays have the same shapes for all tables.
SIZES = {"boosted_trees": (200, 32), "extra_trees": (50, 400)}
MAX_LEAVES_OF_MASKS = 32  # bits of a mask
MAX_COMPARED = 12  # inputs: up to that many are chosen by comparisons, which is faster than by their place
ALL_LEAVES = np.uint32(0xFFFFFFFF)
CHILD_BITS = 16
ALWAYS_LEFT = np.finfo(np.float32).max


class SmallTrees(NamedTuple):
    """T trees of at most 32 leaves for each of D targets, whose values are added, and a constant `baseline` for each target.

    A tree has I inner nodes and L leaves, from left to right. The mask of a node has a bit for each leaf, which is 0 for the
    leaves on its left. An example is in the first leaf that is in the masks of all nodes which send it to the right. All nodes
    are looked at for many examples at once, which is 40 times as fast on a CPU as going down the trees.
    Source: Lucchese et al. (2015), QuickScorer.
    """

    feature: Int[AnyArray, "*members D T I"]
    threshold: Float[AnyArray, "*members D T I"]
    mask: Int[AnyArray, "*members D T I"]
    value: Float[AnyArray, "*members D T L"]
    baseline: Float[AnyArray, "*members D"]


class LargeTrees(NamedTuple):
    """T trees of V nodes for each of D targets, whose values are added, and a constant `baseline` for each target.

    The right child of a node follows the left one. `branch` is feature * 2^16 + left child. A leaf is its own left child, and
    sends all examples there, so that they stay.
    """

    branch: Int[AnyArray, "*members D T V"]
    threshold: Float[AnyArray, "*members D T V"]
    value: Float[AnyArray, "*members D T V"]
    baseline: Float[AnyArray, "*members D"]


Trees = SmallTrees | LargeTrees


def empty_trees(experts: Sequence[str], num_targets: int) -> dict[str, Trees]:
    """Returns the trees of each expert before any is fitted; they predict 0."""
    return {name: stacked([empty_expert(name)] * num_targets) for name in experts}


def empty_expert(name: str) -> Trees:
    """Returns the trees of an expert for one target, in all folds, before any is fitted."""
    num_trees, num_leaves = SIZES[name]
    num_trees *= NUM_FOLDS
    zero = np.zeros((), np.float32)
    if num_leaves > MAX_LEAVES_OF_MASKS:
        shape = (num_trees, 2 * num_leaves - 1)
        leaves = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).copy()
        return LargeTrees(leaves, np.full(shape, ALWAYS_LEFT), np.zeros(shape, np.float32), zero)
    inner, leaves = (num_trees, num_leaves - 1), np.zeros((num_trees, num_leaves), np.float32)
    return SmallTrees(np.zeros(inner, np.int16), np.full(inner, ALWAYS_LEFT), np.full(inner, ALL_LEAVES), leaves, zero)


def predictions(trees: dict[str, Trees], z: Float[AnyArray, "*batch X"]) -> Float[Array, "*batch E"]:
    """Returns the prediction of each expert for each target, in units of training: that of all targets by the first expert first.

    Experts are in alphabetical order, as in any dictionary that jax has rebuilt.
    """
    rows = jnp.moveaxis(jnp.asarray(z), -1, 0).reshape(z.shape[-1], math.prod(z.shape[:-1]))
    values = jnp.concatenate([_predict(trees[name], rows) for name in sorted(trees)])
    return values.T.reshape(*z.shape[:-1], len(values))


def _predict(trees: Trees, x: Float[Array, "X N"]) -> Float[Array, "D N"]:
    """Adds the values of all trees, one after the other."""
    value_of = _value_of_small if isinstance(trees, SmallTrees) else _value_of_large

    def predict_target(arrays: list[Array]) -> Array:
        *tree_arrays, baseline = arrays
        start = jnp.full(x.shape[1], baseline)
        return jax.lax.scan(lambda total, tree: (total + value_of(tree, x), None), start, tree_arrays)[0]

    return jax.lax.map(predict_target, [jnp.asarray(array) for array in trees])


def _value_of_small(tree: list[Array], x: Float[Array, "X N"]) -> Float[Array, " N"]:
    feature, threshold, mask, value = tree
    reached = jnp.full(x.shape[1], ALL_LEAVES)
    for node in range(len(feature)):
        column = jax.lax.dynamic_index_in_dim(x, feature[node], keepdims=False)
        reached &= jnp.where(column > threshold[node], mask[node], ALL_LEAVES)
    lowest = reached & (~reached + np.uint32(1))
    return value[jax.lax.population_count(lowest - np.uint32(1)).astype(np.int32)]


def _value_of_large(tree: list[Array], x: Float[Array, "X N"]) -> Float[Array, " N"]:
    branch, threshold, value = tree
    columns, numbers = jnp.arange(x.shape[1], dtype=np.int32), x.reshape(-1)

    def number_of(feature: Array) -> Array:
        if len(x) > MAX_COMPARED:
            return numbers[feature * x.shape[1] + columns]
        return functools.reduce(lambda found, i: jnp.where(feature == i, x[i], found), range(1, len(x)), x[0])

    def unfinished(state: tuple[Array, Array]) -> Array:
        return jnp.any(state[0] != state[1])

    def descend(state: tuple[Array, Array]) -> tuple[Array, Array]:
        node = state[1]
        feature, left = branch[node] >> CHILD_BITS, branch[node] & (2**CHILD_BITS - 1)
        goes_right = number_of(feature) > threshold[node]
        return node, left + goes_right.astype(np.int32)

    root = jnp.zeros(x.shape[1], np.int32)
    return value[jax.lax.while_loop(unfinished, descend, (root - 1, root))[1]]


def with_room(arrays: Mapping[str, np.ndarray], prefix: str, like: Mapping[str, Trees]) -> dict[str, np.ndarray]:
    """Returns arrays of a file, prefix/expert/name, with trees of fewer leaves than `like` has in arrays of its sizes.

    Files until November 2026 have boosted trees of at most 24 leaves.
    """
    padded = dict(arrays)
    for expert, trees in like.items():
        for name, empty in trees._asdict().items():
            array = arrays.get(f"{prefix}/{expert}/{name}", empty)
            if array.shape[:-1] == empty.shape[:-1] and array.shape[-1:] < empty.shape[-1:]:
                rest = np.broadcast_to(empty[..., array.shape[-1] :], (*array.shape[:-1], empty.shape[-1] - array.shape[-1]))
                padded[f"{prefix}/{expert}/{name}"] = np.concatenate([array, rest.astype(array.dtype)], axis=-1)
    return padded


def ends_in_leaves(trees: Trees) -> bool:
    """Returns whether every way down the trees ends: in the arrays of a file, a node might lead back to an earlier one."""
    if isinstance(trees, SmallTrees):
        return True
    left, own = np.asarray(trees.branch) & (2**CHILD_BITS - 1), np.arange(trees.branch.shape[-1])
    is_leaf = (left == own) & (np.asarray(trees.threshold) == ALWAYS_LEFT)
    return bool(np.all(is_leaf | (left > own)) and np.all(left + ~is_leaf < trees.branch.shape[-1]))


def stacked(trees: Sequence[Any]) -> Any:
    """Returns trees of the same structure with a new axis in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
