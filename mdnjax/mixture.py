"""The mixture p(y|x) that networks predict and statistics take, with its density and its responsibilities.

Every function here takes and returns batch-first arrays. Internally, the batch axes are moved to the end once, because the
kernels of the components then run over long contiguous rows. All functions are differentiable, and each is compiled at its first
call for a shape. Further functions of a mixture are in `mdnjax.statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from mdnjax.batching import batch_to_front, check_mixture, full_index, map_batch, map_examples
from mdnjax.components import Component, Support, Warped, far_responsibilities
from mdnjax.types import AnyArray, Array, Float

if TYPE_CHECKING:
    Logits = Float[Array, "*batch K"]
    ComponentRecord = Component
else:  # jax calls the constructor with leaves of any type, which a check of annotations would refuse
    Logits = ComponentRecord = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """p(y|x) = sum_k w_k p_k(y), w = softmax(logits): `logits[*batch, K]` and the parameters of one component family.

    It has the shape, length and indexing of an array with its batch axes: `mixture[0]` is the mixture of the first row. Every
    function of a mixture, here and in `mdnjax.statistics`, is also a method: `mixture.quantile(0.9)`, `mixture.sample(key)`.
    """

    logits: Logits
    component: ComponentRecord

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return np.shape(self.logits)[:-1]

    @property
    def ndim(self) -> int:
        """The number of batch axes."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single mixture has no length: its batch has no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Mixture]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Mixture:
        """Returns the mixtures of some rows.

        Raises: IndexError if there are more indices than batch axes, or an index is out of range.
        """
        index = full_index(index, self.shape)
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __repr__(self) -> str:
        try:
            family = type(getattr(self.component, "component", self.component)).__name__
            return f"Mixture(batch {self.shape}, {self.logits.shape[-1]} {family} components, {num_targets(self)} targets)"
        except (AttributeError, IndexError, TypeError, ValueError):  # the leaves are not arrays
            return f"Mixture(logits={self.logits!r}, component={self.component!r})"

    if TYPE_CHECKING:  # represents the methods that `as_methods` adds

        def __getattr__(self, name: str) -> Callable[..., Any]: ...


def as_methods(*functions: Callable[..., Any], key_first: bool = False) -> None:
    """Adds functions as methods of `Mixture`; with `key_first` their first argument is a key and the second the mixture."""
    for function in functions:
        setattr(Mixture, function.__name__, _with_key_first(function) if key_first else function)


@jax.jit
def log_weights(mixture: Mixture) -> Float[Array, "*batch K"]:
    """Returns the logarithms of the mixing weights, log softmax(logits)."""
    check_mixture(mixture)
    return jax.nn.log_softmax(mixture.logits, axis=-1)


@jax.jit
def weights(mixture: Mixture) -> Float[Array, "*batch K"]:
    """Returns the mixing weights, softmax(logits)."""
    check_mixture(mixture)
    return jax.nn.softmax(mixture.logits, axis=-1)


@jax.jit
def log_prob(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns log p(y|x) in nats, for a density in the units of y; the batch axes of mixture and y broadcast.

    log p = logsumexp_k(log w_k + log p_k(y)). It is -inf where all densities underflow, as at an infinite y, and the
    gradient, which has no limit, is nan there. Source: Bishop (1994), eq. 22 and 29.
    Raises: ValueError if y and the mixture differ in the number of targets.
    """
    check_targets(mixture, y)
    return map_examples(_log_prob, mixture, y)


@jax.jit
def prob(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """Returns the density p(y|x), in the inverse units of y; it underflows where `log_prob` does not."""
    return _prob(mixture, y)


@jax.custom_jvp
def _prob(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    return jnp.exp(log_prob(mixture, y))


@_prob.defjvp
def _prob_jvp(primals: tuple[Mixture, Array], tangents: tuple[Mixture, Array]) -> tuple[Array, Array]:
    """The gradient is 0 where the density is 0; it is computed at a location there, since it would be 0 times infinity at y."""
    value = _prob(*primals)
    location = jax.lax.stop_gradient(locations(primals[0])[..., 0, :])
    _, tangent = jax.jvp(lambda m, y: jnp.exp(log_prob(m, jnp.where((value == 0)[..., None], location, y))), primals, tangents)
    return value, jnp.where(value == 0, 0, tangent)


@jax.jit
def responsibilities(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast K"]:
    """Returns the posterior probability of each component given y, r_k = w_k p_k(y) / p(y).

    Where all densities underflow to 0, the component that is nearest in units of its scale has all of it. An infinite y counts
    as a very large one. It is nan outside of the support.
    Source: Bishop (1994), eq. 33.
    """
    check_targets(mixture, y)
    return _responsibilities(mixture, y)


@partial(jax.jit, static_argnames="num_scales")
def locations(mixture: Mixture, num_scales: float = 0.0) -> Float[Array, "*batch K D"]:
    """Returns the location of each component plus `num_scales` of its scales, in units of y, for drawing the components."""

    def kernel(_: Array, component: Component) -> Array:
        on_real_line = component.marginals().line()
        return component.marginals().from_line(on_real_line.loc + num_scales * on_real_line.scale, axis=1)

    return map_examples(kernel, mixture)


def affine(mixture: Mixture, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Mixture:
    """Returns the mixture of `offset + factor * y`, factor > 0: a change of units with its Jacobian.

    Raises: ValueError for a mixture on a bounded support: units are changed on the real line, before `warp`.
    """
    check_mixture(mixture)
    return Mixture(mixture.logits, mixture.component.affine(offset, factor))


def warp(mixture: Mixture, support: Support) -> Mixture:
    """Returns the mixture of y = from_line(u) on a support, where `mixture` is that of u: log-normal, logit-normal and the like.

    Raises: ValueError if the support has another number of targets, or the mixture is on a bounded support already.
    """
    if isinstance(mixture.component, Warped) or len(support.low) != num_targets(mixture):
        raise ValueError(
            f"warp: got a support of {len(support.low)} targets for a mixture of {num_targets(mixture)} on the real line"
        )
    return Mixture(mixture.logits, Warped(mixture.component, support))


def num_targets(mixture: Mixture) -> int:
    """Returns D, the number of targets.

    Raises: TypeError if it is not a mixture, ValueError if its locations have other axes than `[*batch, K, D]`.
    """
    check_mixture(mixture)
    component = mixture.component
    return (component.component if isinstance(component, Warped) else component).loc.shape[-1]


def check_targets(mixture: Mixture, y: Any, name: str = "y") -> None:
    """Raises a ValueError if y and the mixture differ in the number of targets."""
    expected, shape = num_targets(mixture), jnp.shape(y)
    if not shape or shape[-1] != expected:
        raise ValueError(f"{name}: got shape {shape}, expected [*batch, {expected}]: the mixture has {expected} targets")


def check_single(name: str, mixture: Mixture) -> None:
    """Raises a ValueError if the mixture has more than one target."""
    if (number := num_targets(mixture)) != 1:
        raise ValueError(f"{name}: got {number} targets, expected 1: use mdn.marginal(mixture, (d,)) for target d")


def mixture_log_prob(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "..."]:
    """Returns log p(y|x) of batch-last arrays, as in the hot path.

    log p = logsumexp(l + log p_k) - log sum exp(l), with l = logits - max_k logits: exact for logits of any size, and faster
    than a log_softmax followed by a logsumexp.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=0))
    return logsumexp(shifted + component.log_probs(y), axis=0) - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


def _log_prob(logits: Float[Array, " K"], component: Component, y: Float[Array, " D"]) -> Float[Array, ""]:
    """Returns `mixture_log_prob` of one example, for use in `map_examples`.

    The normaliser is shifted separately, which gives the same numbers but makes the compiler use a separate loop for it. In one
    loop with the other sum it takes a quarter longer at 64 components.
    """
    shift = jax.lax.stop_gradient(jnp.max(logits, axis=0))
    normaliser_shift = jnp.where(jnp.isfinite(shift), shift, 0)
    normaliser = jnp.log(jnp.sum(jnp.exp(logits - normaliser_shift), axis=0))
    return logsumexp(logits - shift + component.log_probs(y), axis=0) - normaliser


def mixture_responsibilities(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "K ..."]:
    """Returns the responsibilities of batch-last arrays; the logits are shifted first, so that they may be of any size."""
    return jax.nn.softmax(logits - jnp.max(logits, axis=0) + component.log_probs(y), axis=0)


def from_batch_last(logits: Float[Array, "K *batch"], component: Component) -> Mixture:
    """Returns the mixture of batch-last logits and component."""
    return batch_to_front(Mixture(logits, component), logits.ndim - 1)


@jax.custom_jvp
def _responsibilities(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast K"]:
    found = map_examples(mixture_responsibilities, mixture, y)
    return jax.lax.cond(jnp.any(jnp.isnan(found)), lambda: map_batch(far_responsibilities, mixture, y), lambda: found)


@_responsibilities.defjvp
def _responsibilities_jvp(primals: tuple[Mixture, Array], tangents: tuple[Mixture, Array]) -> tuple[Array, Array]:
    """Differentiates the limits too; elsewhere they are the responsibilities."""
    return jax.jvp(partial(map_batch, far_responsibilities), primals, tangents)


def _with_key_first(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Mixture, key: Any, *arguments: Any, **options: Any) -> Any:
        return function(key, self, *arguments, **options)

    return method


as_methods(log_weights, weights, log_prob, prob, responsibilities, locations, affine, warp)
