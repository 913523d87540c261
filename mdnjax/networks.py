"""Flax networks with the batch axes last, `x[X, *batch]` to `raw[P, *batch]`, as pairs of pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.config.nearest import nearest
from mdnjax.types import Array, Float, Params, PRNGKey

# Names of parameters: the first and the last layer of an MLP, and the linear function of x that is added to all locations.
FIRST, HEAD, LINE = "hidden_0", "head", "line"
EXPERTS = "experts"  # the factor of the last inputs, if they are predictions of experts


class Network(NamedTuple):
    """Two pure functions: init(key) returns parameters, apply(params, x) returns outputs, batch-last.

    `apply` may take further arguments that are used in training only, such as a `Dropout`.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[..., Float[Array, "P *batch"]]


class Dropout(NamedTuple):
    """The share of hidden units set to 0, and the key to draw them for each example. Source: Srivastava et al. (2014)."""

    key: PRNGKey
    share: float | Float[Array, ""]


class Dense(nn.Module):
    """W x + b over the first axis, whereas flax's own layer contracts the last axis. Biases start at 0.

    The weights of each block of units are initialised Glorot-uniform, between -L and L with L^2 = 6 / (inputs + units), as if the
    block were a separate layer. A single layer of 3 K units would start with smaller weights than the three layers of K units of
    a usual mixture density network. Source: Glorot & Bengio (2010), eq. 16.
    """

    blocks: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "I *batch"]) -> Float[Array, "O *batch"]:
        dtype = jnp.result_type(float)  # float64 if x64 is enabled; Linen's default is float32 even then
        kernel = self.param("kernel", self._init_kernel, x.shape[0], dtype)
        bias = self.param("bias", nn.initializers.zeros, (sum(self.blocks),), dtype)
        # The bias is added as a product, so that its gradient is a product too: on a CPU, a sum over a long last axis takes ten
        # times as long.
        return jnp.tensordot(kernel, x, (0, 0)) + jnp.tensordot(bias[None], jnp.ones((1, *x.shape[1:]), dtype), (0, 0))

    def _init_kernel(self, init_key: PRNGKey, num_inputs: int, dtype: jnp.dtype) -> Float[Array, "I O"]:
        # One call draws all blocks, because each call takes long to compile; a shorter block has the first numbers of its draw.
        # They are the numbers of a call for each block, because a number depends only on its key and its place.
        keys = jax.random.split(init_key, len(self.blocks))
        longest = (num_inputs * max(self.blocks),)
        limits = np.sqrt(3 * np.array([2 / (num_inputs + size) for size in self.blocks], dtype))
        draws = limits[:, None] * jax.vmap(lambda key: jax.random.uniform(key, longest, dtype, -1, 1))(keys)
        sized = zip(draws, self.blocks, strict=True)
        return jnp.concatenate([draw[: num_inputs * size].reshape(num_inputs, size) for draw, size in sized], axis=1)


class MLP(nn.Module):
    """Dense layers with an activation function between them; without output blocks, those up to the last hidden layer."""

    hidden_sizes: tuple[int, ...]
    output_blocks: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[Array, "X *batch"], dropout: Dropout | None = None) -> Float[Array, "P *batch"]:
        for layer, num_units in enumerate(self.hidden_sizes):
            x = self.activation(Dense((num_units,), name=f"hidden_{layer}")(x))
            if dropout:
                mask = jax.random.bernoulli(jax.random.fold_in(dropout.key, layer), 1 - dropout.share, x.shape)
                x = jnp.where(mask, x / (1 - dropout.share), 0).astype(x.dtype)
        return Dense(self.output_blocks, name=HEAD)(x) if self.output_blocks else x


def make_mlp(num_inputs: int, output_blocks: Sequence[int], *, hidden_sizes: Sequence[int], activation: str) -> Network:
    """Returns a multilayer perceptron with outputs in contiguous blocks; `activation` is the name of a function of `jax.nn`.

    Without output blocks it returns the outputs of the last hidden layer.
    Raises: ValueError if there is no such function; later, if the network is applied to another number of inputs.
    """
    module = MLP(tuple(hidden_sizes), tuple(output_blocks), _activation(activation))

    def init(init_key: PRNGKey) -> Params:
        return cast(Params, module.init(init_key, jnp.zeros((num_inputs, 1)))["params"])

    def apply(params: Params, x: Float[Array, "X *batch"], dropout: Dropout | None = None) -> Float[Array, "P *batch"]:
        check_num_inputs(x, num_inputs)
        return module.apply({"params": params}, x, dropout)  # type: ignore[return-value]

    return Network(init, apply)


def with_expert_factor(x: Float[Array, "X *batch"], num_experts: int, factor: Any) -> Float[Array, "X *batch"]:
    """Multiplies the last inputs, which are predictions of experts, by a factor."""
    return jnp.concatenate([x[: x.shape[0] - num_experts], factor * x[x.shape[0] - num_experts :]])


def check_num_inputs(x: Float[Array, "X *batch"], num_inputs: int) -> None:
    """Raises: ValueError if a network of `num_inputs` inputs is applied to another number."""
    if x.shape[0] != num_inputs:
        raise ValueError(f"network: got {x.shape[0]} inputs, expected {num_inputs}: x is [*batch, {num_inputs}]")


def _activation(name: str) -> Callable[[Array], Array]:
    known = [name for name in dir(jax.nn) if not name.startswith("_") and callable(getattr(jax.nn, name))]
    if name not in known:
        raise ValueError(f"activation: got {name!r}, expected a function of jax.nn, such as tanh or relu{nearest(name, known)}")
    return getattr(jax.nn, name)
