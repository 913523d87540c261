"""Pooling an ensemble into one mixture, reducing the number of components, and matching components between mixtures."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mdnjax.batching import batch_to_end, batch_to_front, check_mixture, map_examples, with_axes
from mdnjax.components import Component, Diagonal, Full, Warped
from mdnjax.mixture import Mixture, log_weights, num_targets, weights
from mdnjax.statistics.line import unwarped
from mdnjax.statistics.moments import mean_of
from mdnjax.types import AnyArray, Array, Float, Int


@jax.jit
def pool(members: Mixture, weight: Float[AnyArray, " M"] | None = None) -> Mixture:
    """Returns the mixture p(y|x) = sum_m weight_m p_m(y|x) of M K components; the M members are the first batch axis.

    The weights of the members sum to 1; None gives equal weights.
    Raises: ValueError if there is no batch axis.
    """
    check_mixture(members)
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
        size = moved.shape[num_batch] * moved.shape[num_batch + 1]  # -1 would fail for an empty batch
        return moved.reshape(*moved.shape[:num_batch], size, *moved.shape[num_batch + 2 :])

    return Mixture(joined(log_weight), jax.tree.map(joined, members.component))


@partial(jax.jit, static_argnums=1)
def reduce(mixture: Mixture, num_components: int) -> Mixture:
    """Returns a Gaussian mixture of fewer components with the same mean and covariance.

    The pair of least cost is merged into the Gaussian of its moments until `num_components` are left: cost_kl = w_kl log|C_kl| -
    w_k log|C_k| - w_l log|C_l|, twice a bound of the divergence that the merge adds. The result has `Full` components, or
    `Diagonal` ones for a single target. On a bounded support, mean and covariance are those on the real line.
    Raises: ValueError if num_components is not between 1 and K. Source: Runnalls (2007), eq. 21 and section V.
    """
    if not 1 <= num_components <= mixture.logits.shape[-1]:
        raise ValueError(f"reduce: got num_components={num_components}, expected 1 to {mixture.logits.shape[-1]}")

    def kernel(logits: Array, component: Component) -> tuple[Array, Array, Array, Array]:
        weight, means = jax.nn.softmax(logits, axis=0), component.marginals().moments().mean
        origin = jax.lax.stop_gradient(mean_of(weight[:, None], means))  # locations relative to it have all digits
        return origin, weight, means - origin, component.covariances()

    origin, *parts = map_examples(kernel, Mixture(mixture.logits, unwarped(mixture.component)))
    merge = partial(_merged, num_components=num_components)
    for _ in range(mixture.logits.ndim - 1):
        merge = jax.vmap(merge)
    weight, loc, covariance = merge(*parts)
    logits, loc = jnp.log(weight), loc + origin[..., None, :]
    if num_targets(mixture) == 1:
        component: Component = Diagonal(loc, jnp.sqrt(covariance[..., 0]))
    else:
        batch_last = (batch_to_end(part, logits.ndim - 1) for part in (loc, covariance))
        component = batch_to_front(Full.from_covariances(*batch_last), logits.ndim - 1)
    if isinstance(mixture.component, Warped):
        component = Warped(component, mixture.component.support)
    return Mixture(logits, component)


def align(mixture: Mixture, reference: Mixture) -> Mixture:
    """Returns the mixture with its components reordered to match those of the reference.

    All x have the same order, so that a component has one colour along a curve over x. The permutation minimises the sum, over x
    and pairs (k, l), of sqrt(w_k v_l) times the squared Wasserstein distance of components k and l as uncorrelated Gaussians.
    Raises: ValueError if the two differ in batch, components or targets.
    """
    if mixture.logits.shape != reference.logits.shape or num_targets(mixture) != num_targets(reference):
        raise ValueError(f"align: got logits {mixture.logits.shape}, expected those of the reference, {reference.logits.shape}")
    order = _order(mixture, reference)
    axis = mixture.logits.ndim - 1
    return jax.tree.map(lambda leaf: jnp.take(leaf, order, axis=axis), mixture)


@jax.jit
def _order(mixture: Mixture, reference: Mixture) -> Int[Array, " K"]:
    """Returns, for each component of the reference, the index of the matching component of the mixture."""

    def parts(mixture: Mixture) -> tuple[Array, Array, Array]:
        def kernel(_: Array, component: Component) -> tuple[Array, Array]:
            on_line = component.marginals().line()
            return on_line.loc, jnp.sqrt(on_line.moments().second)

        loc, sd = map_examples(kernel, mixture)
        flat = (-1, loc.shape[-2], loc.shape[-1])
        return weights(mixture).reshape(flat[:2]), loc.reshape(flat), sd.reshape(flat)

    (w, loc, sd), (v, other_loc, other_sd) = parts(reference), parts(mixture)
    distance = jnp.sum((loc[:, :, None] - other_loc[:, None]) ** 2 + (sd[:, :, None] - other_sd[:, None]) ** 2, axis=-1)
    cost = jnp.sum(jnp.sqrt(w[:, :, None] * v[:, None]) * distance, axis=0)
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(len(cost), rows.dtype).at[rows].set(columns)


def _merged(
    weight: Float[Array, " K"], loc: Float[Array, "K D"], covariance: Float[Array, "K D D"], num_components: int
) -> tuple[Array, Array, Array]:
    """Merges pairs of components of one mixture until `num_components` are left."""
    num_before = weight.shape[0]

    def merged_pair(k: Array, j: Array, parts: list[Array]) -> tuple[Array, Array, Array]:
        weight, loc, covariance = parts
        total = weight[k] + weight[j]
        a, b = (jnp.where(total > 0, weight[i] / jnp.where(total > 0, total, 1), 0.5) for i in (k, j))
        difference = loc[k] - loc[j]
        spread = a * b * jnp.outer(difference, difference)
        return total, a * loc[k] + b * loc[j], a * covariance[k] + b * covariance[j] + spread

    def step(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
        *parts, remaining = state
        weight, _, covariance = parts
        index = jnp.arange(num_before)
        total, _, pair_covariance = jax.vmap(lambda k: jax.vmap(lambda j: merged_pair(k, j, parts))(index))(index)
        log_det, pair_log_det = jnp.linalg.slogdet(covariance)[1], jnp.linalg.slogdet(pair_covariance)[1]
        cost = total * pair_log_det - (weight * log_det)[:, None] - weight * log_det
        possible = remaining[:, None] & remaining & (index[:, None] < index)
        k, j = jnp.divmod(jnp.argmin(jnp.where(possible, cost, jnp.inf)), num_before)
        merged = merged_pair(k, j, parts)
        weight, loc, covariance = (old.at[k].set(new) for old, new in zip(parts, merged, strict=True))
        return weight.at[j].set(0), loc, covariance, remaining.at[j].set(False)

    state = (weight, loc, covariance, jnp.ones(num_before, bool))
    weight, loc, covariance, remaining = jax.lax.fori_loop(0, num_before - num_components, step, state)
    selected = jnp.argsort(~remaining, stable=True)[:num_components]
    return weight[selected], loc[selected], covariance[selected]
