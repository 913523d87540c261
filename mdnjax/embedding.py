"""Embeddings of numeric inputs: each number becomes several, of which a network can form rough functions of one input.

Source: Gorishniy, Rubachev & Babenko (2022), On embeddings for numerical features in tabular deep learning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from mdnjax.config.nearest import nearest
from mdnjax.types import Array, Float, Params, PRNGKey

EMBEDDING = "embedding"  # name of the parameters
KINDS = ("none", "piecewise_linear", "periodic")
MEAN_FREQUENCY = 0.3  # sd of the first frequencies, in cycles per standard deviation of the input


class Embedding(NamedTuple):
    """The kind of an embedding, and its size: the number of bins or of frequencies for each input."""

    kind: str = "none"
    size: int = 16


def check_kind(kind: str) -> None:
    """Raises a ValueError, with the nearest known kind, if there is no such embedding."""
    if kind not in KINDS:
        raise ValueError(f"embedding: got {kind!r}, expected one of {', '.join(KINDS)}{nearest(kind, KINDS)}")


def num_embedded(embedding: Embedding, num_inputs: int) -> int:
    """Returns how many inputs a network has after the embedding: the inputs themselves, then the embedded ones."""
    per_input = {"none": 0, "piecewise_linear": embedding.size, "periodic": 2 * embedding.size}[embedding.kind]
    return num_inputs * (1 + per_input)


def init_embedding(key: PRNGKey, embedding: Embedding, num_inputs: int) -> dict[str, Any]:
    """Returns the parameters of an embedding for inputs of mean 0 and sd 1.

    The edges of the bins are quantiles of a normal distribution, and frequencies are drawn from one. `factor` multiplies the
    embedded inputs. All parameters have one axis or none, as biases have, so that weight decay, which is for kernels, does not
    apply to them.
    """
    dtype = jnp.result_type(float)
    if embedding.kind == "none":
        return {}
    if embedding.kind == "periodic":
        shape = num_inputs * embedding.size
        values = {"frequencies": MEAN_FREQUENCY * jax.random.normal(key, (shape,), dtype)}
    else:
        edges = ndtri((jnp.arange(embedding.size + 1, dtype=dtype) + 0.5) / (embedding.size + 1))
        values = {"edges": jnp.tile(edges, num_inputs)}
    return {EMBEDDING: {**values, "factor": jnp.ones((), dtype)}}


def fit_embedding(params: Params, x: Float[Array, "X N"], factor: Any) -> dict[str, Any]:
    """Returns parameters in which the edges of the bins are quantiles of the inputs, if there are bins, with another factor."""
    if EMBEDDING not in params:
        return params
    values = {**params[EMBEDDING], "factor": jnp.asarray(factor, params[EMBEDDING]["factor"].dtype)}
    if "edges" in values:
        num_edges = values["edges"].shape[0] // x.shape[0]
        edges = jnp.quantile(x, jnp.linspace(0, 1, num_edges), axis=1).T
        values["edges"] = edges.ravel().astype(values["edges"].dtype)
    return {**params, EMBEDDING: values}


def embed(params: dict[str, Any], x: Float[Array, "X *batch"]) -> Float[Array, "I *batch"]:
    """Returns the inputs, then the embedded inputs times the factor; factor and edges are not changed by training.

    A bin with the edges a < b becomes the input min(max((x - a) / (b - a), 0), 1), and an empty bin 0; a frequency f becomes
    sin(2 pi f x) and cos(2 pi f x).
    """
    values, batch = params[EMBEDDING], (1,) * (x.ndim - 1)
    if "edges" in values:
        edges = jax.lax.stop_gradient(values["edges"]).reshape(x.shape[0], -1, *batch)
        low, width = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
        embedded = jnp.clip((x[:, None] - low) * jnp.where(width > 0, 1 / jnp.where(width > 0, width, 1), 0), 0, 1)
    else:
        phase = 2 * jnp.pi * values["frequencies"].reshape(x.shape[0], -1, *batch) * x[:, None]
        embedded = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)
    factor = jax.lax.stop_gradient(values["factor"])
    return jnp.concatenate([x, factor * embedded.reshape(x.shape[0] * embedded.shape[1], *x.shape[1:])])
