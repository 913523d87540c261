"""The mixture density network: a network whose raw outputs are the parameters of a mixture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from mdnjax.components import FAMILIES, Component, Family, Sizes
from mdnjax.components.location_scale import blocks
from mdnjax.mixture import Mixture, from_batch_last
from mdnjax.networks import HEAD, LINE, Network, make_mlp
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
    line: bool = False,
) -> Model:
    """A mixture density network on a multilayer perceptron.

    raw = MLP(x) in contiguous blocks: logits, locations, scales and what else the family has; weights = softmax(logits),
    locations as they are, scales = scale_floor + exp(raw). `rank` is the number of factors of the family low_rank. With
    `line` a linear function of x, which a start at the data fits and training leaves alone, is added to all locations. Source:
    Bishop (1994), section 2; Bishop's scales have no floor.
    """
    blocks = _blocks(family, Sizes(num_components, num_targets, rank))
    network = make_mlp(num_inputs, blocks, hidden_sizes=hidden_sizes, activation=activation)
    model = make_model(network, num_targets, num_components=num_components, family=family, rank=rank, scale_floor=scale_floor)
    return _with_line(model, num_inputs, num_targets) if line else model


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
        logits, rest = blocks(raw, (num_components,), (raw.shape[0] - num_components,))
        return logits, FAMILIES[family].from_raw(rest, sizes, scale_floor)

    return _of_head(network.init, head)


def make_mdn_on(
    init: Callable[[PRNGKey], Any],
    apply: Callable[..., AnyArray],
    num_features: int,
    num_targets: int,
    *,
    num_components: int,
    family: str = "diagonal",
    rank: int = 1,
    scale_floor: float | Float[Array, ""] = 0.0,
) -> Model:
    """A mixture density network on any trunk, a pair of pure functions as people write them, with a linear head of our own.

    init(key) gives the trunk's parameters, any pytree of arrays; apply(params, x[N, X]) gives features `[N, num_features]`,
    batch-first. The model's parameters are {"trunk": ..., "head": ...}; its batch may have any number of axes.
    Raises: ValueError if the trunk gives features of another shape.
    """
    blocks = _blocks(family, Sizes(num_components, num_targets, rank))
    head = make_mlp(num_features, blocks, hidden_sizes=(), activation="tanh")  # no layer to be activated

    def init_both(init_key: PRNGKey) -> Params:
        return {
            "trunk": init(jax.random.fold_in(init_key, 0)),
            **cast(dict[str, Any], head.init(jax.random.fold_in(init_key, 1))),
        }

    def apply_both(params: Any, x: Float[Array, "X *batch"], *of_training: Any) -> Float[Array, "P *batch"]:
        batch = x.shape[1:]
        features = jnp.asarray(apply(params["trunk"], x.reshape(x.shape[0], -1).T, *of_training))
        if features.shape != (math.prod(batch), num_features):
            expected = f"[{math.prod(batch)}, {num_features}], a row of num_features for each example"
            raise ValueError(f"make_mdn_on: got features of shape {features.shape} from the trunk, expected {expected}")
        raw = head.apply({HEAD: params[HEAD]}, features.T)
        return raw.reshape(-1, *batch)

    network = Network(init_both, apply_both)
    return make_model(network, num_targets, num_components=num_components, family=family, rank=rank, scale_floor=scale_floor)


def _blocks(family: str, sizes: Sizes) -> tuple[int, ...]:
    return (sizes.num_components, *FAMILIES[family].raw_sizes(sizes))


def _with_line(model: Model, num_inputs: int, num_targets: int) -> Model:
    def init(init_key: PRNGKey) -> Params:
        # one axis, as biases have: weight decay is for kernels
        return {**model.init(init_key), LINE: jnp.zeros(num_inputs * num_targets, jnp.result_type(float))}

    def head(params: Params, x: Float[Array, "X *batch"], *of_training: Any) -> tuple[Float[Array, "K *batch"], Component]:
        logits, component = model.head(params, x, *of_training)
        slopes = jax.lax.stop_gradient(params[LINE]).reshape(num_inputs, num_targets)
        bare = cast(Family, component)  # nothing is warped inside a network
        return logits, bare._replace(loc=bare.loc + jnp.tensordot(slopes, x, (0, 0)))

    return _of_head(init, head)


def _of_head(init: Callable[[PRNGKey], Params], head: Callable[..., tuple[Array, Component]]) -> Model:
    def apply(params: Params, x: Float[AnyArray, "*batch X"]) -> Mixture:
        return from_batch_last(*head(params, jnp.moveaxis(x, -1, 0)))

    return Model(init, head, apply)
