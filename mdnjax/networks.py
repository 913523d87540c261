"""Flax networks in the hot path's layout: `x[X, *batch]` to `raw[P, *batch]`, behind a pair of pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdnjax.types import Array, Float, Params, PRNGKey

# Names of an MLP's first and last layer, and of a path past them.
FIRST, HEAD, LINE = "hidden_0", "head", "line"


class Network(NamedTuple):
    """A pair of pure functions: parameters from a key, outputs from parameters and inputs (batch-last).

    What is given to `apply` beyond these two, as a `Dropout`, is of one step of training.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[..., Float[Array, "P *batch"]]


class Dropout(NamedTuple):
    """Which share of the hidden units is left out, drawn anew for each example. Source: Srivastava et al. (2014)."""

    key: PRNGKey
    share: float | Float[Array, ""]


class Dense(nn.Module):
    """W x + b over the first axis; flax's own contracts the last one. Zero biases.

    Each block of units starts with Glorot-uniform weights of its own, as if it were a layer by itself: one block of 3 K units
    would start smaller than the three layers of K units that a mixture density network is usually written with.
    """

    blocks: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "I *batch"]) -> Float[Array, "O *batch"]:
        dtype = jnp.result_type(float)  # float64 under x64, where Linen would stay with float32
        kernel = self.param("kernel", self._init_kernel, x.shape[0], dtype)
        bias = self.param("bias", nn.initializers.zeros, (sum(self.blocks),), dtype)
        # The bias as a product, so that its gradient is one too: XLA's sum over a long last axis costs a CPU ten times as much.
        return jnp.tensordot(kernel, x, (0, 0)) + jnp.tensordot(bias[None], jnp.ones((1, *x.shape[1:]), dtype), (0, 0))

    def _init_kernel(self, init_key: PRNGKey, num_inputs: int, dtype: jnp.dtype) -> Float[Array, "I O"]:
        init = nn.initializers.glorot_uniform()
        keys = (jax.random.fold_in(init_key, block) for block in range(len(self.blocks)))
        kernels = [init(key, (num_inputs, size), dtype) for key, size in zip(keys, self.blocks, strict=True) if size]
        return jnp.concatenate(kernels, axis=1)


class MLP(nn.Module):
    """Dense layers with a nonlinearity between them."""

    hidden_sizes: tuple[int, ...]
    output_blocks: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[Array, "X *batch"], dropout: Dropout | None = None) -> Float[Array, "P *batch"]:
        for layer, num_units in enumerate(self.hidden_sizes):
            x = self.activation(Dense((num_units,), name=f"hidden_{layer}")(x))
            if dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(dropout.key, layer), 1 - dropout.share, x.shape)
                x = jnp.where(kept, x / (1 - dropout.share), 0).astype(x.dtype)
        return Dense(self.output_blocks, name=HEAD)(x)


def make_mlp(num_inputs: int, output_blocks: Sequence[int], *, hidden_sizes: Sequence[int], activation: str) -> Network:
    """A multilayer perceptron whose outputs come in contiguous blocks; `activation` is the name of a function of `jax.nn`."""
    module = MLP(tuple(hidden_sizes), tuple(output_blocks), getattr(jax.nn, activation))

    def init(init_key: PRNGKey) -> Params:
        return cast(Params, module.init(init_key, jnp.zeros((num_inputs, 1)))["params"])

    def apply(params: Params, x: Float[Array, "X *batch"], dropout: Dropout | None = None) -> Float[Array, "P *batch"]:
        return module.apply({"params": params}, x, dropout)  # type: ignore[return-value]

    return Network(init, apply)
