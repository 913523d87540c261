"""A permutation of 0 ... N - 1 of which any entries can be had without the rest, for minibatches that pass through all data."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdnjax.types import Array, Int, PRNGKey

NUM_ROUNDS = 24


def shuffled(epoch_key: PRNGKey, positions: Int[Array, " B"], num: int) -> Int[Array, " B"]:
    """Where a random permutation of `num` entries, one for each key, has these positions.

    A round pairs each entry i with K - i mod N, K random, and swaps the pair or not by a random bit of its own: a permutation
    whatever the bits. It costs rounds times B, whereas sorting costs N log N, and a state that would have to be saved.
    Source: Hoang, Morris and Rogaway (2012), An enciphering scheme based on a card shuffle.
    """
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
