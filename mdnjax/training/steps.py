"""One training as pure functions: its state, one step, and several steps with a check that losses and parameters are finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from mdnjax.types import Array, Bool, Float, Int, Params, PRNGKey


class Batch(NamedTuple):
    """Examples, batch-last: `x[X, N]`, `y[D, N]`, and their weights `[N]`, of mean 1 over all examples (None: all are 1).

    Targets on a lattice also have the ends of their cells `cells[2, D, N]`. If only some targets have cells, those that are atoms
    or censored, `exact` marks the others.
    """

    x: Float[Array, "X N"]
    y: Float[Array, "D N"]
    weight: Float[Array, " N"] | None = None
    cells: Float[Array, "2 D N"] | None = None
    exact: Bool[Array, "D N"] | None = None


class Best(NamedTuple):
    """The lowest validation score so far, the number of steps taken when it was found, and its parameters."""

    score: Float[Array, ""]
    step: Int[Array, ""]
    params: Params


class TrainState(NamedTuple):
    """What the next step needs, and the best parameters so far, so that a training can be continued from its state."""

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    best: Best


# loss(params, noise_key, batch) -> scalar; train_step(state, *inputs) -> (state, loss); score(params, *inputs) -> scalar
Loss = Callable[[Params, PRNGKey, Any], Float[Array, ""]]
TrainStep = Callable[..., tuple[TrainState, Float[Array, ""]]]
Score = Callable[..., Float[Array, ""]]


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """Returns the state before the first step of `make_train_step`."""
    return _initial_state(params, optimizer.init(params))


def init_steady_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """Returns the state before the first step of `make_steady_step`."""
    return _initial_state(params, optimizer.init(ravel_pytree(params)[0]))


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, PRNGKey, Any], tuple[TrainState, Float[Array, ""]]]:
    """Returns a jit-compiled `train_step(state, key, batch) -> (state, loss before the step)`.

    `loss(params, noise_key, batch)` is the mean over the batch, which may be any pytree.
    The noise of step t is drawn with the key fold_in(key, t), so that a resumed training has exactly the same noise.
    """

    optimizer = optax.with_extra_args_support(optimizer)  # some optimisers, such as L-BFGS, need the loss function too

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
    """Returns a `train_step` as `make_train_step` does, for an optimiser that compares losses between steps, such as L-BFGS.

    The loss is the same function at every step, since its noise is always drawn with the key itself. The next step can therefore
    reuse the loss and the gradient at the end of a line search. The parameters are flattened to one vector, because the many
    small products of L-BFGS are faster on a vector than on a tree.
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


def in_blocks(loss: Loss, max_block_size: int | None = None) -> Loss:
    """Returns the same mean loss, computed block by block for a long batch; only its gradient by the parameters is available.

    By default a block has at most 2048 examples on a CPU, whose intermediate arrays fit into the processor's cache: with 2e5
    examples this is five times faster. The value and the gradient of a block are computed together, so that the backward pass
    only scales the gradient. Each block has a different noise key. Batches of fewer than four blocks are not split.
    """

    def block_size() -> int:  # other devices than CPUs need large blocks to be fully used
        return max_block_size or (2**11 if jax.default_backend() == "cpu" else 2**18)

    blocks = jax.custom_vjp(lambda params, key, batch: _mean_of_blocks(loss, params, key, batch, block_size()))

    def forward(params: Params, noise_key: PRNGKey, batch: Any) -> tuple[Any, Any]:
        return _mean_of_blocks(jax.value_and_grad(loss), params, noise_key, batch, block_size())

    blocks.defvjp(forward, lambda gradient, cotangent: (jax.tree.map(lambda leaf: cotangent * leaf, gradient), None, None))

    def whole_or_blocks(params: Params, noise_key: PRNGKey, batch: Any) -> Float[Array, ""]:
        num = jax.tree.leaves(batch)[0].shape[-1]
        return loss(params, noise_key, batch) if num < 4 * block_size() else blocks(params, noise_key, batch)

    return whole_or_blocks


def _mean_of_blocks(function: Callable[..., Any], params: Params, key: PRNGKey, batch: Any, max_block_size: int) -> Any:
    """Returns the mean over examples of a function that returns means over blocks; the remainder is one more, smaller block."""
    num = jax.tree.leaves(batch)[0].shape[-1]
    num_blocks = -(-num // max_block_size)
    block_size, remainder = num // num_blocks, num % num_blocks

    def block(index: int | Array, size: int) -> Any:
        part = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index * block_size, size, axis=-1), batch)
        out = function(params, jax.random.fold_in(key, index), part)
        return jax.tree.map(lambda leaf: leaf * (size / num), out)

    first = block(0, block_size)
    total = jax.lax.fori_loop(1, num_blocks, lambda i, total: jax.tree.map(jnp.add, total, block(i, block_size)), first)
    return jax.tree.map(jnp.add, total, block(num_blocks, remainder)) if remainder else total


def advance(
    train_step: TrainStep,
    max_steps: int,
    validation_score: Score | None,
    state: TrainState,
    inputs: tuple[Any, ...],
    count: int | Int[Array, ""],
) -> tuple[TrainState, Float[Array, " max_steps"], Float[Array, ""], Bool[Array, ""]]:
    """Takes `count` steps, or fewer if a loss is not finite.

    Returns the state, the losses, the validation score after the steps, and whether all losses and the last parameters are
    finite. The count is traced, so that a shorter last chunk needs no other program.
    """

    def unfinished(carry: Any) -> Array:
        _, losses, i = carry
        return (i < count) & ((i == 0) | jnp.isfinite(losses[i - 1]))

    def body(carry: Any) -> Any:
        state, losses, i = carry
        state, loss = train_step(state, *inputs)
        return state, losses.at[i].set(loss), i + 1

    train_step = jax.jit(train_step)  # traced once for both uses below
    dtype = jax.eval_shape(train_step, state, *inputs)[1].dtype
    losses = jnp.full(max_steps, jnp.nan, dtype)
    state, losses, i = jax.lax.while_loop(unfinished, body, (state, losses, jnp.zeros((), jnp.int32)))
    finite = (i == count) & jnp.isfinite(losses[i - 1]) & all_finite(state.params)
    score = validation_score(state.params, *inputs) if validation_score else jnp.full_like(state.best.score, jnp.nan)
    now = Best(score.astype(state.best.score.dtype), state.step, state.params)
    better = finite & (score < state.best.score)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, state.best)
    return state._replace(best=best), losses, score, finite


def replay(train_step: TrainStep, state: TrainState, inputs: tuple[Any, ...], limit: int | Int[Array, ""]) -> TrainState:
    """Repeats at most `limit` steps and returns the last state whose parameters and loss are finite.

    It is used only for trainings that are known to diverge within `limit` steps, since it checks every step and stores two
    states, which is slower. The limit is needed because a training may not diverge again if other hardware rounds differently.
    """

    def body(carry: Any) -> Any:
        last_finite, candidate, _, i = carry  # the candidate's parameters are finite; the next step returns its loss
        after, loss = train_step(candidate, *inputs)
        finite = jnp.isfinite(loss)
        last_finite = jax.tree.map(lambda new, old: jnp.where(finite, new, old), candidate, last_finite)
        return last_finite, after, finite & all_finite(after.params), i + 1

    start = (state, state, jnp.array(True), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < limit), body, start)[0]


def _initial_state(params: Params, opt_state: Any) -> TrainState:
    """Returns a state without weak types: later states have none, and a program would be compiled again for a state with them."""
    opt_state = jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), opt_state)
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, opt_state, Best(jnp.array(jnp.inf, jnp.result_type(float)), step, params))


def all_finite(params: Params) -> Bool[Array, ""]:
    """Returns whether no parameter is infinite or NaN."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))
