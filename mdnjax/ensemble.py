"""The trained networks of an ensemble and the mixture that they predict: arrays only, in the units of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdnjax.cells import log_cell, log_prob_or_cell
from mdnjax.config import schema
from mdnjax.config.numbers import join
from mdnjax.data.scaler import TargetTransform, transform_targets
from mdnjax.least_squares import LeastSquares, with_least_squares
from mdnjax.mixture import Mixture, log_prob
from mdnjax.model import make_mdn
from mdnjax.networks import EXPERTS
from mdnjax.statistics import pool
from mdnjax.trees import Trees, empty_trees, predictions
from mdnjax.types import AnyArray, Array, Bool, Float, Int, Params

# For that many rows a CPU computes one network after the other, whose units fit in its cache: that takes half the time.
MIN_ROWS_IN_TURN = 2048
MIN_WEIGHT_SHARE = 0.01  # networks with less than this share of an equal weight are dropped


class Networks(NamedTuple):
    """Parameters of M networks, stacked along the first axis; a population may add axes in front.

    `weight` is the weight of each network in the mixture (None: equal), `scale_floor` its scale floor (None: that of the model),
    and `scale_factor` multiplies all its scales (None: 1).
    `trees` are those of the experts, whose predictions are further inputs of all networks; None without experts.
    `least_squares` takes its own weights of the mixture, and the networks share what it leaves; None without it.
    """

    params: Params
    weight: Float[AnyArray, "*members M"] | None = None
    scale_floor: Float[AnyArray, "*members M"] | None = None
    trees: dict[str, Trees] | None = None
    least_squares: LeastSquares | None = None
    scale_factor: Float[AnyArray, "*members M"] | None = None


def mixture_of(
    shape: schema.Model, numbers: dict[str, Any], networks: Networks, z: Float[AnyArray, "*batch X"], num_targets: int
) -> Mixture:
    """Returns the mixture over scaled targets at scaled inputs; `split` gives shape and numbers of a model configuration."""
    num_inputs, own_inputs = z.shape[-1], z
    if networks.trees is not None:
        z = jnp.concatenate([jnp.asarray(z), _of_experts(networks.params, networks.trees, z)], axis=-1)

    def apply(params: Params, scale_floor: Any, scale_factor: Any) -> Mixture:
        changed = numbers if scale_floor is None else {**numbers, "scale_floor": scale_floor}
        mixture = make_mdn(num_inputs, num_targets, **dict(join(shape, changed))).apply(params, z)
        return mixture if scale_factor is None else Mixture(mixture.logits, mixture.component.stretch(scale_factor))

    members = networks.params, networks.scale_floor, networks.scale_factor
    if num_networks(networks) == 1:
        mixture = apply(*jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], members))
    else:
        if math.prod(z.shape[:-1]) < MIN_ROWS_IN_TURN:
            mixtures = jax.vmap(apply)(*members)
        else:
            mixtures = jax.lax.platform_dependent(
                members,
                cpu=lambda members: jax.lax.map(lambda member: apply(*member), members),
                default=lambda members: jax.vmap(apply)(*members),
            )
        mixture = pool(mixtures, networks.weight)
    return mixture if networks.least_squares is None else with_least_squares(mixture, networks.least_squares, own_inputs)


def _of_experts(params: Params, trees: dict[str, Trees], z: Float[AnyArray, "*batch X"]) -> Float[Array, "*batch I"]:
    """Returns the predictions of the experts; zeros, without evaluating the trees, if no network of the ensemble uses them."""
    like = jax.eval_shape(predictions, trees, z)
    is_used = jnp.any(params[EXPERTS]["factor"] != 0)
    return jax.lax.cond(is_used, lambda: predictions(trees, z), lambda: jnp.zeros(like.shape, like.dtype))


def nlls_of(
    shape: schema.Model,
    numbers: dict[str, Any],
    networks: Networks,
    z: Float[AnyArray, "N X"],
    targets: Float[AnyArray, "N D"],
    cells: Float[AnyArray, "N 2 D"] | None = None,
    exact: Bool[AnyArray, "N D"] | None = None,
) -> Float[Array, " N"]:
    """Computes the NLL of every scaled example, in nats; the caller compiles it, alone or mapped over a population.

    For targets with cells it is that of their cells.
    """
    mixture = mixture_of(shape, numbers, networks, z, targets.shape[-1])
    if cells is not None and exact is not None:
        return -log_prob_or_cell(mixture, targets, cells, exact)
    return -log_prob(mixture, targets) if cells is None else -log_cell(mixture, cells[:, 0], cells[:, 1])


@partial(jax.jit, static_argnums=0)
def predict_compiled(
    shape: schema.Model, numbers: dict[str, Any], networks: Networks, transform: TargetTransform, z: AnyArray
) -> Mixture:
    """Returns the mixture in the units of a transform of targets; the caller has checked and scaled the inputs."""
    return transform_targets(transform, mixture_of(shape, numbers, networks, z, len(transform.mean)))


compiled_nlls = jax.jit(nlls_of, static_argnums=0)


def select_networks(networks: Networks, chosen: Sequence[int] | np.ndarray) -> Networks:
    """Returns the ensemble of some of the networks, with their weights normalised."""
    own = (networks.params, networks.weight, networks.scale_floor, networks.scale_factor)
    params, weight, floor, factor = jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(chosen)], own)
    weight = None if weight is None else weight / weight.sum()
    return networks._replace(params=params, weight=weight, scale_floor=floor, scale_factor=factor)


def floors_of(networks: Networks, scale_floor: float) -> Float[np.ndarray, " M"]:
    """Returns the smallest scale that the components of each network can have; `scale_floor` is that of the model."""
    floor = np.full(num_networks(networks), scale_floor) if networks.scale_floor is None else np.asarray(networks.scale_floor)
    return floor if networks.scale_factor is None else floor * np.asarray(networks.scale_factor)


def without_unused(networks: Networks) -> Networks:
    """Returns the ensemble without networks of negligible weight, and without least squares if its weight is negligible."""
    if networks.least_squares is not None and np.sum(networks.least_squares.weight) < MIN_WEIGHT_SHARE:
        networks = networks._replace(least_squares=None)
    return networks if networks.weight is None else select_networks(networks, used_networks(networks.weight))


def used_networks(weight: Float[AnyArray, " M"]) -> Int[np.ndarray, " used"]:
    """Returns the places of the networks whose weight is not negligible."""
    return np.flatnonzero(np.asarray(weight) >= MIN_WEIGHT_SHARE / len(np.asarray(weight)))


def num_networks(networks: Networks) -> int:
    """Returns the number of networks in an ensemble."""
    return jax.tree.leaves(networks.params)[0].shape[0]


def params_like(model: schema.Model, num_inputs: int, num_targets: int, num_members: int) -> Params:
    """Returns the shapes and dtypes of an ensemble's parameters."""
    single = jax.eval_shape(make_mdn(num_inputs, num_targets, **dict(model)).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype), single)


def untrained(model: schema.Model, num_inputs: int, num_targets: int, num_members: int = 1) -> Networks:
    """Returns networks with the shapes of trained ones, whose parameters are all 0."""
    like = params_like(model, num_inputs, num_targets, num_members)
    zeros: Any = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    return Networks(zeros, trees=empty_trees(model.experts, num_targets) or None)
