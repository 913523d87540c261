"""The mixture density network: a network whose raw outputs are the parameters of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from mdnjax.components import FAMILIES, Component, Sizes
from mdnjax.mixture import Mixture, from_batch_last
from mdnjax.networks import Network, make_mlp
from mdnjax.types import AnyArray, Array, Float, Params, PRNGKey


class Model(NamedTuple):
    """Three pure functions.

    init(init_key) gives parameters; apply(params, x[*batch, X]) gives a `Mixture` for every input; head(params, x[X, *batch])
    gives the same as the bare pair (logits[K, *batch], component), batch-last, for the losses; what is given to it beyond these
    two goes on to the network.
    """

    init: Callable[[PRNGKey], Params]
    head: Callable[..., tuple[Float[Array, "K *batch"], Component]]
    apply: Callable[[Params, Float[AnyArray, "*batch X"]], Mixture]


def make_mdn(
    num_inputs: int,
    num_targets: int,
    *,
    num_components: int,
    hidden_sizes: Sequence[int],
    activation: str = "tanh",
    family: str = "diagonal",
    rank: int = 1,
    scale_floor: float | Float[Array, ""] = 0.0,
) -> Model:
    """A mixture density network on a multilayer perceptron.

    raw = MLP(x) in contiguous blocks: logits, locations, scales and what else the family has; weights = softmax(logits),
    locations as they are, scales = scale_floor + exp(raw). `rank` is the number of factors of the family low_rank. Source:
    Bishop (1994), section 2; Bishop's scales have no floor.
    """
    blocks = (num_components, *FAMILIES[family].raw_sizes(Sizes(num_components, num_targets, rank)))
    network = make_mlp(num_inputs, blocks, hidden_sizes=hidden_sizes, activation=activation)
    return make_model(network, num_targets, num_components=num_components, family=family, rank=rank, scale_floor=scale_floor)


def make_model(
    network: Network,
    num_targets: int,
    *,
    num_components: int,
    family: str = "diagonal",
    rank: int = 1,
    scale_floor: float | Float[Array, ""] = 0.0,
) -> Model:
    """A mixture density network on any network whose outputs are logits, then the blocks `FAMILIES[family].raw_sizes(...)`."""
    sizes = Sizes(num_components, num_targets, rank)

    def head(params: Params, x: Float[Array, "X *batch"], *of_training: Any) -> tuple[Float[Array, "K *batch"], Component]:
        raw = network.apply(params, x, *of_training)
        component = FAMILIES[family].from_raw(raw[num_components:], sizes, scale_floor)
        return raw[:num_components], component

    def apply(params: Params, x: Float[AnyArray, "*batch X"]) -> Mixture:
        return from_batch_last(*head(params, jnp.moveaxis(x, -1, 0)))

    return Model(network.init, head, apply)
