"""Minibatches that pass through all data, by a permutation of which any entries can be had without the rest."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from mdnjax.types import AnyArray, Array, Int, PRNGKey

B = TypeVar("B")
NUM_ROUNDS = 24
EPOCHS = 2**31  # keys of epochs are beyond those of steps


def minibatch(size: int | None, key: PRNGKey, step: Int[Array, ""], train: B, num: Int[AnyArray, ""] | None = None) -> B:
    """The points of a step: each epoch is a permutation of its own, whose end is left out where it does not come out even.

    Points are the last axis of every leaf. Of data that were padded the first `num` are passed; where these are fewer than a step
    takes, it takes some of them again, and the next step goes on behind them.
    """
    num_there: int = jax.tree.leaves(train)[0].shape[-1]
    if num is None and (size is None or size >= num_there):
        return train
    size = size or num_there
    num_points: Any = num_there if num is None else num
    num_steps = num_points // size if num is None else jnp.maximum(num // size, 1)
    epoch, place = step // num_steps, step % num_steps
    epoch_key = jax.random.fold_in(jax.random.fold_in(key, EPOCHS), epoch)
    indices = shuffled(epoch_key, place * size + jnp.arange(size), num_points)
    if num is not None:
        indices = jnp.where(num < size, ((step % num) * (size % num) + jnp.arange(size)) % num, indices)
    return jax.tree.map(lambda leaf: leaf[..., indices], train)


def shuffled(epoch_key: PRNGKey, positions: Int[Array, " B"], num: int | Int[AnyArray, ""]) -> Int[Array, " B"]:
    """Where a random permutation of `num` entries, one for each key, has these positions.

    A round pairs each entry i with K - i mod N, K random, and swaps the pair or not by a random bit of its own: a permutation
    whatever the bits. It costs rounds times B, whereas sorting costs N log N, and a state that would have to be saved.
    Source: Hoang, Morris and Rogaway (2012), An enciphering scheme based on a card shuffle.
    """
    num = jnp.asarray(num, jnp.uint32)
    keys = jax.random.bits(epoch_key, (NUM_ROUNDS, 2), jnp.uint32)

    def swap_or_not(position: Array, key: Array) -> tuple[Array, None]:
        partner = (key[0] % num + num - position) % num
        swap = _mix(jnp.maximum(position, partner) ^ key[1]) >> 31 == 1
        return jnp.where(swap, partner, position), None

    return jax.lax.scan(swap_or_not, positions.astype(jnp.uint32), keys)[0].astype(jnp.int32)


def _mix(word: Array) -> Array:
    """A 32-bit hash. Source: the finaliser of MurmurHash3 (Appleby 2011)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
