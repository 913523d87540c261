"""Noise that is added to the examples of a step of training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mdnjax.config import schema
from mdnjax.training.optimizers import is_on
from mdnjax.training.steps import Batch
from mdnjax.types import Array, PRNGKey

DROPOUT = 2  # purpose of a key that is derived from the noise key of a step


def with_noise(noise_key: PRNGKey, batch: Batch, train: schema.Train) -> tuple[Batch, PRNGKey]:
    """Returns the examples of a step with noise added, and a key for dropout."""
    if train.noise_copies > 1:
        batch = jax.tree.map(lambda leaf: jnp.tile(leaf, train.noise_copies), batch)

    def noisy(key: PRNGKey, values: Array, sd: Any) -> Array:
        return values + sd * jax.random.normal(key, values.shape, values.dtype) if is_on(sd) else values

    x_key, y_key = jax.random.split(noise_key)
    noisy_batch = batch._replace(x=noisy(x_key, batch.x, train.x_noise), y=noisy(y_key, batch.y, train.y_noise))
    if batch.cells is not None and noisy_batch.y is not batch.y:
        noisy_batch = noisy_batch._replace(cells=batch.cells + (noisy_batch.y - batch.y))
    return noisy_batch, jax.random.fold_in(noise_key, DROPOUT)


def rule_of_thumb(num: int, num_columns: int) -> float:
    """Returns the normal-reference bandwidth 1.06 N^(-1 / (4 + d)) of N examples in d columns of sd 1.

    Source: Silverman (1986); its use as the sd of training noise: Rothfuss et al. (2019), section 4.
    """
    return 1.06 * num ** (-1 / (4 + num_columns))
