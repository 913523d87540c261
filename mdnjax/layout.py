"""Between the public layout, batch-first, and the kernels', batch-last; long batches go through the kernels in blocks.

A mixture's batch is the axes of its logits before the last; every leaf of its component carries the whole batch in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from mdnjax.types import AnyArray, Array

T = TypeVar("T")

# Numbers of one array in a block. Batches of many times this run three times faster in blocks: all that a kernel makes on the
# way stays in the processor's cache.
BLOCK = 16_384


def answer(kernel: Callable[..., Any], mixture: Any, *arrays: AnyArray, events: Sequence[int] = (), size: int = 1) -> Any:
    """`kernel(logits, component, *arrays)`, written batch-last, for batch-first arguments and results whose batch axes broadcast.

    `events` are the numbers of trailing axes of the arrays that are no batch (1 each, if not given); `size` is how many numbers
    the kernel makes of one component and target of an example.
    """
    events = tuple(events) or (1,) * len(arrays)
    values = [jnp.asarray(array) for array in arrays]
    shapes = [
        mixture.logits.shape[:-1],
        *(value.shape[: value.ndim - event] for value, event in zip(values, events, strict=True)),
    ]
    batch = jnp.broadcast_shapes(*shapes)
    leaves, tree = jax.tree.flatten((mixture, values))
    own = [len(shapes[0])] * len(jax.tree.leaves(mixture)) + [len(shape) for shape in shapes[1:]]
    leaves = [with_axes(leaf, 0, len(batch) - num) for leaf, num in zip(leaves, own, strict=True)]

    def evaluate(leaves: list[Array]) -> Any:
        (logits, component), last = jax.tree.unflatten(tree, [batch_to_end(leaf, len(batch)) for leaf in leaves])
        full = jnp.broadcast_shapes(*(leaf.shape[: len(batch)] for leaf in leaves))
        return jax.tree.map(lambda out: _to_front(out, full), kernel(logits, component, *last))

    per_example = size * max(math.prod(leaf.shape[len(batch) :]) for leaf in jax.tree.leaves(mixture)) if batch else 1
    return _in_blocks(evaluate, leaves, batch, max(1, BLOCK // max(per_example, 1)))


def _in_blocks(evaluate: Callable[[list[Array]], Any], leaves: list[Array], batch: tuple[int, ...], most: int) -> Any:
    """Cuts the longest batch axis, if the batch is many blocks long; the gradient computes a block anew and stores none."""
    if math.prod(batch) < 4 * most:
        return evaluate(leaves)
    axis = max(range(len(batch)), key=batch.__getitem__)
    length = batch[axis]
    block = min(max(1, most * length // math.prod(batch)), length)
    num_blocks = length // block
    cut = [leaf.shape[axis] == length for leaf in leaves]

    def part(start: int, end: int) -> list[Array]:
        return [jnp.moveaxis(leaf, axis, 0)[start:end] for leaf, is_cut in zip(leaves, cut, strict=True) if is_cut]

    def whole(parts: list[Array]) -> list[Array]:
        rest = iter(parts)
        return [jnp.moveaxis(next(rest), 0, axis) if is_cut else leaf for leaf, is_cut in zip(leaves, cut, strict=True)]

    blocks = [leaf.reshape(num_blocks, block, *leaf.shape[1:]) for leaf in part(0, num_blocks * block)]
    results = jax.lax.map(jax.checkpoint(lambda parts: evaluate(whole(parts))), blocks)
    results = jax.tree.map(lambda out: _joined(out, axis), results)
    if num_blocks * block == length:
        return results
    rest = evaluate(whole(part(num_blocks * block, length)))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis), results, rest)


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
