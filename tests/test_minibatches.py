"""Shuffling: every size gives a permutation, and every key another one, uniformly distributed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax.training.minibatches import permutation_at


@pytest.mark.parametrize("num", [1, 2, 7, 64, 1000])
def test_all_positions_together_are_a_permutation(num):
    assert sorted(permutation_at(jax.random.key(0), jnp.arange(num), num).tolist()) == list(range(num))


def test_some_positions_have_the_entries_of_the_whole_permutation():
    whole = permutation_at(jax.random.key(1), jnp.arange(100), 100)
    np.testing.assert_array_equal(permutation_at(jax.random.key(1), jnp.array([3, 99, 0]), 100), whole[jnp.array([3, 99, 0])])


def test_positions_and_neighbours_are_uniform():
    """Chi-squared tests over keys: of the entry at the first position, and of the difference from it to the second."""
    num, keys = 10, jax.random.split(jax.random.key(2), 20_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permutation_at(key, jnp.arange(num), num)))(keys))
    first_entries = np.bincount(orders[:, 0], minlength=num)
    differences = np.bincount((orders[:, 1] - orders[:, 0]) % num, minlength=num)[1:]
    for counts in (first_entries, differences):
        expected = len(keys) / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 6 * np.sqrt(2 * len(counts))
