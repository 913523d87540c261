"""Training: one pure step, and a loop of steps that runs compiled and comes up for air now and then."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mdnjax.types import Array, Bool, Float, Int, Params, PRNGKey


class Batch(NamedTuple):
    """Examples in the hot path's layout, batch-last: `x[X, N]`, `y[D, N]`."""

    x: Float[Array, "X N"]
    y: Float[Array, "D N"]


class TrainState(NamedTuple):
    """What the next step needs."""

    step: Int[Array, ""]
    params: Params
    opt_state: Any


class History(NamedTuple):
    """What the reader needs: the loss before each step, and the held-out score at some of them (numpy arrays)."""

    loss: np.ndarray
    report_steps: np.ndarray
    held_out: np.ndarray


class Fit(NamedTuple):
    """The end of a training run; if it diverged, the last state whose loss was finite."""

    state: TrainState
    history: History
    diverged: bool


# loss(params, noise_key, batch) -> scalar; train_step(state, *inputs) -> (state, loss); score(params, *inputs) -> scalar
Loss = Callable[[Params, PRNGKey, Any], Float[Array, ""]]
TrainStep = Callable[..., tuple[TrainState, Float[Array, ""]]]
Score = Callable[..., Float[Array, ""]]
Observer = Callable[[int, float, float], None]


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


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
        return TrainState(state.step + 1, params, opt_state), value

    return train_step


def fit(
    train_step: TrainStep,
    state: TrainState,
    inputs: tuple[Any, ...],
    *,
    num_steps: int,
    report_every: int,
    held_out_score: Score | None = None,
    observe: Observer | None = None,
) -> Fit:
    """Runs `num_steps` steps in compiled chunks of `report_every`, reporting between them.

    Args: train_step(state, *inputs) and held_out_score(params, *inputs) are pure, and `inputs` are any pytrees.
    Passing the same functions again compiles nothing again. observe(step, loss, held-out score) is called after each chunk.
    A run whose loss or parameters are no longer finite stops there, and goes back to its last state with both finite.
    """
    losses, steps, scores = [np.zeros(0)], [], []
    capacity, first, before, diverged = min(report_every, num_steps), int(state.step), state, False
    while (done := int(state.step)) < num_steps:
        after, chunk_losses, sound = _advance(train_step, capacity, state, inputs, min(capacity, num_steps - done))
        losses.append(np.asarray(chunk_losses)[: num_steps - done])
        if not sound:  # the chunk before is replayed too: the loss of its last state was not known yet
            state, diverged = _replay(train_step, before, inputs), True
            break
        before, state = state, after
        steps.append(int(state.step))
        scores.append(float(_score(held_out_score, state.params, inputs)) if held_out_score else float("nan"))
        if observe:
            observe(steps[-1], float(losses[-1][-1]), scores[-1])
    known = np.concatenate(losses)[: int(state.step) - first + 1]
    reports = sum(step <= int(state.step) for step in steps)
    history = History(known[np.isfinite(known)], np.array(steps[:reports], int), np.array(scores[:reports]))
    return Fit(state, history, diverged)


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    train_step: TrainStep, capacity: int, state: TrainState, inputs: tuple[Any, ...], count: int | Int[Array, ""]
) -> tuple[TrainState, Float[Array, " capacity"], Bool[Array, ""]]:
    """`count` steps, or fewer if a loss is not finite; their losses; and whether all losses and the last parameters are finite.

    The count is traced and not static, so that a shorter last chunk needs no program of its own.
    """

    def unfinished(carry: Any) -> Array:
        _, losses, i = carry
        return (i < count) & ((i == 0) | jnp.isfinite(losses[i - 1]))

    def body(carry: Any) -> Any:
        state, losses, i = carry
        state, loss = train_step(state, *inputs)
        return state, losses.at[i].set(loss), i + 1

    dtype = jax.eval_shape(train_step, state, *inputs)[1].dtype
    losses = jnp.full(capacity, jnp.nan, dtype)
    state, losses, i = jax.lax.while_loop(unfinished, body, (state, losses, jnp.zeros((), jnp.int32)))
    return state, losses, (i == count) & jnp.isfinite(losses[i - 1]) & _all_finite(state.params)


@partial(jax.jit, static_argnums=0)
def _replay(train_step: TrainStep, state: TrainState, inputs: tuple[Any, ...]) -> TrainState:
    """Steps on until a state is not sound, and returns the one before it; sound is a state of finite parameters and loss.

    Only for runs known to diverge: that every step is looked at, and two states are kept, would slow down the others.
    """

    def body(carry: Any) -> Any:
        sound, candidate, _ = carry  # the candidate has finite parameters; its loss comes with the step from it
        after, loss = train_step(candidate, *inputs)
        ok = jnp.isfinite(loss)
        sound = jax.tree.map(lambda new, old: jnp.where(ok, new, old), candidate, sound)
        return sound, after, ok & _all_finite(after.params)

    return jax.lax.while_loop(lambda carry: carry[2], body, (state, state, jnp.array(True)))[0]


def _all_finite(params: Params) -> Bool[Array, ""]:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


@partial(jax.jit, static_argnums=0)
def _score(held_out_score: Score, params: Params, inputs: tuple[Any, ...]) -> Float[Array, ""]:
    return held_out_score(params, *inputs)
