"""The one value that flows: a mixture p(y|x), and what can be asked of it.

Every function here takes and gives batch-first arrays. Inside, the batch axes are moved to the end once, because the kernels
of the components then run over long contiguous rows. All are compiled at their first call for a shape, and differentiable.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from mdnjax.components import Component
from mdnjax.types import AnyArray, Array, Float, PRNGKey


class Mixture(NamedTuple):
    """p(y|x) = sum_k w_k p_k(y), w = softmax(logits): `logits[*batch, K]` and the record of one component family."""

    logits: Float[Array, "*batch K"]
    component: Component


@jax.jit
def log_weights(mixture: Mixture) -> Float[Array, "*batch K"]:
    """Logarithms of the mixing weights, log softmax(logits)."""
    return jax.nn.log_softmax(mixture.logits, axis=-1)


@jax.jit
def weights(mixture: Mixture) -> Float[Array, "*batch K"]:
    """Mixing weights, softmax(logits)."""
    return jax.nn.softmax(mixture.logits, axis=-1)


@jax.jit
def log_prob(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """log p(y|x), in nats and in the units of y; the batch axes of mixture and y broadcast.

    log p = logsumexp_k(log w_k + log p_k(y)). Source: Bishop (1994), eq. 22 and 29.
    Raises: ValueError if y has another number of targets than the mixture.
    """
    mixture, y = _aligned(mixture, y)
    return mixture_log_prob(*_batch_last(mixture), _batch_last_array(y, 1))


@jax.jit
def responsibilities(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast K"]:
    """Posterior probability of each component given y, r_k = w_k p_k(y) / p(y). Source: Bishop (1994), eq. 33."""
    mixture, y = _aligned(mixture, y)
    logits, component = _batch_last(mixture)
    return jnp.moveaxis(mixture_responsibilities(logits, component, _batch_last_array(y, 1)), 0, -1)


@jax.jit
def cdf(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """P(Y <= y|x) = sum_k w_k F_k(y), for a single target.

    Raises: ValueError if there is more than one target.
    """
    mixture, y = _aligned(mixture, y)
    if y.shape[-1] != 1:
        raise ValueError(f"cdf: got {y.shape[-1]} targets, expected 1")
    logits, component = _batch_last(mixture)
    return jnp.sum(jax.nn.softmax(logits, axis=0) * component.cdfs(_batch_last_array(y, 1))[:, 0], axis=0)


@jax.jit
def mean(mixture: Mixture) -> Float[Array, "*batch D"]:
    """E[y|x] = sum_k w_k m_k. Source: Bishop (1994), eq. 49."""
    logits, component = _batch_last(mixture)
    return _batch_first(jnp.sum(jax.nn.softmax(logits, axis=0)[:, None] * component.means(), axis=0))


@jax.jit
def variance(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Var[y_d|x] = sum_k w_k (v_kd + (m_kd - E[y_d])^2), for each target. Source: Bishop (1994), eq. 51."""
    logits, component = _batch_last(mixture)
    weight, means = jax.nn.softmax(logits, axis=0)[:, None], component.means()
    centre = jnp.sum(weight * means, axis=0)
    return _batch_first(jnp.sum(weight * (component.variances() + (means - centre) ** 2), axis=0))


@partial(jax.jit, static_argnames="shape")
def sample(key: PRNGKey, mixture: Mixture, shape: tuple[int, ...] = ()) -> Float[Array, "*shape *batch D"]:
    """Independent draws by the Gumbel-max trick, `shape` of them for every element of the batch.

    k = argmax_k(logits_k + g_k) with g_k = -log(-log(u)), u uniform, is distributed as softmax(logits); then y ~ p_k.
    Source: Gumbel (1954); Maddison et al. (2014), A* sampling, section 2.
    """
    choice_key, noise_key = jax.random.split(key)
    logits, component = _batch_last(mixture)
    batch = logits.shape[1:]
    gumbel = jax.random.gumbel(choice_key, (logits.shape[0], *shape, *batch), logits.dtype)
    chosen = jnp.argmax(_with_axes(logits, 1, len(shape)) + gumbel, axis=0)

    def of_chosen(leaf: Array) -> Array:  # [K, *event, *batch] -> [1, *event, *shape, *batch]
        num_event = leaf.ndim - 1 - len(batch)
        return jnp.take_along_axis(_with_axes(leaf, 1 + num_event, len(shape)), _with_axes(chosen[None], 1, num_event), 0)

    return _batch_first(jax.tree.map(of_chosen, component).draw(noise_key)[0])


def affine(mixture: Mixture, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Mixture:
    """The mixture of `offset + factor * y`, factor > 0: a change of units with its Jacobian."""
    return Mixture(mixture.logits, mixture.component.affine(offset, factor))


def mixture_log_prob(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "..."]:
    """log p(y|x) in the hot path's layout, batch-last.

    log p = logsumexp(l + log p_k) - log sum exp(l), with l = logits - max_k logits: exact for logits of any size, and faster
    than a log_softmax with a logsumexp.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=0))
    return logsumexp(shifted + component.log_probs(y), axis=0) - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


def mixture_responsibilities(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "K ..."]:
    """Responsibilities in the hot path's layout, batch-last; the logits are shifted first, so that they may be of any size."""
    return jax.nn.softmax(logits - jnp.max(logits, axis=0) + component.log_probs(y), axis=0)


def from_batch_last(logits: Float[Array, "K *batch"], component: Component) -> Mixture:
    """A mixture from the hot path's pair."""
    num_batch = logits.ndim - 1
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, range(-num_batch, 0), range(num_batch)), Mixture(logits, component))


def _batch_last(mixture: Mixture) -> Mixture:
    num_batch = mixture.logits.ndim - 1
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, range(num_batch), range(-num_batch, 0)), mixture)


def _batch_last_array(array: Array, num_event: int) -> Array:
    num_batch = array.ndim - num_event
    return jnp.moveaxis(array, range(num_batch), range(-num_batch, 0))


def _batch_first(array: Float[Array, "D *batch"]) -> Float[Array, "*batch D"]:
    return jnp.moveaxis(array, 0, -1)


def _with_axes(array: Array, position: int, count: int) -> Array:
    return jnp.expand_dims(array, tuple(range(position, position + count)))


def _aligned(mixture: Mixture, y: AnyArray) -> tuple[Mixture, Array]:
    """Gives mixture and y the same number of batch axes, by leading 1s."""
    y = jnp.asarray(y)
    num_targets = mixture.component.means().shape[-1]
    if y.ndim == 0 or y.shape[-1] != num_targets:
        raise ValueError(f"y: got shape {y.shape}, expected [*batch, {num_targets}]: the mixture has {num_targets} targets")
    missing = (y.ndim - 1) - (mixture.logits.ndim - 1)
    if missing > 0:
        mixture = jax.tree.map(lambda leaf: _with_axes(leaf, 0, missing), mixture)
    return mixture, _with_axes(y, 0, max(0, -missing))
