"""Recurrent networks with the batch axes last: `x[X, T, *batch]` to `raw[P, T, *batch]`, or one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdnjax.networks import HEAD, Dense
from mdnjax.types import Array, Bool, Float, Params, PRNGKey

CELLS: dict[str, Any] = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}

Memory = Any  # a pytree of arrays `[*batch, H]`: the state of a network between two steps


class Recurrent(NamedTuple):
    """Four pure functions of a network with a memory.

    init(key) returns parameters, start(batch shape) the memory before the first step,
    step(params, memory, x[X, *batch]) the memory after one step and its outputs raw[P, *batch],
    apply(params, memory, x[X, T, *batch], first[T, *batch]) the same for T steps, with the memory reset before each step that is
    `first` of a sequence.
    """

    init: Callable[[PRNGKey], Params]
    start: Callable[[tuple[int, ...]], Memory]
    step: Callable[[Params, Memory, Array], tuple[Memory, Float[Array, "P *batch"]]]
    apply: Callable[[Params, Memory, Array, Array], tuple[Memory, Float[Array, "P T *batch"]]]


def make_recurrent(num_inputs: int, output_blocks: Sequence[int], *, cell: str, hidden_sizes: Sequence[int]) -> Recurrent:
    """Returns layers of flax cells ("lstm" or "gru") with a linear head whose outputs are in contiguous blocks.

    Raises: ValueError if the name of the cell is unknown or there is no layer.
    Source: Hochreiter & Schmidhuber (1997); Cho et al. (2014); as the trunk of mixtures: Graves (2013), section 4.
    """
    if cell not in CELLS or not hidden_sizes:
        expected = f"one of {', '.join(CELLS)} with one or more layers"
        raise ValueError(f"make_recurrent: got cell {cell!r} with layers {tuple(hidden_sizes)}, expected {expected}")
    dtype = jnp.result_type(float)
    cells = {f"cell_{i}": CELLS[cell](size, param_dtype=dtype) for i, size in enumerate(hidden_sizes)}
    widths = (num_inputs, *hidden_sizes)
    head = Dense(tuple(output_blocks))

    def init(init_key: PRNGKey) -> Params:
        return _init_params(cells, head, num_inputs, init_key)

    def start(batch: tuple[int, ...]) -> Memory:
        unused_key = jax.random.key(0)  # flax requires a key, but the memory starts at 0
        modules = enumerate(cells.items())
        memory = {name: module.initialize_carry(unused_key, (*batch, widths[i])) for i, (name, module) in modules}
        return jax.tree.map(lambda leaf: leaf.astype(dtype), memory)

    def outputs(params: Any, hidden: Float[Array, "... H"]) -> Float[Array, "P ..."]:
        return cast(Array, head.apply({"params": params[HEAD]}, jnp.moveaxis(hidden, -1, 0)))

    def step(params: Params, memory: Memory, x: Float[Array, "X *batch"]) -> tuple[Memory, Float[Array, "P *batch"]]:
        memory, hidden = _advance(cells, params, memory, jnp.moveaxis(x, 0, -1))
        return memory, outputs(params, hidden)

    def apply(
        params: Params, memory: Memory, x: Float[Array, "X T *batch"], first: Bool[Array, "T *batch"]
    ) -> tuple[Memory, Float[Array, "P T *batch"]]:
        def body(memory: Memory, inputs: tuple[Array, Array]) -> tuple[Memory, Array]:
            values, is_first = inputs
            memory = jax.tree.map(lambda leaf: jnp.where(is_first[..., None], 0, leaf), memory)
            return _advance(cells, params, memory, values)

        memory, hidden = jax.lax.scan(body, memory, (jnp.moveaxis(x, 0, -1), first))
        return memory, outputs(params, hidden)  # of all steps in one product

    return Recurrent(init, start, step, apply)


def _init_params(cells: dict[str, Any], head: Dense, num_inputs: int, init_key: PRNGKey) -> Params:
    """Returns the parameters of all layers and of the head; each has a key of its own."""
    params, width, dtype = {}, num_inputs, jnp.result_type(float)
    for i, (name, module) in enumerate(cells.items()):
        memory = module.initialize_carry(init_key, (width,))
        params[name] = module.init(jax.random.fold_in(init_key, i), memory, jnp.zeros(width, dtype))["params"]
        width = module.features
    head_key = jax.random.fold_in(init_key, len(cells))
    return {**params, HEAD: head.init(head_key, jnp.zeros((width, 1), dtype))["params"]}


def _advance(
    cells: dict[str, Any], params: Any, memory: Memory, values: Float[Array, "*batch X"]
) -> tuple[Memory, Float[Array, "*batch H"]]:
    """Returns the memory of all layers after one step, and the values of the last one."""
    next_memory = {}
    for name, module in cells.items():
        next_memory[name], values = module.apply({"params": params[name]}, memory[name], values)
    return next_memory, values
