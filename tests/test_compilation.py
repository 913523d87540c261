"""What is compiled beside a training: the shapes that it is for, and no trouble of its own."""

import threading

import jax
import numpy as np
import pytest

from experiments.figures import curves
from mdnjax.compilation import beside
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, Splits, make_scaler
from mdnjax.trained import untrained


def test_it_works_beside_and_has_ended_after():
    begun, allowed, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        allowed.wait(10)
        done.append(True)

    with beside(work):
        assert begun.wait(10)
        assert not done  # the block runs while the work does
        allowed.set()
    assert done


def test_its_errors_are_nobodys_and_the_blocks_are_told():
    def work():
        raise ValueError("of the rehearsal")

    with beside(work):
        pass
    with pytest.raises(KeyError), beside(work):
        raise KeyError("of the block")


@pytest.mark.parametrize("family", ["diagonal", "student_t"])
def test_an_untrained_network_has_the_shapes_of_a_trained_one(family):
    x, y = np.linspace(-1, 1, 20, dtype=np.float32)[:, None], np.zeros((20, 1), np.float32)
    splits = Splits(*[Dataset(x, y)] * 3)
    model = Model(family=family, num_components=2, hidden_sizes=(3,))
    like = untrained(model, make_scaler(splits.train, standardise=True))
    generator = np.random.default_rng(0)
    other = like._replace(params=jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(leaf.dtype), like.params))
    one, two = (curves(model, each, splits) for each in (like, other))
    for name in ("mixture", "weights", "low", "density", "regions"):
        own, same = (jax.tree.leaves(getattr(each, name)) for each in (one, two))
        assert [(np.shape(a), getattr(a, "dtype", a)) for a in own] == [(np.shape(a), getattr(a, "dtype", a)) for a in same]
