"""Applies functions of one example to batches: arguments and results are batch-first, and long batches are cut into blocks.

The batch axes of a mixture are the axes of its logits before the last. Every leaf of its component starts with the same axes.
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

# Elements of the largest intermediate array in a block. Batches many times as large run up to five times faster in blocks,
# because all intermediate arrays of a kernel fit in the processor's cache.
MAX_BLOCK_ELEMENTS = 16_384


def map_examples(kernel: Callable[..., Any], mixture: Any, *arrays: AnyArray, events: Sequence[int] = (), size: int = 1) -> Any:
    """Maps `kernel(logits, component, *arrays)`, a function of one example, over the batch axes, which broadcast.

    `events` are the numbers of trailing axes of each array that are not batch axes (default 1); `size` is how many numbers the
    kernel computes for one component and target of an example. With size 1 the compiler fuses all of the kernel into one loop
    that stores no intermediate array, so the batch is not cut into blocks.
    """

    def evaluate(leaves: list[Array], unflatten: Callable[[list[Array]], Any], num_batch: int) -> Any:
        batch = jnp.broadcast_shapes(*(leaf.shape[:num_batch] for leaf in leaves))
        mapped = [[length == full for length, full in zip(leaf.shape, batch, strict=False)] for leaf in leaves]
        squeezed = [
            jnp.squeeze(leaf, tuple(axis for axis, is_mapped in enumerate(leaf_mapped) if not is_mapped))
            for leaf, leaf_mapped in zip(leaves, mapped, strict=True)
        ]

        def function(leaves: list[Array]) -> Any:
            mixture, values = unflatten(leaves)
            return kernel(mixture.logits, mixture.component, *values)

        for axis in reversed(range(num_batch)):
            in_axes = [0 if leaf_mapped[axis] else None for leaf_mapped in mapped]
            function = jax.vmap(function, in_axes=(in_axes,), axis_size=batch[axis])
        return function(squeezed)

    return _evaluate_batch(evaluate, mixture, arrays, events, size if size > 1 else None)


def map_batch(
    kernel: Callable[..., Any], mixture: Any, *arrays: AnyArray, events: Sequence[int] = (), size: float | int = 1
) -> Any:
    """Evaluates a kernel of all examples at once, batch axes last, such as a loop that runs until every example is done.

    `size` is as for `map_examples`; of L examples that share the arrays of a mixture each has 1 / L of them.
    """

    def evaluate(leaves: list[Array], unflatten: Callable[[list[Array]], Any], num_batch: int) -> Any:
        mixture, values = unflatten([batch_to_end(leaf, num_batch) for leaf in leaves])
        batch = jnp.broadcast_shapes(*(leaf.shape[:num_batch] for leaf in leaves))
        return jax.tree.map(lambda out: _to_front(out, batch), kernel(mixture.logits, mixture.component, *values))

    return _evaluate_batch(evaluate, mixture, arrays, events, size)


def check_mixture(mixture: Any) -> None:
    """Raises a TypeError if a value is not a mixture, and a ValueError if its locations are not `[*batch, K, D]`.

    Unlike a check in the constructor, it does not refuse a mixture of other leaves, such as one of gradients' norms.
    """
    logits, component = (getattr(mixture, name, None) for name in ("logits", "component"))
    if component is None or logits is None or not hasattr(logits, "shape"):
        got = f"logits of type {type(logits).__name__}" if component is not None else _described(mixture)
        raise TypeError(f"mixture: got {got}, expected a Mixture of arrays; it is the first argument, after a key")
    loc = np.shape(jax.tree.leaves(component)[0])
    if not logits.shape or len(loc) != len(logits.shape) + 1 or loc[-2] != logits.shape[-1]:
        expected = f"[*batch, {logits.shape[-1]}, D]" if logits.shape else "logits [*batch, K] and locations [*batch, K, D]"
        raise ValueError(f"mixture: got logits of shape {logits.shape} and locations of shape {loc}, expected {expected}")


def _described(value: Any) -> str:
    return f"an array of shape {value.shape}" if hasattr(value, "shape") else f"type {type(value).__name__}"


def _evaluate_batch(
    evaluate: Callable[..., Any], mixture: Any, arrays: Sequence[AnyArray], events: Sequence[int], size: float | int | None
) -> Any:
    """Evaluates on leaves whose batch axes are aligned; in blocks, unless `size` is None."""
    check_mixture(mixture)
    events = tuple(events) or (1,) * len(arrays)
    dtype = mixture.logits.dtype  # arrays of lower precision are converted to the precision of the mixture
    values = [jnp.asarray(array) for array in arrays]
    values = [value.astype(jnp.promote_types(value.dtype, dtype)) for value in values]
    shapes = [value.shape[: value.ndim - event] for value, event in zip(values, events, strict=True)]
    batch: tuple[int, ...] = np.broadcast_shapes(mixture.logits.shape[:-1], *shapes)
    leaves, tree = jax.tree.flatten((mixture, values))
    num_axes = [mixture.logits.ndim - 1] * len(jax.tree.leaves(mixture)) + [len(shape) for shape in shapes]
    leaves = [with_axes(leaf, 0, len(batch) - num) for leaf, num in zip(leaves, num_axes, strict=True)]

    def unflatten(leaves: list[Array]) -> Any:
        return jax.tree.unflatten(tree, leaves)

    def evaluate_part(leaves: list[Array]) -> Any:
        return evaluate(leaves, unflatten, len(batch))

    if size is None:
        return evaluate_part(leaves)
    per_example = size * max(math.prod(leaf.shape[len(batch) :]) for leaf in leaves)
    return _in_blocks(evaluate_part, leaves, batch, max(1, int(MAX_BLOCK_ELEMENTS / max(per_example, 1))))


def _in_blocks(evaluate: Callable[[list[Array]], Any], leaves: list[Array], batch: tuple[int, ...], max_examples: int) -> Any:
    """Cuts the longest batch axis into blocks, if the batch is long enough.

    The gradient computes each block again instead of storing its intermediate arrays.
    """
    if math.prod(batch) < 4 * max_examples:
        return evaluate(leaves)
    axis = max(range(len(batch)), key=batch.__getitem__)
    length = batch[axis]
    num_blocks = -(-length // min(max(1, max_examples * length // math.prod(batch)), length))
    block = -(-length // num_blocks)
    cut = [leaf.shape[axis] == length for leaf in leaves]

    def cut_blocks(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, axis, 0)
        if missing := num_blocks * block - length:  # the last block is filled with the last example, so that all have one shape
            moved = jnp.concatenate([moved, jnp.broadcast_to(moved[-1:], (missing, *moved.shape[1:]))])
        return moved.reshape(num_blocks, block, *moved.shape[1:])

    def leaves_of_block(parts: list[Array]) -> list[Array]:
        remaining = iter(parts)
        return [jnp.moveaxis(next(remaining), 0, axis) if is_cut else leaf for leaf, is_cut in zip(leaves, cut, strict=True)]

    blocks = [cut_blocks(leaf) for leaf, is_cut in zip(leaves, cut, strict=True) if is_cut]
    results = jax.lax.map(jax.checkpoint(lambda parts: evaluate(leaves_of_block(parts))), blocks)
    return jax.tree.map(lambda out: jax.lax.slice_in_dim(_join_blocks(out, axis), 0, length, axis=axis), results)


def _join_blocks(blocks: Array, axis: int) -> Array:
    moved = jnp.moveaxis(blocks, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _to_front(array: Array, batch: tuple[int, ...]) -> Array:
    num_event = array.ndim - len(batch)
    array = jnp.broadcast_to(array, (*array.shape[:num_event], *batch))
    return jnp.moveaxis(array, range(num_event, array.ndim), range(len(batch)))


def batch_to_end(leaf: Array, num_batch: int) -> Array:
    """Moves the first `num_batch` axes behind the others, in the same order."""
    return jnp.moveaxis(leaf, range(num_batch), range(-num_batch, 0))


def batch_to_front(tree: T, num_batch: int) -> T:
    """Moves the last `num_batch` axes of every leaf before the others, in the same order."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, range(-num_batch, 0), range(num_batch)), tree)


def with_axes(array: AnyArray, position: int, count: int) -> Array:
    """Inserts `count` axes of length 1 at a position."""
    return jnp.expand_dims(array, tuple(range(position, position + count)))


def full_index(index: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Returns an index of all batch axes; its ellipsis is written out, since it would include the axes after them."""
    index = index if isinstance(index, tuple) else (index,)
    num_indexed = sum(map(_num_axes, index))
    if num_indexed > len(shape):
        raise IndexError(f"got {num_indexed} indices, expected at most {len(shape)}: the mixture has a batch of shape {shape}")
    ellipsis = next((place for place, part in enumerate(index) if part is ...), len(index))
    full, axis = (*index[:ellipsis], *(slice(None),) * (len(shape) - num_indexed), *index[ellipsis + 1 :]), 0
    for part in full:
        numbers = np.asarray(part) if isinstance(part, int | list | np.ndarray | np.generic) else None
        if numbers is not None and numbers.dtype.kind in "iu" and not ((-shape[axis] <= numbers) & (numbers < shape[axis])).all():
            raise IndexError(
                f"got index {part}, expected an index into {shape[axis]} rows along axis {axis}"
            )  # jax would clamp it
        axis += _num_axes(part)
    return full


def _num_axes(part: Any) -> int:
    """Returns how many batch axes one part of an index refers to: a mask to its `ndim`, None and an ellipsis to 0."""
    if part is None or part is ...:
        return 0
    return int(part.ndim) if getattr(part, "dtype", None) == np.dtype(bool) else 1


def padded_size(num: int, factor: int = 2) -> int:
    """Returns the smallest of 64, 64 factor, 64 factor^2, ... that is at least `num`."""
    size = 64
    while size < num:
        size *= factor
    return size
