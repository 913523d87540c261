"""Predictors with random parameters, for tests that need no trained ones."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from mdnjax import trees
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler, make_support
from mdnjax.ensemble import Networks, params_like
from mdnjax.predictor import make_predictor

EMBEDDED = {"embedding": "piecewise_linear", "embedding_size": 3, "experts": ("boosted_trees",)}
MODEL = Model(num_components=2, hidden_sizes=(4,), scale_floor=0.05, line=True, **EMBEDDED)
NUM = 40
X, Y = np.random.default_rng(0).normal(size=(NUM, 2)), np.random.default_rng(2).normal(size=(NUM, 1))


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "SIZES", {"boosted_trees": (2, 2)})
        yield


def random_predictor(data, columns=None, support="real"):
    """Returns a predictor with random parameters in the units of these data."""
    generator = np.random.default_rng(1)
    like = params_like(MODEL, data.x.shape[1], data.y.shape[1], 2)
    params = jax.tree.map(lambda leaf: generator.normal(0, 0.4, leaf.shape).astype(np.float32), like)
    params["embedding"]["edges"] = np.tile(
        np.array([-1.5, -0.2, 0.3, 2], np.float32), (2, params["embedding"]["edges"].shape[1] // 4)
    )
    experts = random_trees(generator, data.x.shape[1], data.y.shape[1])
    scaler = make_scaler(data, True, make_support(support, data.y.shape[1]))
    return make_predictor(MODEL, Networks(params, np.array([0.25, 0.75], np.float32), trees=experts), scaler, columns)


def random_trees(generator, num_inputs, num_targets):
    """Returns trees with one split, at the root."""
    found: Any = trees.empty_trees(MODEL.experts, num_targets)["boosted_trees"]
    found.feature[...] = generator.integers(num_inputs, size=found.feature.shape)
    found.threshold[...] = generator.normal(size=found.threshold.shape)
    found.value[...] = generator.normal(size=found.value.shape)
    found.mask[...] = 2  # the leaf on the left is ruled out
    return {"boosted_trees": found}


@functools.cache
def plain_predictor():
    return random_predictor(Dataset(X, Y))
