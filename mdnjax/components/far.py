"""Targets so far from all components that every density underflows: which component is the nearest one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mdnjax.components.full import Full
from mdnjax.components.low_rank import LowRank
from mdnjax.components.warped import Warped
from mdnjax.types import Array, Bool, Float

MARGIN = 4.0  # in eps: distances that differ by less are equal


def far_responsibilities(
    logits: Float[Array, "K *#batch"], component: Any, y: Float[Array, "D *#batch"]
) -> Float[Array, "K ..."]:
    """Returns the responsibilities, and their limits where all densities underflow.

    A target larger than the power 3/4 of the largest number of the dtype counts as that number.
    """
    largest = jnp.finfo(y.dtype).max ** 0.75
    y = jnp.clip(y, -largest, largest)
    shifted = logits - jnp.max(logits, axis=0)
    lost = jnp.all(shifted + component.log_probs(y) == -jnp.inf, axis=0)
    nearest = _nearest(component, y, jnp.broadcast_to(logits > -jnp.inf, (len(logits), *lost.shape)))
    # Where densities are lost, their gradients are 0 times infinity, so that they are computed at a location instead.
    location = component.marginals().from_line(component.marginals().line().loc[0])
    log_joint = shifted + component.log_probs(jnp.where(lost, jax.lax.stop_gradient(location), y))
    return jax.nn.softmax(jnp.where(lost, jnp.where(nearest, logits, -jnp.inf), log_joint), axis=0)


def _nearest(component: Any, y: Float[Array, "D *#batch"], possible: Bool[Array, "K *batch"]) -> Bool[Array, "K *batch"]:
    """Returns which of the possible components are nearest to y, in units of their scales.

    None is nearest if y is nan or outside of the support. Where the square of the distance overflows, the log density of a
    Gaussian is minus half of this square, and nothing else counts.
    """
    marginals = component.marginals()
    on_line, u = marginals.line(), marginals.to_line(y)
    unit = jnp.max(jnp.abs((u - on_line.loc) / on_line.scale), axis=(0, 1))
    inner = component.component if isinstance(component, Warped) else component
    if isinstance(inner, LowRank):
        _, squares = inner.log_volume_and_squares((u - inner.loc) / inner.scale / unit)
    elif isinstance(inner, Full):
        squares = jnp.sum(jnp.sum(inner.precision_tril / unit * (u - inner.loc)[:, :, None], axis=1) ** 2, axis=1)
    else:
        squares = jnp.sum(((u - on_line.loc) / (on_line.scale * unit)) ** 2, axis=1)
    distance = jnp.where(possible, squares, jnp.inf)
    return possible & (distance <= jnp.min(distance, axis=0) * (1 + MARGIN * jnp.finfo(y.dtype).eps))
