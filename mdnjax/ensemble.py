"""The trained networks of an ensemble, and the one mixture that they give: arrays only, in the units of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax.config import schema
from mdnjax.config.numbers import join
from mdnjax.mixture import Mixture, log_prob
from mdnjax.model import make_mdn
from mdnjax.statistics import pool
from mdnjax.types import AnyArray, Array, Float, Params

MIN_WEIGHT_SHARE = 0.01  # of an equal part, below which a network is left out


class Networks(NamedTuple):
    """Parameters of M networks, their first axis; `weight` are their parts of the mixture (None: equal), `scale_floor` their own
    floors (None: that of the model). Members of a population may come in front of all of them."""

    params: Params
    weight: Float[AnyArray, "*members M"] | None = None
    scale_floor: Float[AnyArray, "*members M"] | None = None


def mixture_of(
    shape: schema.Model, numbers: dict[str, Any], networks: Networks, z: Float[AnyArray, "*batch X"], num_targets: int
) -> Mixture:
    """The mixture over scaled targets at scaled inputs, for the shape and the numbers of a model's section."""

    def apply(params: Params, scale_floor: Any) -> Mixture:
        own = numbers if scale_floor is None else {**numbers, "scale_floor": scale_floor}
        return make_mdn(z.shape[-1], num_targets, **dict(join(shape, own))).apply(params, z)

    if num_networks(networks) == 1:
        return apply(*jax.tree.map(lambda leaf: leaf[0], (networks.params, networks.scale_floor)))
    return pool(jax.vmap(apply)(networks.params, networks.scale_floor), networks.weight)


def nlls_of(
    shape: schema.Model,
    numbers: dict[str, Any],
    networks: Networks,
    z: Float[AnyArray, "N X"],
    targets: Float[AnyArray, "N D"],
) -> Float[Array, " N"]:
    """NLL of every scaled example, in nats: to be compiled alone, or spread over a population."""
    return -log_prob(mixture_of(shape, numbers, networks, z, targets.shape[-1]), targets)


def select_networks(networks: Networks, chosen: Sequence[int] | np.ndarray) -> Networks:
    """An ensemble of some of the networks, their weights in the same proportion."""
    params, weight, floor = jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(chosen)], tuple(networks))
    return Networks(params, None if weight is None else weight / weight.sum(), floor)


def without_unused(networks: Networks) -> Networks:
    """The same ensemble without networks whose part is nothing."""
    if networks.weight is None:
        return networks
    return select_networks(networks, np.flatnonzero(np.asarray(networks.weight) >= MIN_WEIGHT_SHARE / num_networks(networks)))


def num_networks(networks: Networks) -> int:
    """Networks of an ensemble."""
    return jax.tree.leaves(networks.params)[0].shape[0]


def params_like(model: schema.Model, num_inputs: int, num_targets: int, num_members: int) -> Params:
    """Shapes and dtypes of an ensemble's parameters."""
    one = jax.eval_shape(make_mdn(num_inputs, num_targets, **dict(model)).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype), one)


def untrained(model: schema.Model, num_inputs: int, num_targets: int, num_members: int = 1) -> Networks:
    """Networks whose parameters are all 0: what has the shapes of trained ones, before there are any."""
    like = params_like(model, num_inputs, num_targets, num_members)
    return Networks(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like))
