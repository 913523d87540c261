"""Cross-fits trees of scikit-learn to the rows of training, and converts them to arrays.

A network learns from predictions for rows that the trees have not seen. Predictions for rows that they have seen are too good,
so that a network would trust them too much.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdnjax.trees import ALL_LEAVES, ALWAYS_LEFT, CHILD_BITS, NUM_FOLDS, SIZES, SmallTrees, Trees, empty_expert, stacked
from mdnjax.types import Float, Int

EXTRA = "pip install 'mdnjax[tabular]'"
# The most leaves of a tree and the rate of learning: for ordinary, for smooth or noisy, and for rough functions.
GROWTHS = {"boosted_trees": ((24, 0.07), (8, 0.07), (32, 0.2)), "extra_trees": ((400, 1.0),)}
NUM_CHOOSING = 2  # folds whose errors choose among them
MIN_ROWS_TO_CHOOSE = 200  # with fewer, the first is taken, since the errors of so few rows are chance
MIN_ROWS_OF_LEAF = {"boosted_trees": 5, "extra_trees": 1}


class Tree(NamedTuple):
    """The V nodes of one tree; a leaf has no children, -1, and all nodes have a value."""

    feature: Int[np.ndarray, " V"]
    threshold: Float[np.ndarray, " V"]
    left: Int[np.ndarray, " V"]
    right: Int[np.ndarray, " V"]
    value: Float[np.ndarray, " V"]


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
    import sklearn.ensemble  # noqa: F401, its threads of OpenMP can be limited only after they are loaded
    from threadpoolctl import threadpool_limits

    # Blocks of rows, since rows of one group are adjacent, and the validation rows of a network are a block.
    fold = np.arange(len(z)) * min(NUM_FOLDS, len(z)) // len(z)
    with threadpool_limits(1):  # threads of OpenMP wait actively, and take the cores from each other
        fitted = {name: [_cross_fit(name, z, target, fold, seed, weight) for target in targets.T] for name in sorted(names)}
    trees = {name: stacked([trees for trees, _ in of_targets]) for name, of_targets in fitted.items()}
    return Experts(trees, np.stack([values for of_targets in fitted.values() for _, values in of_targets], axis=1))


def _cross_fit(
    name: str, z: np.ndarray, target: np.ndarray, fold: np.ndarray, seed: int, weight: Any
) -> tuple[Trees, Float[np.ndarray, " N"]]:
    """Returns the trees of all folds for one target, and the predictions for the rows of each fold by the trees of the others."""
    estimators = _estimators_of_folds(name, z, target, fold, seed, weight)
    trees, num_folds = empty_expert(name), len(estimators)
    out_of_fold, baseline = np.zeros(len(z), np.float32), 0.0
    for part, estimator in enumerate(estimators):
        out_of_fold[fold == part] = estimator.predict(z[fold == part])
        constant, fitted = _trees_of(name, estimator)
        baseline += constant / num_folds
        for index, tree in enumerate(fitted, part * SIZES[name][0]):
            shared = tree._replace(value=tree.value / num_folds)
            rows = _as_small(shared) if isinstance(trees, SmallTrees) else _as_large(shared)
            for array, row in zip(trees, rows, strict=False):
                array[index, : len(row)] = row
    return trees._replace(baseline=np.asarray(baseline, np.float32)), out_of_fold


def _estimators_of_folds(name: str, z: np.ndarray, target: np.ndarray, fold: np.ndarray, seed: int, weight: Any) -> list[Any]:
    """Returns estimators that are fitted to all folds but one, in the way of GROWTHS whose squared error is lowest.

    They are compared on the rows of the first folds.
    """
    num_folds = int(fold.max()) + 1

    def fit(part: int, growth: tuple[int, float]) -> Any:
        rest = fold != part
        return _estimator(name, seed + part, *growth).fit(z[rest], target[rest], None if weight is None else weight[rest])

    def error(part: int, estimator: Any) -> float:
        rows = fold == part
        return float(np.sum((1 if weight is None else weight[rows]) * (estimator.predict(z[rows]) - target[rows]) ** 2))

    growths = GROWTHS[name] if len(z) >= MIN_ROWS_TO_CHOOSE else GROWTHS[name][:1]
    first = {growth: [fit(part, growth) for part in range(min(NUM_CHOOSING, num_folds))] for growth in growths}
    best = min(first, key=lambda growth: sum(error(part, estimator) for part, estimator in enumerate(first[growth])))
    return first[best] + [fit(part, best) for part in range(len(first[best]), num_folds)]


def _as_small(tree: Tree) -> tuple[np.ndarray, ...]:
    """Returns feature, threshold and mask of the inner nodes, and the values of the leaves from left to right."""
    left, right, leaves, inner, masks = tree.left.tolist(), tree.right.tolist(), [], [], []

    def visit(node: int) -> None:
        if left[node] < 0:
            leaves.append(node)
            return
        place, first = len(inner), len(leaves)
        inner.append(node)
        masks.append(0)
        visit(left[node])
        masks[place] = int(ALL_LEAVES) & ~(2 ** len(leaves) - 2**first)
        visit(right[node])

    visit(0)
    nodes = np.array(inner, np.int64)  # a tree may be a single leaf
    return tree.feature[nodes], _as_float32(tree.threshold[nodes]), np.array(masks, np.uint32), tree.value[leaves]


def _as_large(tree: Tree) -> tuple[np.ndarray, ...]:
    """Returns branch, threshold and value of the nodes, in an order in which two children are neighbours."""
    inner = np.flatnonzero(tree.left >= 0)
    number = np.zeros(len(tree.left), np.int32)
    number[tree.left[inner]] = 1 + 2 * np.arange(len(inner))
    number[tree.right[inner]] = 2 + 2 * np.arange(len(inner))
    branch, threshold = number.copy(), np.full(len(number), ALWAYS_LEFT, np.float64)
    branch[inner] = (tree.feature[inner] << CHILD_BITS) + number[tree.left[inner]]
    threshold[inner] = tree.threshold[inner]
    order = np.argsort(number)
    return branch[order], _as_float32(threshold[order]), tree.value[order]


def _estimator(name: str, seed: int, max_leaves: int, rate: float) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

    num_trees, room = SIZES[name]
    common: Any = {"max_leaf_nodes": min(max_leaves, room), "min_samples_leaf": MIN_ROWS_OF_LEAF[name], "random_state": seed}
    boosted: Any = {"max_iter": num_trees, "learning_rate": rate, "l2_regularization": 1.0, "early_stopping": False}
    if name == "extra_trees":
        return ExtraTreesRegressor(num_trees, **common)
    return HistGradientBoostingRegressor(**boosted, **common)


def _trees_of(name: str, estimator: Any) -> tuple[float, Iterator[Tree]]:
    """Returns the constant that the trees of an estimator are added to, and the trees."""
    if name == "extra_trees":
        return 0.0, (_of_extra_tree(tree.tree_, len(estimator.estimators_)) for tree in estimator.estimators_)
    # scikit-learn has no public access to these trees; a test compares the arrays with its own predictions
    baseline = float(np.asarray(estimator._baseline_prediction).item())
    return baseline, (_of_boosted_tree(tree.nodes) for (tree,) in estimator._predictors)


def _of_extra_tree(tree: Any, num_trees: int) -> Tree:
    return Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, tree.value[:, 0, 0] / num_trees)


def _of_boosted_tree(nodes: np.ndarray) -> Tree:
    left, right = (np.where(nodes["is_leaf"], -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return Tree(nodes["feature_idx"], nodes["num_threshold"], left, right, nodes["value"])


def _as_float32(threshold: np.ndarray) -> np.ndarray:
    """Returns the largest float32 that is at most the threshold: the same inputs of float32 are on either side of it."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(threshold, np.float64).astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
