"""The one value that flows: a mixture p(y|x), its density and its responsibilities.

Every function here takes and gives batch-first arrays. Inside, the batch axes are moved to the end once, because the kernels
of the components then run over long contiguous rows. All are compiled at their first call for a shape, and differentiable.
What else can be asked of a mixture is in `mdnjax.statistics`.
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

from mdnjax.batching import batch_to_front, map_examples
from mdnjax.components import Component, Support, Warped
from mdnjax.types import AnyArray, Array, Float

if TYPE_CHECKING:
    Logits = Float[Array, "*batch K"]
    OfComponents = Component
else:  # a tree is put together by the constructor, whatever its leaves are
    Logits = OfComponents = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """p(y|x) = sum_k w_k p_k(y), w = softmax(logits): `logits[*batch, K]` and the record of one component family.

    It is indexed, and has a shape and a length, as an array of its batch: `mixture[0]` is the mixture of the first row. Every
    function of a mixture, here and in `mdnjax.statistics`, is also a method: `mixture.quantile(0.9)`, `mixture.sample(key)`.
    """

    logits: Logits
    component: OfComponents

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch."""
        return np.shape(self.logits)[:-1]

    @property
    def ndim(self) -> int:
        """Number of batch axes."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single mixture has no length: its batch has no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Mixture]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Mixture:
        """Mixtures of some rows. Raises: IndexError if there are more indices than batch axes, or a number is out of range."""
        index = _whole_index(index, self.shape)
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __repr__(self) -> str:
        try:
            family = type(getattr(self.component, "component", self.component)).__name__
            return f"Mixture(batch {self.shape}, {self.logits.shape[-1]} {family} components, {num_targets(self)} targets)"
        except (AttributeError, IndexError):  # a tree of something else than arrays
            return f"Mixture(logits={self.logits!r}, component={self.component!r})"

    if TYPE_CHECKING:  # the methods that `as_methods` adds

        def __getattr__(self, name: str) -> Callable[..., Any]: ...


def as_methods(*functions: Callable[..., Any], key_first: bool = False) -> None:
    """Makes functions of a mixture its methods; of those whose first argument is a key, the mixture is the second."""
    for function in functions:
        setattr(Mixture, function.__name__, _keyed(function) if key_first else function)


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
    check_targets(mixture, y)
    return map_examples(_log_prob, mixture, y)


@jax.jit
def prob(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast"]:
    """The density p(y|x), in the inverse units of y; it underflows where `log_prob` does not."""
    return jnp.exp(log_prob(mixture, y))


@jax.jit
def responsibilities(mixture: Mixture, y: Float[AnyArray, "*batch_y D"]) -> Float[Array, "*broadcast K"]:
    """Posterior probability of each component given y, r_k = w_k p_k(y) / p(y). Source: Bishop (1994), eq. 33."""
    check_targets(mixture, y)
    return map_examples(mixture_responsibilities, mixture, y)


@partial(jax.jit, static_argnames="num_scales")
def locations(mixture: Mixture, num_scales: float = 0.0) -> Float[Array, "*batch K D"]:
    """Location of each component, or what lies so many of its scales above it, in units of y: where to draw it."""

    def kernel(_: Array, component: Component) -> Array:
        line = component.marginals().line()
        return component.marginals().from_line(line.loc + num_scales * line.scale, axis=1)

    return map_examples(kernel, mixture)


def affine(mixture: Mixture, offset: Float[AnyArray, " D"], factor: Float[AnyArray, " D"]) -> Mixture:
    """The mixture of `offset + factor * y`, factor > 0: a change of units with its Jacobian.

    Raises: ValueError for a mixture on a bounded support: units are changed on the line, before `warp`.
    """
    return Mixture(mixture.logits, mixture.component.affine(offset, factor))


def warp(mixture: Mixture, support: Support) -> Mixture:
    """The mixture of y = from_line(u) on a support, where `mixture` is that of u: log-normal, logit-normal and their like.

    Raises: ValueError if the support has another number of targets, or the mixture is on a bounded support already.
    """
    if isinstance(mixture.component, Warped) or len(support.low) != num_targets(mixture):
        raise ValueError(f"warp: got a support of {len(support.low)} targets for a mixture of {num_targets(mixture)} on the line")
    return Mixture(mixture.logits, Warped(mixture.component, support))


def num_targets(mixture: Mixture) -> int:
    """D."""
    component = mixture.component
    return (component.component if isinstance(component, Warped) else component).loc.shape[-1]


def check_targets(mixture: Mixture, y: Any, name: str = "y") -> None:
    """Raises: ValueError if y has another number of targets than the mixture."""
    expected, shape = num_targets(mixture), jnp.shape(y)
    if not shape or shape[-1] != expected:
        raise ValueError(f"{name}: got shape {shape}, expected [*batch, {expected}]: the mixture has {expected} targets")


def check_single(name: str, mixture: Mixture) -> None:
    """Raises: ValueError if the mixture has more than one target."""
    if (number := num_targets(mixture)) != 1:
        raise ValueError(f"{name}: got {number} targets, expected 1: ask mdn.marginal(mixture, (d,)) for target d")


def mixture_log_prob(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "..."]:
    """log p(y|x) in the hot path's layout, batch-last.

    log p = logsumexp(l + log p_k) - log sum exp(l), with l = logits - max_k logits: exact for logits of any size, and faster
    than a log_softmax with a logsumexp.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=0))
    return logsumexp(shifted + component.log_probs(y), axis=0) - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


def _log_prob(logits: Float[Array, " K"], component: Component, y: Float[Array, " D"]) -> Float[Array, ""]:
    """`mixture_log_prob` of one example, to be mapped.

    The same numbers; but the normaliser has a shift of its own, so that it stays a loop of its own: together with the other sum
    it takes a quarter longer at 64 components.
    """
    shift = jax.lax.stop_gradient(jnp.max(logits, axis=0))
    own_shift = jnp.where(jnp.isfinite(shift), shift, 0)
    normaliser = jnp.log(jnp.sum(jnp.exp(logits - own_shift), axis=0))
    return logsumexp(logits - shift + component.log_probs(y), axis=0) - normaliser


def mixture_responsibilities(
    logits: Float[Array, "K *#batch"], component: Component, y: Float[Array, "D *#batch"]
) -> Float[Array, "K ..."]:
    """Responsibilities in the hot path's layout, batch-last; the logits are shifted first, so that they may be of any size."""
    return jax.nn.softmax(logits - jnp.max(logits, axis=0) + component.log_probs(y), axis=0)


def from_batch_last(logits: Float[Array, "K *batch"], component: Component) -> Mixture:
    """A mixture from the hot path's pair."""
    return batch_to_front(Mixture(logits, component), logits.ndim - 1)


def _whole_index(index: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An index of the batch axes alone, without an ellipsis, which would reach beyond them."""
    index = index if isinstance(index, tuple) else (index,)
    taken = sum(map(_num_axes, index))
    if taken > len(shape):
        raise IndexError(f"got {taken} indices, expected at most {len(shape)}: the mixture has a batch of shape {shape}")
    where = next((place for place, one in enumerate(index) if one is ...), len(index))
    whole, axis = (*index[:where], *(slice(None),) * (len(shape) - taken), *index[where + 1 :]), 0
    for one in whole:
        numbers = np.asarray(one) if isinstance(one, int | list | np.ndarray | np.generic) else None
        if numbers is not None and numbers.dtype.kind in "iu" and not ((-shape[axis] <= numbers) & (numbers < shape[axis])).all():
            raise IndexError(f"got index {one}, expected one of {shape[axis]} along axis {axis}")  # jax would take the nearest
        axis += _num_axes(one)
    return whole


def _num_axes(one: Any) -> int:
    """Batch axes that a part of an index takes: a mask takes its own, None and an ellipsis none."""
    if one is None or one is ...:
        return 0
    return int(one.ndim) if getattr(one, "dtype", None) == np.dtype(bool) else 1


def _keyed(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Mixture, key: Any, *arguments: Any, **options: Any) -> Any:
        return function(key, self, *arguments, **options)

    return method


as_methods(log_weights, weights, log_prob, prob, responsibilities, locations, affine, warp)
