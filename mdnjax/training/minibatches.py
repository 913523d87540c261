"""Minibatches in a shuffled order, from a permutation whose entries can be computed one by one."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from mdnjax.types import AnyArray, Array, Int, PRNGKey

B = TypeVar("B")
NUM_SHUFFLE_ROUNDS = 24
EPOCH_KEYS = 2**31  # folded into the key for epochs; larger than any step, so that no step has the same key


def minibatch(size: int | None, key: PRNGKey, step: Int[Array, ""], train: B, num: Int[AnyArray, ""] | None = None) -> B:
    """Returns the examples of a step. Each epoch has a new permutation; a remainder that does not fill a minibatch is left out.

    Examples are the last axis of every leaf. With padded data only the first `num` examples are used. If these are fewer than a
    minibatch, of at most as many as are stored, they are repeated in order, and the next minibatch continues after the last
    example of this one.
    """
    num_stored: int = jax.tree.leaves(train)[0].shape[-1]
    if num is None and (size is None or size >= num_stored):
        return train
    size = min(size or num_stored, num_stored)
    num_examples: Any = num_stored if num is None else num
    num_steps = num_examples // size if num is None else jnp.maximum(num // size, 1)
    indices = minibatch_indices(size, key, step, num_examples, num_steps)
    if num is not None:
        indices = jnp.where(num < size, ((step % num) * (size % num) + jnp.arange(size)) % num, indices)
    return jax.tree.map(lambda leaf: leaf[..., indices], train)


def minibatch_indices(size: int, key: PRNGKey, step: Int[Array, ""], num_examples: Any, num_steps: Any) -> Int[Array, " size"]:
    """Returns which of the examples a step uses, if an epoch has `num_steps` of them."""
    epoch, step_of_epoch = step // num_steps, step % num_steps
    epoch_key = jax.random.fold_in(jax.random.fold_in(key, EPOCH_KEYS), epoch)
    return permutation_at(epoch_key, step_of_epoch * size + jnp.arange(size), num_examples)


def permutation_at(epoch_key: PRNGKey, positions: Int[Array, " B"], num: int | Int[AnyArray, ""]) -> Int[Array, " B"]:
    """Returns the entries at these positions of a random permutation of 0, ..., num - 1, which is a function of the key.

    Each round pairs every entry i with (K - i) mod N, where K is random, and swaps a pair if its random bit is 1; this is a
    permutation for any bits. B entries take a time proportional to B. Sorting would take a time proportional to N log N, and its
    permutation would be a part of the training state.
    Source: Hoang, Morris and Rogaway (2012), An enciphering scheme based on a card shuffle.
    """
    num = jnp.asarray(num, jnp.uint32)
    keys = jax.random.bits(epoch_key, (NUM_SHUFFLE_ROUNDS, 2), jnp.uint32)

    def swap_or_not(position: Array, key: Array) -> tuple[Array, None]:
        partner = (key[0] % num + num - position) % num
        swap = _mix(jnp.maximum(position, partner) ^ key[1]) >> 31 == 1
        return jnp.where(swap, partner, position), None

    return jax.lax.scan(swap_or_not, positions.astype(jnp.uint32), keys)[0].astype(jnp.int32)


def _mix(word: Array) -> Array:
    """Returns a 32-bit hash. Source: the finaliser of MurmurHash3 (Appleby 2011)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
