"""From a function of one example to one of batches: batch-first outside, in blocks where the batch is long.

A mixture's batch is the axes of its logits before the last; every leaf of its component carries the whole batch in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.types import AnyArray, Array

T = TypeVar("T")

# Numbers of one array in a block. Batches of many times this run up to five times faster in blocks: all that a kernel makes on
# the way stays in the processor's cache.
BLOCK = 16_384


def map_examples(kernel: Callable[..., Any], mixture: Any, *arrays: AnyArray, events: Sequence[int] = (), size: int = 1) -> Any:
    """`kernel(logits, component, *arrays)` of one example, mapped over batch axes that broadcast.

    `events` are the numbers of trailing axes of the arrays that are no batch (1 each, if not given); `size` is how many numbers
    the kernel makes of one component and target of an example. Of a kernel that makes one, the compiler keeps none in memory.
    """

    def evaluate(leaves: list[Array], unflatten: Callable[[list[Array]], Any], num_batch: int) -> Any:
        batch = jnp.broadcast_shapes(*(leaf.shape[:num_batch] for leaf in leaves))
        mapped = [[size == full for size, full in zip(leaf.shape, batch, strict=False)] for leaf in leaves]
        squeezed = [
            jnp.squeeze(leaf, tuple(axis for axis, is_mapped in enumerate(own) if not is_mapped))
            for leaf, own in zip(leaves, mapped, strict=True)
        ]

        def one(leaves: list[Array]) -> Any:
            mixture, values = unflatten(leaves)
            return kernel(mixture.logits, mixture.component, *values)

        for axis in reversed(range(num_batch)):
            one = jax.vmap(one, in_axes=([0 if own[axis] else None for own in mapped],), axis_size=batch[axis])
        return one(squeezed)

    return _answer(evaluate, mixture, arrays, events, size if size > 1 else None)


def map_batch(kernel: Callable[..., Any], mixture: Any, *arrays: AnyArray, events: Sequence[int] = (), size: int = 1) -> Any:
    """The same for a kernel that takes all examples at once, batch axes last: for loops that end when the last example has."""

    def evaluate(leaves: list[Array], unflatten: Callable[[list[Array]], Any], num_batch: int) -> Any:
        mixture, values = unflatten([batch_to_end(leaf, num_batch) for leaf in leaves])
        batch = jnp.broadcast_shapes(*(leaf.shape[:num_batch] for leaf in leaves))
        return jax.tree.map(lambda out: _to_front(out, batch), kernel(mixture.logits, mixture.component, *values))

    return _answer(evaluate, mixture, arrays, events, size)


def _answer(
    evaluate: Callable[..., Any], mixture: Any, arrays: Sequence[AnyArray], events: Sequence[int], size: int | None
) -> Any:
    events = tuple(events) or (1,) * len(arrays)
    dtype = mixture.logits.dtype  # what is given with fewer digits is computed with as many as the mixture has
    values = [jnp.asarray(array) for array in arrays]
    values = [value.astype(jnp.promote_types(value.dtype, dtype)) for value in values]
    shapes = [value.shape[: value.ndim - event] for value, event in zip(values, events, strict=True)]
    batch: tuple[int, ...] = np.broadcast_shapes(mixture.logits.shape[:-1], *shapes)
    leaves, tree = jax.tree.flatten((mixture, values))
    own = [mixture.logits.ndim - 1] * len(jax.tree.leaves(mixture)) + [len(shape) for shape in shapes]
    leaves = [with_axes(leaf, 0, len(batch) - num) for leaf, num in zip(leaves, own, strict=True)]

    def unflatten(leaves: list[Array]) -> Any:
        return jax.tree.unflatten(tree, leaves)

    def evaluate_part(leaves: list[Array]) -> Any:
        return evaluate(leaves, unflatten, len(batch))

    if size is None:
        return evaluate_part(leaves)
    per_example = size * max(math.prod(leaf.shape[len(batch) :]) for leaf in leaves)
    return _in_blocks(evaluate_part, leaves, batch, max(1, BLOCK // max(per_example, 1)))


def _in_blocks(evaluate: Callable[[list[Array]], Any], leaves: list[Array], batch: tuple[int, ...], most: int) -> Any:
    """Cuts the longest batch axis, if the batch is many blocks long; the gradient computes a block anew and stores none."""
    if math.prod(batch) < 4 * most:
        return evaluate(leaves)
    axis = max(range(len(batch)), key=batch.__getitem__)
    length = batch[axis]
    num_blocks = -(-length // min(max(1, most * length // math.prod(batch)), length))
    block = -(-length // num_blocks)
    cut = [leaf.shape[axis] == length for leaf in leaves]

    def blocks_of(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, axis, 0)
        if missing := num_blocks * block - length:  # the last block repeats the last example, so that one program serves all
            moved = jnp.concatenate([moved, jnp.broadcast_to(moved[-1:], (missing, *moved.shape[1:]))])
        return moved.reshape(num_blocks, block, *moved.shape[1:])

    def whole(parts: list[Array]) -> list[Array]:
        rest = iter(parts)
        return [jnp.moveaxis(next(rest), 0, axis) if is_cut else leaf for leaf, is_cut in zip(leaves, cut, strict=True)]

    blocks = [blocks_of(leaf) for leaf, is_cut in zip(leaves, cut, strict=True) if is_cut]
    results = jax.lax.map(jax.checkpoint(lambda parts: evaluate(whole(parts))), blocks)
    return jax.tree.map(lambda out: jax.lax.slice_in_dim(_joined(out, axis), 0, length, axis=axis), results)


def _joined(blocks: Array, axis: int) -> Array:
    moved = jnp.moveaxis(blocks, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _to_front(array: Array, batch: tuple[int, ...]) -> Array:
    num_event = array.ndim - len(batch)
    array = jnp.broadcast_to(array, (*array.shape[:num_event], *batch))
    return jnp.moveaxis(array, range(num_event, array.ndim), range(len(batch)))


def batch_to_end(leaf: Array, num_batch: int) -> Array:
    """Moves the first so many axes behind the others, in their order."""
    return jnp.moveaxis(leaf, range(num_batch), range(-num_batch, 0))


def batch_to_front(tree: T, num_batch: int) -> T:
    """Moves the last so many axes of every leaf before the others, in their order."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, range(-num_batch, 0), range(num_batch)), tree)


def with_axes(array: AnyArray, position: int, count: int) -> Array:
    """So many axes of length 1, from a position on."""
    return jnp.expand_dims(array, tuple(range(position, position + count)))
