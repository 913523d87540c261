"""First parameters that fit the data before any training: a mixture at every target's place, hidden units all over the inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import FAMILIES, Sizes
from mdnjax.networks import FIRST, HEAD, LINE
from mdnjax.types import Array, Float, Params, PRNGKey

MAX_POINTS = 10_000  # are enough for a marginal
NUM_ROUNDS = 50  # of k-means, and of EM
MIN_SCALE = 1e-3  # of a component of the marginal, where the model has no floor
MIN_WEIGHT = 1e-3


def start_at_data(
    params: Params,
    key: PRNGKey,
    data: tuple[Float[Array, "X N"], Float[Array, "D N"]],
    family: str,
    sizes: Sizes,
    *,
    scale_floor: Any,
    slope: Any,
    head_scale: Any,
    line: Any,
    ridge: Any,
) -> Params:
    """All that follows, in one: the line where the network has one, the marginal of what it leaves, units all over the inputs."""
    x, y = data
    marginal_key, unit_key = jax.random.split(key)
    if LINE in params:
        slopes = line * fit_line(x, y, ridge)
        params, y = {**params, LINE: slopes.ravel().astype(params[LINE].dtype)}, y - jnp.tensordot(slopes, x, (0, 0))
    marginal = fit_marginal(marginal_key, y, sizes.num_components, jnp.maximum(scale_floor, MIN_SCALE))
    params = start_at_marginal(params, marginal, family, sizes, scale_floor, head_scale)
    return spread_over_inputs(params, unit_key, x, slope)


def fit_line(x: Float[Array, "X N"], y: Float[Array, "D N"], ridge: Any) -> Float[Array, "X D"]:
    """Slopes of least squares with N ridge |slope|^2 added: (X X^T + N ridge)^-1 X Y^T of centred data.

    A ridge of s^2 is what noise of sd s on the inputs comes to. Source: Hoerl & Kennard (1970); Bishop (1995), Neural
    Computation 7, on noise.
    """
    x, y = (values - jnp.mean(values, axis=1, keepdims=True) for values in (x, y))
    return jnp.linalg.solve(x @ x.T + x.shape[1] * ridge * jnp.eye(x.shape[0], dtype=x.dtype), x @ y.T)


class Marginal(NamedTuple):
    """A mixture of Gaussians with independent targets, without inputs: weights `[K]`, locations and scales `[K, D]`."""

    weights: Float[Array, " K"]
    loc: Float[Array, "K D"]
    scale: Float[Array, "K D"]


def fit_marginal(
    marginal_key: PRNGKey, y: Float[Array, "D N"], num_components: int, smallest_scale: float | Float[Array, ""] = MIN_SCALE
) -> Marginal:
    """The distribution of the targets whatever the inputs: centres drawn far from each other, k-means, then EM; batch-last.

    Source: Arthur & Vassilvitskii (2007), k-means++; Dempster, Laird & Rubin (1977).
    """
    y = y[:, :: -(-y.shape[1] // MAX_POINTS)]
    loc = _centres(marginal_key, y, num_components)
    loc = jax.lax.fori_loop(0, NUM_ROUNDS, lambda _, loc: _move(y, loc), loc)
    nearest = jax.nn.one_hot(jnp.argmin(_distances(y, loc), axis=0), num_components, axis=0, dtype=y.dtype)
    first = _maximise(y, nearest, Marginal(jnp.zeros(num_components, y.dtype), loc, jnp.ones_like(loc)), smallest_scale)
    return jax.lax.fori_loop(0, NUM_ROUNDS, lambda _, marginal: em_step(y, marginal, smallest_scale), first)


def em_step(y: Float[Array, "D N"], marginal: Marginal, smallest_scale: float | Float[Array, ""]) -> Marginal:
    """One round of expectation and maximisation, which never lowers the likelihood.

    With responsibilities r_kn and n_k = sum_n r_kn: weight_k = n_k / N, loc_k = sum_n r_kn y_n / n_k and
    scale_k^2 = sum_n r_kn (y_n - loc_k)^2 / n_k, or the smallest allowed, which is then the best one allowed.
    """
    z = (y - marginal.loc[..., None]) / marginal.scale[..., None]
    log_prob = -jnp.sum(0.5 * z**2 + jnp.log(marginal.scale)[..., None], axis=1) + jnp.log(marginal.weights)[:, None]
    return _maximise(y, jax.nn.softmax(log_prob, axis=0), marginal, smallest_scale)


def start_at_marginal(
    params: Params, marginal: Marginal, family: str, sizes: Sizes, scale_floor: Any, head_scale: Any
) -> dict[str, Any]:
    """Parameters whose outputs are the marginal for every input, but for the head's kernel, shrunk by a factor.

    Components that begin where the targets are, with scales of their distances, each have something to do from the first step.
    """
    raw = FAMILIES[family].to_raw(marginal.loc, marginal.scale, sizes, scale_floor)
    bias = jnp.concatenate([jnp.log(marginal.weights + MIN_WEIGHT), raw])
    head = {"kernel": head_scale * params[HEAD]["kernel"], "bias": bias.astype(params[HEAD]["bias"].dtype)}
    return {**params, HEAD: head}


def spread_over_inputs(params: Params, unit_key: PRNGKey, x: Float[Array, "X N"], slope: Any) -> dict[str, Any]:
    """Parameters whose first hidden units bend where the inputs are: unit(x) = slope * direction . (x - one of the inputs)."""
    if FIRST not in params:
        return params
    shape = params[FIRST]["kernel"].shape
    direction_key, place_key = jax.random.split(unit_key)
    direction = jax.random.normal(direction_key, shape, x.dtype)
    kernel = slope * direction / jnp.sqrt(jnp.sum(direction**2, axis=0))
    place = x[:, jax.random.randint(place_key, shape[1:], 0, x.shape[1])]
    layer = {"kernel": kernel, "bias": -jnp.sum(kernel * place, axis=0)}
    return {**params, FIRST: jax.tree.map(lambda new, old: new.astype(old.dtype), layer, params[FIRST])}


def _centres(key: PRNGKey, y: Float[Array, "D N"], num_components: int) -> Float[Array, "K D"]:
    """Points of the data, each drawn with a probability in proportion to its squared distance from those before it."""

    def choose(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        log_distance, key = carry
        index = jax.random.categorical(jax.random.fold_in(key, k), log_distance)
        distance = jnp.sum((y - y[:, index, None]) ** 2, axis=0)
        # where all points are taken, any of them again
        nearer = jnp.minimum(log_distance, jnp.log(jnp.maximum(distance, jnp.finfo(y.dtype).tiny)))
        return (nearer, key), y[:, index]

    far = jnp.full(y.shape[1], jnp.log(jnp.finfo(y.dtype).max), y.dtype)
    return jax.lax.scan(choose, (far, key), jnp.arange(num_components))[1]


def _distances(y: Float[Array, "D N"], loc: Float[Array, "K D"]) -> Float[Array, "K N"]:
    return jnp.sum((y - loc[..., None]) ** 2, axis=1)


def _move(y: Float[Array, "D N"], loc: Float[Array, "K D"]) -> Float[Array, "K D"]:
    """Each centre to the mean of the points that are nearest to it; one without points stays."""
    near = jax.nn.one_hot(jnp.argmin(_distances(y, loc), axis=0), loc.shape[0], axis=0, dtype=y.dtype)
    num = jnp.sum(near, axis=1)[:, None]
    return jnp.where(num > 0, near @ y.T / jnp.maximum(num, 1), loc)


def _maximise(y: Float[Array, "D N"], r: Float[Array, "K N"], old: Marginal, smallest_scale: Any) -> Marginal:
    num = jnp.sum(r, axis=1)
    some, safe = (num > 0)[:, None], jnp.maximum(num, jnp.finfo(y.dtype).tiny)[:, None]
    loc = jnp.where(some, r @ y.T / safe, old.loc)
    variance = jnp.sum(r[:, None] * (y - loc[..., None]) ** 2, axis=2) / safe
    scale = jnp.maximum(jnp.where(some, jnp.sqrt(variance), old.scale), jnp.asarray(smallest_scale, y.dtype))
    return Marginal(num / y.shape[1], loc, scale)
