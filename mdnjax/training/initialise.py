"""Initial parameters that fit the data before training: components where the targets are, hidden units where the inputs are."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdnjax.components import FAMILIES, Sizes
from mdnjax.embedding import EMBEDDING, embed, fit_embedding
from mdnjax.networks import EXPERTS, FIRST, HEAD, LINE, with_expert_factor
from mdnjax.types import Array, Float, Params, PRNGKey

MAX_EXAMPLES = 10_000  # enough to fit the marginal of the targets
NUM_ITERATIONS = 50  # of k-means, and again of EM
MIN_SCALE = 1e-3  # smallest scale of a component of the marginal, unless the model's floor is larger
WEIGHT_OFFSET = 1e-3  # added to each weight, so that the logit of a component without examples is finite


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
    embedding: Any = 1.0,
    experts: Any = 1.0,
    num_experts: int = 0,
    weight: Float[Array, " N"] | None = None,
) -> Params:
    """Returns parameters that fit the data.

    The linear path, if the network has one, is fitted by least squares and multiplied by `line`. The head predicts the marginal
    of the residuals, and the first hidden units are spread over the inputs and their embeddings, which `embedding` multiplies.
    `experts` multiplies the last inputs, if they are predictions of experts.
    """
    x, y = data
    if EXPERTS in params:
        params = {**params, EXPERTS: {"factor": jnp.asarray(experts, params[EXPERTS]["factor"].dtype)}}
        x = with_expert_factor(x, num_experts, experts)
    marginal_key, unit_key = jax.random.split(key)
    if LINE in params:
        slopes = line * fit_linear_path(x, y, ridge, weight)
        params, y = {**params, LINE: slopes.ravel().astype(params[LINE].dtype)}, y - jnp.tensordot(slopes, x, (0, 0))
    marginal = fit_marginal(marginal_key, y, sizes.num_components, jnp.maximum(scale_floor, MIN_SCALE), weight)
    params = start_at_marginal(params, marginal, family, sizes, scale_floor, head_scale)
    params = fit_embedding(params, x, embedding)
    return spread_over_inputs(params, unit_key, embed(params, x) if EMBEDDING in params else x, slope)


def fit_linear_path(
    x: Float[Array, "X N"], y: Float[Array, "D N"], ridge: Any, weight: Float[Array, " N"] | None = None
) -> Float[Array, "X D"]:
    """Returns the slopes of least squares with the penalty N ridge |slope|^2: (X X^T + N ridge)^-1 X Y^T of centred data.

    A ridge of s^2 has the same effect as noise of sd s on the inputs. With weights, of mean 1, it is X W X^T and X W Y^T.
    Source: Hoerl & Kennard (1970); Bishop (1995), Neural Computation 7, on noise.
    """

    def weighted(values: Array) -> Array:
        return values if weight is None else weight * values

    x, y = (values - jnp.mean(weighted(values), axis=1, keepdims=True) for values in (x, y))
    return jnp.linalg.solve(weighted(x) @ x.T + x.shape[1] * ridge * jnp.eye(x.shape[0], dtype=x.dtype), weighted(x) @ y.T)


class Marginal(NamedTuple):
    """A mixture of Gaussians with independent targets, without inputs: weights `[K]`, locations and scales `[K, D]`."""

    weights: Float[Array, " K"]
    loc: Float[Array, "K D"]
    scale: Float[Array, "K D"]


def fit_marginal(
    marginal_key: PRNGKey,
    y: Float[Array, "D N"],
    num_components: int,
    min_scale: float | Float[Array, ""] = MIN_SCALE,
    weight: Float[Array, " N"] | None = None,
) -> Marginal:
    """Fits a mixture to the targets alone (batch-last): k-means++ draws the first centres, then k-means runs, then EM.

    Source: Arthur & Vassilvitskii (2007), k-means++; Dempster, Laird & Rubin (1977).
    """
    stride = -(-y.shape[1] // MAX_EXAMPLES)
    y, weight = y[:, ::stride], None if weight is None else weight[::stride]
    loc = _draw_centres(marginal_key, y, num_components)

    def step(i: Array, marginal: Marginal) -> Marginal:
        # K-means is EM in which an example belongs to the nearest component alone; one without examples starts EM with scale 1.
        kmeans = i <= NUM_ITERATIONS
        r = jax.lax.cond(kmeans, _nearest, _responsibilities, y, marginal, weight)
        return _maximise(y, r, marginal._replace(scale=jnp.where(kmeans, 1, marginal.scale)), min_scale)

    first = Marginal(jnp.zeros(num_components, y.dtype), loc, jnp.ones_like(loc))
    return jax.lax.fori_loop(0, 2 * NUM_ITERATIONS + 1, step, first)


def em_step(
    y: Float[Array, "D N"],
    marginal: Marginal,
    min_scale: float | Float[Array, ""],
    weight: Float[Array, " N"] | None = None,
) -> Marginal:
    """Returns the marginal after one iteration of EM, which never lowers the (weighted) likelihood.

    With responsibilities r_kn and n_k = sum_n r_kn: weight_k = n_k / N, loc_k = sum_n r_kn y_n / n_k and
    scale_k^2 = sum_n r_kn (y_n - loc_k)^2 / n_k. A scale below `min_scale` is replaced by it, the best scale that is allowed.
    """
    return _maximise(y, _responsibilities(y, marginal, weight), marginal, min_scale)


def start_at_marginal(
    params: Params, marginal: Marginal, family: str, sizes: Sizes, scale_floor: Any, head_scale: Any
) -> dict[str, Any]:
    """Returns parameters whose head has biases that give the marginal; `head_scale` multiplies its kernel.

    The components start where the targets are, with matching scales, so that each contributes from the first step on.
    """
    raw = FAMILIES[family].to_raw(marginal.loc, marginal.scale, sizes, scale_floor)
    bias = jnp.concatenate([jnp.log(marginal.weights + WEIGHT_OFFSET), raw])
    head = {"kernel": head_scale * params[HEAD]["kernel"], "bias": bias.astype(params[HEAD]["bias"].dtype)}
    return {**params, HEAD: head}


def spread_over_inputs(params: Params, unit_key: PRNGKey, x: Float[Array, "X N"], slope: Any) -> dict[str, Any]:
    """Returns parameters whose first hidden units have the pre-activation slope * direction . (x - centre).

    Directions are random unit vectors, and centres are random inputs of the data.
    """
    if FIRST not in params:
        return params
    shape = params[FIRST]["kernel"].shape
    direction_key, centre_key = jax.random.split(unit_key)
    direction = jax.random.normal(direction_key, shape, x.dtype)
    kernel = slope * direction / jnp.sqrt(jnp.sum(direction**2, axis=0))
    centre = x[:, jax.random.randint(centre_key, shape[1:], 0, x.shape[1])]
    layer = {"kernel": kernel, "bias": -jnp.sum(kernel * centre, axis=0)}
    return {**params, FIRST: jax.tree.map(lambda new, old: new.astype(old.dtype), layer, params[FIRST])}


def _draw_centres(key: PRNGKey, y: Float[Array, "D N"], num_components: int) -> Float[Array, "K D"]:
    """Draws targets one by one, with probabilities proportional to the squared distance from the nearest target drawn before."""

    def draw(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        log_distance, key = carry
        index = jax.random.categorical(jax.random.fold_in(key, k), log_distance)
        distance = jnp.sum((y - y[:, index, None]) ** 2, axis=0)
        # The lower bound makes the logarithm finite: once all distinct targets are drawn, any of them can be drawn again.
        nearer = jnp.minimum(log_distance, jnp.log(jnp.maximum(distance, jnp.finfo(y.dtype).tiny)))
        return (nearer, key), y[:, index]

    far = jnp.full(y.shape[1], jnp.log(jnp.finfo(y.dtype).max), y.dtype)
    return jax.lax.scan(draw, (far, key), jnp.arange(num_components))[1]


def _nearest(y: Float[Array, "D N"], marginal: Marginal, weight: Float[Array, " N"] | None) -> Float[Array, "K N"]:
    """Returns 1, or the example's weight, for the component whose location is nearest to an example, and 0 for the others."""
    distances = jnp.sum((y - marginal.loc[..., None]) ** 2, axis=1)
    near = jax.nn.one_hot(jnp.argmin(distances, axis=0), len(marginal.loc), axis=0, dtype=y.dtype)
    return near if weight is None else weight * near


def _responsibilities(y: Float[Array, "D N"], marginal: Marginal, weight: Float[Array, " N"] | None) -> Float[Array, "K N"]:
    """Returns the probability of each component given an example, times the example's weight."""
    z = (y - marginal.loc[..., None]) / marginal.scale[..., None]
    log_prob = -jnp.sum(0.5 * z**2 + jnp.log(marginal.scale)[..., None], axis=1) + jnp.log(marginal.weights)[:, None]
    r = jax.nn.softmax(log_prob, axis=0)
    return r if weight is None else weight * r


def _maximise(y: Float[Array, "D N"], r: Float[Array, "K N"], old: Marginal, min_scale: Any) -> Marginal:
    """Returns the best marginal for responsibilities `r`; components without examples have the loc and scale of `old`."""
    num = jnp.sum(r, axis=1)
    has_examples, safe_num = (num > 0)[:, None], jnp.maximum(num, jnp.finfo(y.dtype).tiny)[:, None]
    loc = jnp.where(has_examples, r @ y.T / safe_num, old.loc)
    variance = jnp.sum(r[:, None] * (y - loc[..., None]) ** 2, axis=2) / safe_num
    scale = jnp.maximum(jnp.where(has_examples, jnp.sqrt(variance), old.scale), jnp.asarray(min_scale, y.dtype))
    return Marginal(num / y.shape[1], loc, scale)
