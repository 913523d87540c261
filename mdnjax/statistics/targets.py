"""Mixtures of some of the targets: marginals, and conditionals given other targets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from mdnjax.batching import batch_to_end, batch_to_front, with_axes
from mdnjax.components import Component, far_responsibilities
from mdnjax.mixture import Mixture, num_targets
from mdnjax.types import AnyArray, Array, Float


def marginal(mixture: Mixture, targets: Sequence[int]) -> Mixture:
    """Returns the mixture p(y_targets|x) of some of the targets, in the given order.

    Raises: ValueError if `targets` is empty, has duplicates, or has an index that is out of range.
    """
    return _marginal(mixture, _checked("marginal", mixture, targets))


def condition(mixture: Mixture, targets: Sequence[int], y: Float[AnyArray, "*batch_y G"]) -> Mixture:
    """Returns the mixture p(y_rest | y_targets, x) of the other targets, in their order, given that `targets` are `y[..., G]`.

    The weights become the responsibilities for the given targets; for correlated targets, locations and covariances of the
    components change too. Batch axes broadcast. Where all densities underflow, the weights are as in `responsibilities`.
    Raises: ValueError if `targets` is empty or has all targets, duplicates or an index that is out of range, or if the length of
    `targets` is not the last axis of y.
    """
    given = _checked("condition", mixture, targets)
    rest = tuple(d for d in range(num_targets(mixture)) if d not in given)
    if not rest:
        raise ValueError(f"condition: got all {len(given)} targets as given, expected at least one that is not given")
    if not jnp.shape(y) or jnp.shape(y)[-1] != len(given):
        expected = f"[*batch, {len(given)}], one value for each given target"
        raise ValueError(f"condition: got y of shape {jnp.shape(y)}, expected {expected}")
    return _condition(mixture, rest, given, jnp.asarray(y))


@partial(jax.jit, static_argnums=1)
def _marginal(mixture: Mixture, targets: tuple[int, ...]) -> Mixture:
    num_batch = mixture.logits.ndim - 1
    component = jax.tree.map(lambda leaf: batch_to_end(leaf, num_batch), mixture.component)
    return Mixture(mixture.logits, batch_to_front(component.select(targets), num_batch))


@partial(jax.jit, static_argnums=(1, 2))
def _condition(mixture: Mixture, rest: tuple[int, ...], given: tuple[int, ...], y: Array) -> Mixture:
    batch = jnp.broadcast_shapes(mixture.logits.shape[:-1], y.shape[:-1])
    y = y.astype(jnp.promote_types(y.dtype, mixture.logits.dtype))
    y = jnp.broadcast_to(with_axes(y, 0, len(batch) - y.ndim + 1), (*batch, y.shape[-1]))

    def with_batch_last(leaf: Array) -> Array:
        num_event = leaf.ndim - mixture.logits.ndim + 1
        return batch_to_end(jnp.broadcast_to(leaf, (*batch, *leaf.shape[leaf.ndim - num_event :])), len(batch))

    logits, component = jax.tree.map(with_batch_last, (mixture.logits, mixture.component))
    y = batch_to_end(y, len(batch))
    conditional: Component = component.condition(rest, given, y)
    of_given = component.select(given)
    log_weight = jax.nn.log_softmax(jax.nn.log_softmax(logits, axis=0) + of_given.log_probs(y), axis=0)

    def with_limits() -> Array:
        return jnp.where(jnp.isnan(log_weight), jnp.log(far_responsibilities(logits, of_given, y)), log_weight)

    log_weight = jax.lax.cond(jnp.any(jnp.isnan(log_weight)), with_limits, lambda: log_weight)
    return batch_to_front(Mixture(log_weight, conditional), len(batch))


def _checked(name: str, mixture: Mixture, targets: Sequence[int]) -> tuple[int, ...]:
    num = num_targets(mixture)
    if not targets or len(set(targets)) < len(targets) or not all(0 <= d < num for d in targets):
        expected = f"one or more different indices from 0 to {num - 1}"
        raise ValueError(f"{name}: got targets {list(targets)}, expected {expected}")
    return tuple(targets)


def marginals(mixture: Mixture) -> list[Mixture]:
    """Returns the marginal mixture of each target."""
    num = num_targets(mixture)
    return [marginal(mixture, [target]) for target in range(num)] if num > 1 else [mixture]
