"""Training as pure functions of one run: its state, one step, and a number of steps with an eye on what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from mdnjax.types import Array, Bool, Float, Int, Params, PRNGKey


class Batch(NamedTuple):
    """Examples in the hot path's layout, batch-last: `x[X, N]`, `y[D, N]`."""

    x: Float[Array, "X N"]
    y: Float[Array, "D N"]


class Best(NamedTuple):
    """The parameters with the lowest held-out score so far, and the step after which they were found."""

    score: Float[Array, ""]
    step: Int[Array, ""]
    params: Params


class TrainState(NamedTuple):
    """What the next step needs; and the best so far, for a run that is gone on with."""

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    best: Best


# loss(params, noise_key, batch) -> scalar; train_step(state, *inputs) -> (state, loss); score(params, *inputs) -> scalar
Loss = Callable[[Params, PRNGKey, Any], Float[Array, ""]]
TrainStep = Callable[..., tuple[TrainState, Float[Array, ""]]]
Score = Callable[..., Float[Array, ""]]


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """The state before the first step."""
    return _first_state(params, optimizer.init(params))


def init_steady_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """The state before the first step of `make_steady_step`."""
    return _first_state(params, optimizer.init(ravel_pytree(params)[0]))


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, PRNGKey, Any], tuple[TrainState, Float[Array, ""]]]:
    """A jit-compiled `train_step(state, key, batch) -> (state, loss before the step)`.

    `loss(params, noise_key, batch)` is the mean over the batch, any pytree.
    The noise of step t comes from fold_in(key, t): a run that is resumed replays exactly.
    """

    optimizer = optax.with_extra_args_support(optimizer)  # some need the loss itself, as L-BFGS does

    @jax.jit
    def train_step(state: TrainState, key: PRNGKey, batch: Any) -> tuple[TrainState, Float[Array, ""]]:
        noise_key = jax.random.fold_in(key, state.step)
        value, grads = jax.value_and_grad(loss)(state.params, noise_key, batch)
        updates, opt_state = optimizer.update(
            grads,
            state.opt_state,
            state.params,
            value=value,
            grad=grads,
            value_fn=lambda params: loss(params, noise_key, batch),
        )
        params = cast(Params, optax.apply_updates(state.params, updates))
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), value

    return train_step


def make_steady_step(
    loss: Loss, optimizer: optax.GradientTransformationExtraArgs
) -> Callable[[TrainState, PRNGKey, Any], tuple[TrainState, Float[Array, ""]]]:
    """`make_train_step` for an optimiser that compares losses between steps, as the line search of L-BFGS does.

    The loss is one function at every step: its noise is drawn once, from the key itself. So the loss and gradient where a line
    search ended are those that the next step begins with; and the parameters are one vector, since the many small products
    between the steps that are remembered cost more on a tree.
    """

    @jax.jit
    def train_step(state: TrainState, key: PRNGKey, batch: Any) -> tuple[TrainState, Float[Array, ""]]:
        flat, to_tree = ravel_pytree(state.params)

        def value_fn(flat: Float[Array, " n"]) -> Float[Array, ""]:
            return loss(to_tree(flat), key, batch)

        value, grad = optax.value_and_grad_from_state(value_fn)(flat, state=state.opt_state)
        updates, opt_state = optimizer.update(grad, state.opt_state, flat, value=value, grad=grad, value_fn=value_fn)
        params = to_tree(cast(Array, optax.apply_updates(flat, updates)))
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), jnp.asarray(value)

    return train_step


def in_blocks(loss: Loss, most: int | None = None) -> Loss:
    """The same mean over a long batch as a sum over blocks of `most` examples (2048 on a CPU), with its gradient by parameters.

    What a block makes on the way stays in the processor's cache, and nothing else is in memory: at 2e5 examples five times
    faster. Value and gradient of a block come at once, so the backward pass has nothing left to compute; the noise of each
    block has a key of its own. Batches of fewer than four blocks are left whole.
    """
    blocks = jax.custom_vjp(lambda params, key, batch: _sum_of_blocks(loss, params, key, batch, most or _block()))

    def forward(params: Params, noise_key: PRNGKey, batch: Any) -> tuple[Any, Any]:
        return _sum_of_blocks(jax.value_and_grad(loss), params, noise_key, batch, most or _block())

    blocks.defvjp(forward, lambda gradient, cotangent: (jax.tree.map(lambda leaf: cotangent * leaf, gradient), None, None))

    def whole_or_blocks(params: Params, noise_key: PRNGKey, batch: Any) -> Float[Array, ""]:
        num = jax.tree.leaves(batch)[0].shape[-1]
        return loss(params, noise_key, batch) if num < 4 * (most or _block()) else blocks(params, noise_key, batch)

    return whole_or_blocks


def _block() -> int:
    """Examples of a block; other processors than a CPU are kept busy by many."""
    return 2**11 if jax.default_backend() == "cpu" else 2**18


def _sum_of_blocks(function: Callable[..., Any], params: Params, key: PRNGKey, batch: Any, most: int) -> Any:
    """The mean over examples of what a function gives as the mean over a block; the few left over are a block of their own."""
    num = jax.tree.leaves(batch)[0].shape[-1]
    num_blocks = -(-num // most)
    size = num // num_blocks

    def block(index: int | Array, size: int) -> Any:
        part = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index * block_size, size, axis=-1), batch)
        out = function(params, jax.random.fold_in(key, index), part)
        return jax.tree.map(lambda leaf: leaf * (size / num), out)

    block_size, left = size, num - num_blocks * size
    first = block(0, size)
    total = jax.lax.fori_loop(1, num_blocks, lambda i, total: jax.tree.map(jnp.add, total, block(i, size)), first)
    return jax.tree.map(jnp.add, total, block(num_blocks, left)) if left else total


def advance(
    train_step: TrainStep,
    capacity: int,
    validation_score: Score | None,
    state: TrainState,
    inputs: tuple[Any, ...],
    count: int | Int[Array, ""],
) -> tuple[TrainState, Float[Array, " capacity"], Float[Array, ""], Bool[Array, ""]]:
    """`count` steps, or fewer if a loss is not finite; their losses; the held-out score after them; whether all were sound.

    Sound are finite losses and last parameters. The count is traced, so that a shorter last chunk needs no program of its own.
    """

    def unfinished(carry: Any) -> Array:
        _, losses, i = carry
        return (i < count) & ((i == 0) | jnp.isfinite(losses[i - 1]))

    def body(carry: Any) -> Any:
        state, losses, i = carry
        state, loss = train_step(state, *inputs)
        return state, losses.at[i].set(loss), i + 1

    train_step = jax.jit(train_step)  # it is traced once for both of the next uses
    dtype = jax.eval_shape(train_step, state, *inputs)[1].dtype
    losses = jnp.full(capacity, jnp.nan, dtype)
    state, losses, i = jax.lax.while_loop(unfinished, body, (state, losses, jnp.zeros((), jnp.int32)))
    sound = (i == count) & jnp.isfinite(losses[i - 1]) & all_finite(state.params)
    score = validation_score(state.params, *inputs) if validation_score else jnp.full_like(state.best.score, jnp.nan)
    now = Best(score.astype(state.best.score.dtype), state.step, state.params)
    better = sound & (score < state.best.score)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, state.best)
    return state._replace(best=best), losses, score, sound


def replay(train_step: TrainStep, state: TrainState, inputs: tuple[Any, ...], limit: int | Int[Array, ""]) -> TrainState:
    """Steps on until a state is not sound, and returns the one before it; sound is a state of finite parameters and loss.

    Only for runs known to diverge within `limit` steps: that every step is looked at, and two states are kept, would slow down
    the others. (Other hardware than that they diverged on may round so that they do not.)
    """

    def body(carry: Any) -> Any:
        sound, candidate, _, i = carry  # the candidate has finite parameters; its loss comes with the step from it
        after, loss = train_step(candidate, *inputs)
        ok = jnp.isfinite(loss)
        sound = jax.tree.map(lambda new, old: jnp.where(ok, new, old), candidate, sound)
        return sound, after, ok & all_finite(after.params), i + 1

    start = (state, state, jnp.array(True), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < limit), body, start)[0]


def _first_state(params: Params, opt_state: Any) -> TrainState:
    """It has no weak types, as the states after it have none: programs of both kinds would be compiled twice."""
    opt_state = jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), opt_state)
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, opt_state, Best(jnp.array(jnp.inf, jnp.result_type(float)), step, params))


def all_finite(params: Params) -> Bool[Array, ""]:
    """Whether no parameter is infinite or NaN."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))
