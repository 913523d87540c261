"""Cross-fits trees of scikit-learn to the rows of training, and converts them to arrays.

A network learns from predictions for rows that the trees have not seen. Predictions for rows that they have seen are too good,
so that a network would trust them too much.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdnjax.trees import NUM_FOLDS, SIZES, Trees
from mdnjax.types import Float

EXTRA = "pip install 'mdnjax[tabular]'"
LEARNING_RATE = 0.07
MIN_ROWS_OF_LEAF = {"boosted_trees": 5, "extra_trees": 1}


class Experts(NamedTuple):
    """Trees for new rows, and their out-of-fold predictions for the rows that they were fitted to, in units of training."""

    trees: dict[str, Trees]
    predictions: Float[np.ndarray, "N E"]


def is_available() -> bool:
    """Returns whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def fit_experts(
    names: Sequence[str], z: Float[np.ndarray, "N X"], targets: Float[np.ndarray, "N D"], seed: int, weight: Any = None
) -> Experts:
    """Fits the trees of each expert to all folds but one, and predicts the rows of that one; in units of training, float32.

    Raises: ValueError if scikit-learn is not installed.
    """
    if not is_available():
        raise ValueError(f"model.experts: got {', '.join(names)}, but scikit-learn is not installed; install it with {EXTRA}")
    from threadpoolctl import threadpool_limits

    # Blocks of rows, since rows of one group are adjacent, and the validation rows of a network are a block.
    fold = np.arange(len(z)) * min(NUM_FOLDS, len(z)) // len(z)
    with threadpool_limits(1):  # threads of OpenMP wait actively, and take the cores from each other
        fitted = {name: [_cross_fit(name, z, target, fold, seed, weight) for target in targets.T] for name in sorted(names)}
    trees = {
        name: Trees(*map(np.stack, zip(*(trees for trees, _ in of_targets), strict=True))) for name, of_targets in fitted.items()
    }
    return Experts(trees, np.stack([values for of_targets in fitted.values() for _, values in of_targets], axis=1))


def _cross_fit(
    name: str, z: np.ndarray, target: np.ndarray, fold: np.ndarray, seed: int, weight: Any
) -> tuple[Trees, Float[np.ndarray, " N"]]:
    """Returns the trees of all folds for one target, and the predictions for the rows of each fold by the trees of the others."""
    num_trees, num_leaves = SIZES[name]
    shape = (NUM_FOLDS * num_trees, 2 * num_leaves - 1)
    out_of_fold, baseline, num_folds = np.zeros(len(z), np.float32), 0.0, fold.max() + 1
    arrays = [np.zeros(shape, dtype) for dtype in (np.int16, np.float32, np.int16, np.int16, np.float32)]
    for part in range(num_folds):
        rest = fold != part
        estimator = _estimator(name, seed + part).fit(z[rest], target[rest], None if weight is None else weight[rest])
        out_of_fold[~rest] = estimator.predict(z[~rest])
        constant, trees = _arrays_of(name, estimator)
        baseline += constant / num_folds
        for index, (feature, threshold, left, right, value) in enumerate(trees, part * num_trees):
            values = (feature, threshold, left, right, value / num_folds)
            for array, column in zip(arrays, values, strict=True):
                array[index, : len(column)] = column
    feature, threshold, left, right, value = arrays
    return Trees(feature, threshold, left, right, value, np.asarray(baseline, np.float32)), out_of_fold


def _estimator(name: str, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

    num_trees, num_leaves = SIZES[name]
    common: Any = {"max_leaf_nodes": num_leaves, "min_samples_leaf": MIN_ROWS_OF_LEAF[name], "random_state": seed}
    boosted: Any = {"max_iter": num_trees, "learning_rate": LEARNING_RATE, "l2_regularization": 1.0, "early_stopping": False}
    if name == "extra_trees":
        return ExtraTreesRegressor(num_trees, **common)
    return HistGradientBoostingRegressor(**boosted, **common)


def _arrays_of(name: str, estimator: Any) -> tuple[float, Iterator[tuple[np.ndarray, ...]]]:
    """Returns the constant that the trees of an estimator are added to, and the arrays of each tree."""
    if name == "extra_trees":
        return 0.0, (_of_extra_tree(tree.tree_, len(estimator.estimators_)) for tree in estimator.estimators_)
    # scikit-learn has no public access to these trees; a test compares the arrays with its own predictions
    baseline = float(np.asarray(estimator._baseline_prediction).item())
    return baseline, (_of_boosted_tree(tree.nodes) for (tree,) in estimator._predictors)


def _of_extra_tree(tree: Any, num_trees: int) -> tuple[np.ndarray, ...]:
    is_leaf, own = tree.children_left < 0, np.arange(tree.node_count)
    left, right = (np.where(is_leaf, own, children) for children in (tree.children_left, tree.children_right))
    value = tree.value[:, 0, 0] / num_trees
    return np.where(is_leaf, 0, tree.feature), _as_float32(np.where(is_leaf, 0, tree.threshold)), left, right, value


def _of_boosted_tree(nodes: np.ndarray) -> tuple[np.ndarray, ...]:
    is_leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    left, right = (np.where(is_leaf, own, nodes[side].astype(np.int64)) for side in ("left", "right"))
    threshold = _as_float32(np.where(is_leaf, 0, nodes["num_threshold"]))
    return np.where(is_leaf, 0, nodes["feature_idx"]), threshold, left, right, nodes["value"]


def _as_float32(threshold: np.ndarray) -> np.ndarray:
    """Returns the largest float32 that is at most the threshold: the same inputs of float32 are on either side of it."""
    rounded = np.clip(threshold, np.finfo(np.float32).min, np.finfo(np.float32).max).astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
