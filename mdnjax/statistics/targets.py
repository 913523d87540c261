"""Mixtures over some of the targets: marginals, and conditionals given the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from mdnjax.batching import batch_to_end, batch_to_front, with_axes
from mdnjax.components import Component
from mdnjax.mixture import Mixture, num_targets
from mdnjax.types import AnyArray, Array, Float


def marginal(mixture: Mixture, targets: Sequence[int]) -> Mixture:
    """The mixture of some of the targets, in the order given, whatever the others are: p(y_t|x).

    Raises: ValueError for a target that is not there, is named twice, or if none is named.
    """
    return _marginal(mixture, _checked("marginal", mixture, targets))


def condition(mixture: Mixture, targets: Sequence[int], y: Float[AnyArray, "*batch_y G"]) -> Mixture:
    """The mixture of the other targets, in their order, where the targets named are `y[..., G]`: p(y_rest | y_targets, x).

    Weights become the responsibilities for the given targets; components of full covariance move and shrink too. Batch axes
    broadcast.
    Raises: ValueError for a target that is not there or named twice, if none or all are named, or if y has another number of
    them.
    """
    given = _checked("condition", mixture, targets)
    rest = tuple(d for d in range(num_targets(mixture)) if d not in given)
    if not rest:
        raise ValueError("condition: got all targets, expected some to be left")
    if not jnp.shape(y) or jnp.shape(y)[-1] != len(given):
        raise ValueError(f"condition: got y of shape {jnp.shape(y)}, expected [*batch, {len(given)}], one for each target given")
    return _condition(mixture, rest, given, jnp.asarray(y))


@partial(jax.jit, static_argnums=1)
def _marginal(mixture: Mixture, targets: tuple[int, ...]) -> Mixture:
    num_batch = mixture.logits.ndim - 1
    component = jax.tree.map(lambda leaf: batch_to_end(leaf, num_batch), mixture.component)
    return Mixture(mixture.logits, batch_to_front(component.select(targets), num_batch))


@partial(jax.jit, static_argnums=(1, 2))
def _condition(mixture: Mixture, rest: tuple[int, ...], given: tuple[int, ...], y: Array) -> Mixture:
    batch = jnp.broadcast_shapes(mixture.logits.shape[:-1], y.shape[:-1])
    whole = jnp.broadcast_to(with_axes(y, 0, len(batch) - y.ndim + 1), (*batch, y.shape[-1]))

    def full(leaf: Array) -> Array:
        num_event = leaf.ndim - mixture.logits.ndim + 1
        return batch_to_end(jnp.broadcast_to(leaf, (*batch, *leaf.shape[leaf.ndim - num_event :])), len(batch))

    logits, component = jax.tree.map(full, (mixture.logits, mixture.component))
    last = batch_to_end(whole, len(batch))
    conditional: Component = component.condition(rest, given, last)
    weighted = jax.nn.log_softmax(logits, axis=0) + component.select(given).log_probs(last)
    return batch_to_front(Mixture(jax.nn.log_softmax(weighted, axis=0), conditional), len(batch))


def _checked(name: str, mixture: Mixture, targets: Sequence[int]) -> tuple[int, ...]:
    number = num_targets(mixture)
    if not targets or len(set(targets)) < len(targets) or not all(0 <= d < number for d in targets):
        raise ValueError(f"{name}: got targets {list(targets)}, expected different ones of 0 to {number - 1}")
    return tuple(targets)
