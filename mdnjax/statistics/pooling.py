"""Mixtures of mixtures: an ensemble as one mixture, a big mixture as a smaller one, and components matched between mixtures."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mdnjax.batching import batch_to_front, map_examples, with_axes
from mdnjax.components import Component, Diagonal, Full, Warped
from mdnjax.mixture import Mixture, log_weights, num_targets, weights
from mdnjax.types import AnyArray, Array, Float, Int


@jax.jit
def pool(members: Mixture, weight: Float[AnyArray, " M"] | None = None) -> Mixture:
    """The mixture of M mixtures, which are the first batch axis: p(y|x) = sum_m weight_m p_m(y|x), of M K components.

    Args: weights that sum to 1; None is equal parts.
    Raises: ValueError if there is no batch axis.
    """
    if members.logits.ndim < 2:
        raise ValueError("pool: got a single mixture, expected members along the first axis (jax.tree.map(jnp.stack, ...))")
    num_members = members.logits.shape[0]
    num_batch = members.logits.ndim - 2
    log_weight = log_weights(members)
    if weight is None:
        log_weight -= jnp.log(num_members)
    else:
        log_weight += with_axes(jnp.log(jnp.asarray(weight, log_weight.dtype)), 1, num_batch + 1)

    def joined(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, 0, num_batch)
        size = moved.shape[num_batch] * moved.shape[num_batch + 1]  # no -1: the batch may be empty
        return moved.reshape(*moved.shape[:num_batch], size, *moved.shape[num_batch + 2 :])

    return Mixture(joined(log_weight), jax.tree.map(joined, members.component))


@partial(jax.jit, static_argnums=1)
def reduce(mixture: Mixture, num_components: int) -> Mixture:
    """A Gaussian mixture of fewer components with the same mean and covariance.

    The pair that costs least is merged into the Gaussian of its moments, until there are K: cost_kl = w_kl log|C_kl| - w_k
    log|C_k| - w_l log|C_l|, twice a bound of the divergence that the merge adds. Full components, for one target diagonal ones;
    on a bounded support mean and covariance on the line are kept.
    Raises: ValueError if num_components is not between 1 and K. Source: Runnalls (2007), eq. 21 and section V.
    """
    if not 1 <= num_components <= mixture.logits.shape[-1]:
        raise ValueError(f"reduce: got num_components={num_components}, expected 1 to {mixture.logits.shape[-1]}")
    transform_targets = mixture.component.component if isinstance(mixture.component, Warped) else mixture.component

    def kernel(logits: Array, component: Component) -> tuple[Array, Array, Array]:
        return jax.nn.softmax(logits, axis=0), component.marginals().moments().mean, component.covariances()

    parts = map_examples(kernel, Mixture(mixture.logits, transform_targets))
    merge = partial(_merged, num_components=num_components)
    for _ in range(mixture.logits.ndim - 1):
        merge = jax.vmap(merge)
    weight, loc, covariance = merge(*parts)
    logits = jnp.log(weight)
    if num_targets(mixture) == 1:
        component: Component = Diagonal(loc, jnp.sqrt(covariance[..., 0]))
    else:
        last = (
            jnp.moveaxis(part, range(logits.ndim - 1), range(1 - logits.ndim, 0)) if logits.ndim > 1 else part
            for part in (loc, covariance)
        )
        component = batch_to_front(Full.from_covariances(*last), logits.ndim - 1)
    if isinstance(mixture.component, Warped):
        component = Warped(component, mixture.component.support)
    return Mixture(logits, component)


def align(mixture: Mixture, reference: Mixture) -> Mixture:
    """The same mixture with its components in the order of those of the reference that they are most like.

    One order for the whole batch, so that curves over x keep their colours: the permutation of the least sum, over x, of
    sqrt(w_k v_l) times the squared Wasserstein distance of components k and l (as Gaussians without correlations).
    Raises: ValueError if the two differ in batch, components or targets.
    """
    if mixture.logits.shape != reference.logits.shape or num_targets(mixture) != num_targets(reference):
        raise ValueError(f"align: got logits {mixture.logits.shape}, expected those of the reference, {reference.logits.shape}")
    order = _order(mixture, reference)
    axis = mixture.logits.ndim - 1
    return jax.tree.map(lambda leaf: jnp.take(leaf, order, axis=axis), mixture)


@jax.jit
def _order(mixture: Mixture, reference: Mixture) -> Int[Array, " K"]:
    """For each component of the reference, the one of the mixture that takes its place."""

    def parts(mixture: Mixture) -> tuple[Array, Array, Array]:
        def kernel(_: Array, component: Component) -> tuple[Array, Array]:
            marginals = component.marginals().line()
            return marginals.loc, jnp.sqrt(marginals.moments().second)

        loc, sd = map_examples(kernel, mixture)
        flat = (-1, loc.shape[-2], loc.shape[-1])
        return weights(mixture).reshape(flat[:2]), loc.reshape(flat), sd.reshape(flat)

    (w, loc, sd), (v, loc_of, sd_of) = parts(reference), parts(mixture)
    distance = jnp.sum((loc[:, :, None] - loc_of[:, None]) ** 2 + (sd[:, :, None] - sd_of[:, None]) ** 2, axis=-1)
    cost = jnp.sum(jnp.sqrt(w[:, :, None] * v[:, None]) * distance, axis=0)
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(len(cost), rows.dtype).at[rows].set(columns)


def _merged(
    weight: Float[Array, " K"], loc: Float[Array, "K D"], covariance: Float[Array, "K D D"], num_components: int
) -> tuple[Array, Array, Array]:
    """Merges pairs of one mixture; a component that is merged away keeps weight 0 and goes behind the others."""
    start = weight.shape[0]

    def pair(k: Array, j: Array, parts: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        weight, loc, covariance = parts
        total = weight[k] + weight[j]
        a, b = (jnp.where(total > 0, weight[i] / jnp.where(total > 0, total, 1), 0.5) for i in (k, j))
        apart = loc[k] - loc[j]
        return total, a * loc[k] + b * loc[j], a * covariance[k] + b * covariance[j] + a * b * jnp.outer(apart, apart)

    def step(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
        *parts, there = state
        weight, loc, covariance = parts
        index = jnp.arange(start)
        total, _, together = jax.vmap(lambda k: jax.vmap(lambda other: pair(k, other, (weight, loc, covariance)))(index))(index)
        volume, volumes = jnp.linalg.slogdet(covariance)[1], jnp.linalg.slogdet(together)[1]
        cost = total * volumes - (weight * volume)[:, None] - weight * volume
        possible = there[:, None] & there & (index[:, None] < index)
        k, j = jnp.divmod(jnp.argmin(jnp.where(possible, cost, jnp.inf)), start)
        merged = pair(k, j, (weight, loc, covariance))
        weight, loc, covariance = (old.at[k].set(new) for old, new in zip(parts, merged, strict=True))
        return weight.at[j].set(0), loc, covariance, there.at[j].set(False)

    state = (weight, loc, covariance, jnp.ones(start, bool))
    weight, loc, covariance, there = jax.lax.fori_loop(0, start - num_components, step, state)
    kept = jnp.argsort(~there, stable=True)[:num_components]
    return weight[kept], loc[kept], covariance[kept]
