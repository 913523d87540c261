"""Small triangular matrices `[K, D, D, *batch]`: loops over D with batched rows, much faster than calling a solver per matrix."""

from __future__ import annotations

import jax.numpy as jnp

from mdnjax.types import Array, Float


def cholesky(matrix: Float[Array, "K D D *batch"]) -> Float[Array, "K D D *batch"]:
    """Returns L, lower triangular, with L L^T = matrix."""
    size = matrix.shape[1]
    remainder, columns = matrix, []
    for j in range(size):
        column = remainder[:, :, j] / jnp.sqrt(remainder[:, j, j])[:, None]
        column = column.at[:, :j].set(0)
        columns.append(column)
        remainder = remainder - column[:, :, None] * column[:, None]
    return jnp.stack(columns, axis=2)


def solve(tril: Float[Array, "K D D *batch"], right: Float[Array, "K D *batch"]) -> Float[Array, "K D *batch"]:
    """Returns x with L x = right."""
    rows: list[Array] = []
    for i in range(tril.shape[1]):
        known = sum((tril[:, i, j] * rows[j] for j in range(i)), start=jnp.zeros_like(right[:, 0]))
        rows.append((right[:, i] - known) / tril[:, i, i])
    return jnp.stack(rows, axis=1)


def solve_transposed(tril: Float[Array, "K D D *batch"], right: Float[Array, "K D *batch"]) -> Float[Array, "K D *batch"]:
    """Returns x with L^T x = right."""
    flipped = jnp.flip(jnp.swapaxes(tril, 1, 2), (1, 2))
    return jnp.flip(solve(flipped, jnp.flip(right, 1)), 1)


def inverse(tril: Float[Array, "K D D *batch"]) -> Float[Array, "K D D *batch"]:
    """Returns L^-1, lower triangular."""
    size = tril.shape[1]
    identity = jnp.eye(size, dtype=tril.dtype).reshape(size, size, *(1 for _ in tril.shape[3:]))
    columns = [solve(tril, jnp.broadcast_to(identity[:, j], (tril.shape[0], size, *tril.shape[3:]))) for j in range(size)]
    return jnp.stack(columns, axis=2)


def precision_tril(covariance: Float[Array, "K D D *batch"]) -> Float[Array, "K D D *batch"]:
    """Returns L, lower triangular, with (L L^T)^-1 = covariance."""
    upper = jnp.flip(cholesky(jnp.flip(covariance, (1, 2))), (1, 2))  # covariance = U U^T
    return jnp.swapaxes(jnp.flip(inverse(jnp.flip(upper, (1, 2))), (1, 2)), 1, 2)


def log_determinant(tril: Float[Array, "K D D *batch"]) -> Float[Array, "K *batch"]:
    """Returns log det L."""
    return jnp.sum(jnp.log(jnp.stack([tril[:, i, i] for i in range(tril.shape[1])], axis=1)), axis=1)
