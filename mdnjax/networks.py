"""Flax networks in the hot path's layout: `x[X, *batch]` to `raw[P, *batch]`, behind a pair of pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdnjax.types import Array, Float, Params, PRNGKey


class Network(NamedTuple):
    """A pair of pure functions: parameters from a key, outputs from parameters and inputs (batch-last)."""

    init: Callable[[PRNGKey], Params]
    apply: Callable[[Params, Float[Array, "X *batch"]], Float[Array, "P *batch"]]


class Dense(nn.Module):
    """W x + b over the first axis; flax's own contracts the last one. Glorot-uniform weights, zero biases."""

    num_units: int

    @nn.compact
    def __call__(self, x: Float[Array, "I *batch"]) -> Float[Array, "O *batch"]:
        dtype = jnp.result_type(float)  # float64 under x64, where Linen would stay with float32
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), (x.shape[0], self.num_units), dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.num_units,), dtype)
        return jnp.tensordot(kernel, x, (0, 0)) + bias.reshape(-1, *[1] * (x.ndim - 1))


class MLP(nn.Module):
    """Dense layers with a nonlinearity between them."""

    hidden_sizes: tuple[int, ...]
    num_outputs: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[Array, "X *batch"]) -> Float[Array, "P *batch"]:
        for num_units in self.hidden_sizes:
            x = self.activation(Dense(num_units)(x))
        return Dense(self.num_outputs)(x)


def make_mlp(num_inputs: int, num_outputs: int, *, hidden_sizes: Sequence[int], activation: str) -> Network:
    """A multilayer perceptron; `activation` is the name of a function of `jax.nn`."""
    module = MLP(tuple(hidden_sizes), num_outputs, getattr(jax.nn, activation))

    def init(init_key: PRNGKey) -> Params:
        return cast(Params, module.init(init_key, jnp.zeros((num_inputs, 1)))["params"])

    def apply(params: Params, x: Float[Array, "X *batch"]) -> Float[Array, "P *batch"]:
        return module.apply({"params": params}, x)  # type: ignore[return-value]

    return Network(init, apply)
