"""Training: one pure step, and a loop of steps that runs compiled and comes up for air now and then."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mdnjax.types import Array, Float, Int, Params, PRNGKey


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
    A run whose loss or parameters are no longer finite stops there, and is replayed to its last sound state.
    """
    losses, steps, scores = [], [], []
    while (done := int(state.step)) < num_steps:
        count = min(report_every, num_steps - done)
        after, chunk_losses, num_done = _advance(train_step, report_every, state, inputs, count)
        losses.append(np.asarray(chunk_losses)[:count])
        diverged = int(num_done) < count
        if diverged:  # rare: replay the chunk up to the last step that was sound
            losses[-1] = losses[-1][: int(num_done) + 1]
            after, _, _ = _advance(train_step, report_every, state, inputs, int(num_done))
        state = after
        steps.append(int(state.step))
        scores.append(float(_score(held_out_score, state.params, inputs)) if held_out_score else float("nan"))
        if diverged:
            return Fit(state, _history(losses, steps, scores), True)
        if observe:
            observe(steps[-1], float(losses[-1][-1]), scores[-1])
    return Fit(state, _history(losses, steps, scores), False)


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    train_step: TrainStep, capacity: int, state: TrainState, inputs: tuple[Any, ...], count: int | Int[Array, ""]
) -> tuple[TrainState, Float[Array, " capacity"], Int[Array, ""]]:
    """Up to `count` steps; also their losses and how many steps lead to a sound state (`count`, unless a loss was not finite).

    The count is traced and not static, so that a shorter last chunk, or a replay, needs no program of its own.
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
    # The loss of step i belongs to the parameters before it: where it is not finite, the step before it led astray.
    last_loss_sound = jnp.isfinite(losses[jnp.maximum(i - 1, 0)]) | (i == 0)
    sound = last_loss_sound & jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.params)]))
    return state, losses, jnp.where(sound, i, jnp.maximum(i - jnp.where(last_loss_sound, 1, 2), 0))


@partial(jax.jit, static_argnums=0)
def _score(held_out_score: Score, params: Params, inputs: tuple[Any, ...]) -> Float[Array, ""]:
    return held_out_score(params, *inputs)


def _history(losses: list[np.ndarray], steps: list[int], scores: list[float]) -> History:
    return History(np.concatenate([np.zeros(0), *losses]), np.array(steps), np.array(scores))
