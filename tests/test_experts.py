"""Trees as arrays predict what scikit-learn predicts; networks learn from predictions for rows that the trees have not seen."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mdnjax import trees
from mdnjax.training import experts
from mdnjax.trees import NUM_FOLDS, empty_trees, predictions

NAMES = ("boosted_trees", "extra_trees")
RNG = np.random.default_rng(0)
Z = RNG.standard_normal((200, 3)).astype(np.float32)
Z[:, 2] = np.round(Z[:, 2], 1)  # values exactly at thresholds
TARGETS = np.stack([np.sin(3 * Z[:, 0]), RNG.standard_normal(200)], axis=1).astype(np.float32)  # a function, and pure noise


@pytest.fixture(scope="module")
def sizes():
    with pytest.MonkeyPatch.context() as patch:
        for module in (trees, experts):
            patch.setattr(module, "SIZES", {"boosted_trees": (20, 8), "extra_trees": (4, 60)})
        yield


@pytest.fixture(scope="module")
def fitted(sizes):
    return experts.fit_experts(NAMES, Z, TARGETS, seed=0)


def fold_estimators(name, target):
    """Returns the folds, and the estimators of the growth with the smallest squared error on the rows of the first two folds."""
    fold, fitted = np.arange(len(Z)) * NUM_FOLDS // len(Z), {}
    for growth in experts.GROWTHS[name]:
        new = [experts._estimator(name, part, *growth) for part in range(NUM_FOLDS)]
        fitted[growth] = [each.fit(Z[fold != part], TARGETS[fold != part, target]) for part, each in enumerate(new)]

    def error(estimators):
        of_rows = [(estimators[part].predict(Z[fold == part]) - TARGETS[fold == part, target]) ** 2 for part in (0, 1)]
        return np.concatenate(of_rows).sum()

    return fold, min(fitted.values(), key=error)


def test_a_rough_function_has_the_larger_rate_a_noisy_line_the_smallest_trees_and_few_rows_the_ordinary_ones():
    z = np.random.default_rng(1).random((300, 2)).astype(np.float32)
    waves, line = np.prod(np.sin(9 * z), axis=1), z[:, 0] + 0.5 * np.random.default_rng(2).standard_normal(300)
    for target, num, growth in ((waves, 300, (32, 0.2)), (line, 300, (8, 0.07)), (line, 100, (24, 0.07))):
        fold = np.arange(num) * NUM_FOLDS // num
        estimators = experts._estimators_of_folds("boosted_trees", z[:num], target[:num], fold, 0, None)
        assert [(each.max_leaf_nodes, each.learning_rate) for each in estimators] == [growth] * NUM_FOLDS


@pytest.mark.parametrize("column", range(4))
def test_predictions_are_those_of_scikit_learn(fitted, column):
    name, target = NAMES[column // 2], column % 2
    fold, estimators = fold_estimators(name, target)
    rows = np.concatenate([Z, np.nextafter(Z, np.float32(9))])
    expected = np.mean([estimator.predict(rows) for estimator in estimators], axis=0)
    np.testing.assert_allclose(predictions(fitted.trees, rows)[:, column], expected, atol=1e-5)
    expected = np.concatenate([estimator.predict(Z[fold == part]) for part, estimator in enumerate(estimators)])
    np.testing.assert_allclose(fitted.predictions[:, column], expected, atol=1e-6)


def test_a_leak_would_be_seen(fitted):
    """Predictions of pure noise agree with it for rows that the trees have seen, but not for those that networks learn from."""
    seen = np.asarray(predictions(fitted.trees, Z))
    for column in (1, 3):
        assert np.corrcoef(seen[:, column], TARGETS[:, 1])[0, 1] > 0.6
        assert abs(np.corrcoef(fitted.predictions[:, column], TARGETS[:, 1])[0, 1]) < 0.25


def test_arrays_have_the_shapes_that_a_file_must_have(fitted):
    for name, like in empty_trees(NAMES, 2).items():
        for array, expected in zip(fitted.trees[name], like, strict=True):
            assert (array.shape, array.dtype) == (expected.shape, expected.dtype)


def test_trees_of_fewer_leaves_predict_the_same_in_larger_arrays(fitted, monkeypatch):
    small = fitted.trees["boosted_trees"]
    monkeypatch.setattr(trees, "SIZES", {"boosted_trees": (trees.SIZES["boosted_trees"][0], 32)})
    of_file = {f"trees/boosted_trees/{name}": array for name, array in small._asdict().items()}
    larger = trees.SmallTrees(*trees.with_room(of_file, "trees", empty_trees(("boosted_trees",), 2)).values())
    assert {array.shape[-1] for array in larger[:4]} == {31, 32}
    np.testing.assert_array_equal(predictions({"boosted_trees": larger}, Z), predictions({"boosted_trees": small}, Z))


def test_a_batch_of_any_shape_has_the_same_predictions(fitted):
    np.testing.assert_array_equal(
        np.asarray(predictions(fitted.trees, Z[:6].reshape(2, 3, 3))).reshape(6, 4), predictions(fitted.trees, Z[:6])
    )


def test_every_way_down_the_trees_ends(fitted):
    large = fitted.trees["extra_trees"]
    assert trees.ends_in_leaves(large)
    assert trees.ends_in_leaves(trees.empty_expert("extra_trees"))
    back = large._replace(branch=large.branch.copy())
    back.branch[0, 3, 1] = 0  # its left child is the root
    assert not trees.ends_in_leaves(back)
    beyond = large._replace(branch=np.where(large.branch > 0, large.branch + 10**3, large.branch))
    assert not trees.ends_in_leaves(beyond)


def test_fewer_rows_than_folds_are_enough(sizes):
    few = experts.fit_experts(NAMES, Z[:3], TARGETS[:3], seed=0)
    assert np.isfinite(few.predictions).all()
    assert np.isfinite(predictions(few.trees, Z)).all()


def test_without_scikit_learn_there_is_one_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(experts, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"scikit-learn is not installed; install it with pip install 'mdnjax\[tabular\]'"):
        experts.fit_experts(NAMES, Z, TARGETS, seed=0)


def test_the_first_fit_of_a_process_uses_one_thread():
    """Threads of OpenMP wait actively, and beside a compilation a fit takes up to fifty times longer with two of them."""
    program = """
from threadpoolctl import threadpool_info
import os
import subprocess
import sys

import numpy as np
from mdnjax.training import experts

cross_fit = experts._cross_fit

def check(*arguments):
    libraries = [library for library in threadpool_info() if library["user_api"] == "openmp"]
    print(len(libraries), {library["num_threads"] for library in libraries})
    return cross_fit(*arguments)

experts._cross_fit = check
experts.fit_experts(["boosted_trees"], np.ones((20, 1), np.float32), np.ones((20, 1)), 0)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    number, threads = done.stdout.split()
    assert int(number) >= 1
    assert threads == "{1}"
