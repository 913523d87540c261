"""The mixture density network: a network whose raw outputs are the parameters of a mixture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from mdnjax.components import FAMILIES, Component, Family, Sizes
from mdnjax.components.location_scale import blocks
from mdnjax.config.nearest import nearest
from mdnjax.embedding import EMBEDDING, Embedding, check_kind, embed, init_embedding, num_embedded
from mdnjax.mixture import Mixture, from_batch_last
from mdnjax.networks import EXPERTS, HEAD, LINE, Network, check_num_inputs, make_mlp, with_expert_factor
from mdnjax.types import AnyArray, Array, Float, Params, PRNGKey

NAMES_OF_GAUSSIANS = ("gaussian", "gauss", "normal")  # in other libraries


class Model(NamedTuple):
    """Three pure functions.

    init(init_key) returns parameters; apply(params, x[*batch, X]) returns the `Mixture` for every input. For the losses,
    head(params, x[X, *batch]) returns the same as a pair (logits[K, *batch], component), batch-last; further arguments of `head`
    are passed to the network.
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
    embedding: str = "none",
    embedding_size: int = 16,
    experts: Sequence[str] = (),
) -> Model:
    """Returns a mixture density network that is a multilayer perceptron.

    raw = MLP(x) in contiguous blocks: logits, locations, scales and further parameters of the family; weights = softmax(logits),
    locations = raw, scales = scale_floor + exp(raw). `rank` is the number of factors of the family low_rank. With `line` a linear
    function of x is added to all locations; it starts at 0, initialisation at the data fits it, and training does not change it.
    With an `embedding` (see `mdnjax.embedding`) the perceptron takes x and `embedding_size` bins or frequencies of each input.
    With `experts` x holds, after its `num_inputs` inputs, a prediction of each expert for each target (see `mdnjax.trees`).
    Raises: ValueError if the family or the activation is unknown; later, if the model is applied to another number of inputs.
    Source: Bishop (1994), section 2; Bishop's scales have no floor.
    """
    output_blocks = _output_blocks(family, Sizes(num_components, num_targets, rank))
    num_experts = len(experts) * num_targets
    num_inputs += num_experts
    network = _embedded_mlp(num_inputs, output_blocks, Embedding(embedding, embedding_size), hidden_sizes, activation)
    model = make_model(network, num_targets, num_components=num_components, family=family, rank=rank, scale_floor=scale_floor)
    model = _with_linear_function(model, num_inputs, num_targets) if line else model
    return _with_experts(model, num_experts) if experts else model


def make_last_layer(
    num_inputs: int, num_experts: int, embedding: Embedding, *, hidden_sizes: Sequence[int], activation: str
) -> Callable[[Params, Float[Array, "X *batch"]], Float[Array, "O *batch"]]:
    """Returns the function of the parameters of `make_mdn` and its inputs that gives the outputs of the last hidden layer.

    The predictions of experts are 0 in it, the mean of the targets. Without hidden layers it gives the embedded inputs.
    """
    network = _embedded_mlp(num_inputs + num_experts, (), embedding, hidden_sizes, activation)

    def apply(params: Params, x: Float[Array, "X *batch"]) -> Float[Array, "O *batch"]:
        return network.apply(params, jnp.concatenate([x, jnp.zeros((num_experts, *x.shape[1:]), x.dtype)]))

    return apply


def make_model(
    network: Network,
    num_targets: int,
    *,
    num_components: int,
    family: str = "diagonal",
    rank: int = 1,
    scale_floor: float | Float[Array, ""] = 0.0,
) -> Model:
    """Returns a mixture density network from a network with outputs logits, then the blocks `FAMILIES[family].raw_sizes(...)`."""
    sizes, make_components = Sizes(num_components, num_targets, rank), _family(family).from_raw

    def head(params: Params, x: Float[Array, "X *batch"], *training_args: Any) -> tuple[Float[Array, "K *batch"], Component]:
        raw = network.apply(params, x, *training_args)
        logits, raw_component = blocks(raw, (num_components,), (raw.shape[0] - num_components,))
        return logits, make_components(raw_component, sizes, scale_floor)

    return _model_from_head(network.init, head)


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
    """Returns a mixture density network with any trunk, given as two pure functions; a linear head is added.

    init(key) returns the trunk's parameters, any pytree of arrays; apply(params, x[N, X]) returns features `[N, num_features]`,
    batch-first. The parameters of the model are {"trunk": ..., "head": ...}; its batch may have any number of axes.
    Raises: ValueError, when the model is applied, if the trunk returns features of another shape.
    """
    output_blocks = _output_blocks(family, Sizes(num_components, num_targets, rank))
    head = make_mlp(num_features, output_blocks, hidden_sizes=(), activation="tanh")  # no hidden layer, so no activation

    def init_both(init_key: PRNGKey) -> Params:
        return {
            "trunk": init(jax.random.fold_in(init_key, 0)),
            **cast(dict[str, Any], head.init(jax.random.fold_in(init_key, 1))),
        }

    def apply_both(params: Any, x: Float[Array, "X *batch"], *training_args: Any) -> Float[Array, "P *batch"]:
        batch = x.shape[1:]
        features = jnp.asarray(apply(params["trunk"], x.reshape(x.shape[0], -1).T, *training_args))
        if features.shape != (math.prod(batch), num_features):
            expected = f"[{math.prod(batch)}, {num_features}], num_features for each example"
            raise ValueError(f"make_mdn_on: got features of shape {features.shape} from the trunk, expected {expected}")
        raw = head.apply({HEAD: params[HEAD]}, features.T)
        return raw.reshape(-1, *batch)

    network = Network(init_both, apply_both)
    return make_model(network, num_targets, num_components=num_components, family=family, rank=rank, scale_floor=scale_floor)


def _embedded_mlp(
    num_inputs: int, output_blocks: Sequence[int], embedding: Embedding, hidden_sizes: Sequence[int], activation: str
) -> Network:
    """Returns a multilayer perceptron of the inputs and their embeddings; its parameters contain those of the embedding."""
    check_kind(embedding.kind)
    num_embedded_inputs = num_embedded(embedding, num_inputs)
    network = make_mlp(num_embedded_inputs, output_blocks, hidden_sizes=hidden_sizes, activation=activation)
    if embedding.kind == "none":
        return network

    def init(init_key: PRNGKey) -> Params:
        return {**network.init(init_key), **init_embedding(jax.random.fold_in(init_key, 1), embedding, num_inputs)}

    def apply(params: Params, x: Float[Array, "X *batch"], *training_args: Any) -> Float[Array, "P *batch"]:
        check_num_inputs(x, num_inputs)
        layers = {name: value for name, value in params.items() if name != EMBEDDING}
        return network.apply(layers, embed(params, x), *training_args)

    return Network(init, apply)


def _output_blocks(family: str, sizes: Sizes) -> tuple[int, ...]:
    """Returns the sizes of the blocks of network outputs: logits, then the parameters of the family."""
    return (sizes.num_components, *_family(family).raw_sizes(sizes))


def _family(name: str) -> type[Family]:
    if name not in FAMILIES:
        hint = "; did you mean 'diagonal'?" if name in NAMES_OF_GAUSSIANS else nearest(name, list(FAMILIES))
        raise ValueError(f"family: got {name!r}, expected one of {', '.join(FAMILIES)}{hint}")
    return FAMILIES[name]


def _with_linear_function(model: Model, num_inputs: int, num_targets: int) -> Model:
    def init(init_key: PRNGKey) -> Params:
        # The slopes have one axis, as biases have, so that weight decay, which is for kernels, does not apply to them.
        return {**model.init(init_key), LINE: jnp.zeros(num_inputs * num_targets, jnp.result_type(float))}

    def head(params: Params, x: Float[Array, "X *batch"], *training_args: Any) -> tuple[Float[Array, "K *batch"], Component]:
        logits, component = model.head(params, x, *training_args)
        slopes = jax.lax.stop_gradient(params[LINE]).reshape(num_inputs, num_targets)
        on_line = cast(Family, component)  # a network's components are on the real line
        return logits, on_line._replace(loc=on_line.loc + jnp.tensordot(slopes, x, (0, 0)))

    return _model_from_head(init, head)


def _with_experts(model: Model, num_experts: int) -> Model:
    """Returns a model whose last inputs are predictions of experts, which a factor multiplies that training does not change."""

    def init(init_key: PRNGKey) -> Params:
        return {**model.init(init_key), EXPERTS: {"factor": jnp.ones((), jnp.result_type(float))}}

    def head(params: Params, x: Float[Array, "X *batch"], *training_args: Any) -> tuple[Float[Array, "K *batch"], Component]:
        factor = jax.lax.stop_gradient(params[EXPERTS]["factor"])
        layers = {name: value for name, value in params.items() if name != EXPERTS}
        return model.head(layers, with_expert_factor(x, num_experts, factor), *training_args)

    return _model_from_head(init, head)


def _model_from_head(init: Callable[[PRNGKey], Params], head: Callable[..., tuple[Array, Component]]) -> Model:
    def apply(params: Params, x: Float[AnyArray, "*batch X"]) -> Mixture:
        if not jnp.ndim(x):
            raise ValueError("x: got a number, expected [*batch, X]: the last axis are the inputs")
        return from_batch_last(*head(params, jnp.moveaxis(x, -1, 0)))

    return Model(init, head, apply)
