"""Shuffling: a permutation for every size, another for every key, and no memory of the order before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax.training.minibatches import shuffled


@pytest.mark.parametrize("num", [1, 2, 7, 64, 1000])
def test_a_permutation(num):
    assert sorted(shuffled(jax.random.key(0), jnp.arange(num), num).tolist()) == list(range(num))


def test_any_entries_without_the_rest():
    whole = shuffled(jax.random.key(1), jnp.arange(100), 100)
    np.testing.assert_array_equal(shuffled(jax.random.key(1), jnp.array([3, 99, 0]), 100), whole[jnp.array([3, 99, 0])])


def test_no_entry_prefers_a_place_or_a_neighbour():
    """Chi-squared over keys: where the first entry lands, and how far the second lands from it."""
    num, keys = 10, jax.random.split(jax.random.key(2), 20_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, jnp.arange(num), num)))(keys))
    places = np.bincount(orders[:, 0], minlength=num)
    gaps = np.bincount((orders[:, 1] - orders[:, 0]) % num, minlength=num)[1:]
    for counts in (places, gaps):
        expected = len(keys) / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 6 * np.sqrt(2 * len(counts))
