"""Scores of predicted paths: nats per step, and metres from the true path to the likeliest one or the nearest sampled one."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.trajectories.frame import constant_velocity, dataset_of, frame_of, to_world
from experiments.trajectories.walks import OBSERVED, PREDICTED, Scene
from mdnjax.components import Diagonal
from mdnjax.mixture import Mixture, log_prob, responsibilities, weights
from mdnjax.predictor import Predictor
from mdnjax.statistics import marginal, sample
from mdnjax.training.initialise import fit_marginal
from mdnjax.types import AnyArray, Array, Float, Int, PRNGKey

NUM_BASELINE_COMPONENTS = 5  # of the mixture without inputs
# In metres, as the default of the network. Places are not known more exactly, and the density of repeated steps has no bound
# without a smallest scale.
MIN_BASELINE_SCALE = 0.01


class Predictions(NamedTuple):
    """Predictions for each window: NLL of each step's marginal and of the whole path per step, in nats, and places in metres.

    `likeliest` is the most probable mode of the place at each step, `drawn` are paths sampled from the joint distribution.
    """

    step_nll: Float[np.ndarray, "N T"]
    joint_nll: Float[np.ndarray, " N"]
    likeliest: Float[np.ndarray, "N T 2"]
    drawn: Float[np.ndarray, "S N T 2"]


class Displacement(NamedTuple):
    """Mean distances in metres: over the 12 steps, and at the last."""

    average: float
    final: float


class Score(NamedTuple):
    """Means over windows: nats per step, for places in metres, and the displacements of three predictions."""

    nll: float
    final_nll: float
    joint_nll: float
    baseline_nll: float
    likeliest: Displacement
    best: Displacement
    constant_velocity: Displacement


def predict(predictor: Predictor, paths: np.ndarray, key: PRNGKey, num_samples: int) -> Predictions:
    """Predicts the last 12 places of paths `[N, 20, 2]`; samples depend on the key and the index of the window."""
    x, y = dataset_of(paths)[:2]
    function = partial(_predict, key, num_samples)
    step_nll, joint_nll, likeliest, drawn = predictor.map_rows(function, x, y, np.arange(len(x)), max_rows=2**11)
    frame = frame_of(paths)
    return Predictions(step_nll, joint_nll, to_world(frame, likeliest), to_world(frame, np.moveaxis(drawn, 1, 0)))


def displacement(places: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns average and final distance in metres `[*shape, N]` of places `[*shape, N, 12, 2]` from paths `[N, 20, 2]`."""
    distance = np.linalg.norm(places - paths[:, OBSERVED:], axis=-1)
    return distance.mean(axis=-1), distance[..., -1]


def score(scene: Scene, predictions: Predictions, baseline: Float[np.ndarray, " T"]) -> Score:
    """Returns the scores of a scene; the smallest average and the smallest final distance of the samples are taken separately."""

    def means(places: np.ndarray) -> Displacement:
        average, final = (np.min(np.atleast_2d(distance), axis=0) for distance in displacement(places, scene.test))
        return Displacement(float(average.mean()), float(final.mean()))

    nats = (predictions.step_nll, predictions.step_nll[:, -1], predictions.joint_nll, baseline)
    predicted = (predictions.likeliest, predictions.drawn, constant_velocity(frame_of(scene.test)))
    nll, final_nll, joint_nll, without_inputs = (float(values.mean()) for values in nats)
    return Score(nll, final_nll, joint_nll, without_inputs, *map(means, predicted))  # pyright: ignore[reportCallIssue]


def mean_score(scores: list[Score]) -> Score:
    """Returns the means over scenes, which have equal weights."""

    def mean(name: str) -> Any:
        return np.mean([getattr(score, name) for score in scores], axis=0).tolist()

    values: dict[str, Any] = {name: mean(name) for name in ("nll", "final_nll", "joint_nll", "baseline_nll")}
    values |= {name: Displacement(*mean(name)) for name in ("likeliest", "best", "constant_velocity")}
    return Score(**values)


def baseline_nll(scene: Scene) -> Float[np.ndarray, " T"]:
    """Returns the test NLL of each step by a mixture without inputs, fitted by EM to the deviations of that step in training."""
    train, test = (dataset_of(part).y.reshape(-1, PREDICTED, 2) for part in (scene.train, scene.test))
    return np.array([_baseline_nll(train[:, step], test[:, step]) for step in range(PREDICTED)])


def likeliest_of(mixture: Mixture) -> Float[Array, "*batch D"]:
    """Returns the approximate location of the most probable mode, without the ascent to its exact place.

    Each component is assigned to the one with the largest responsibility at its location. The assigned components with the
    largest total weight form the mode, whose location is their mean.
    """
    loc, weight = mixture.component.loc, weights(mixture)  # pyright: ignore[reportAttributeAccessIssue]
    expanded = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, mixture.logits.ndim - 1), mixture)
    assigned = jnp.argmax(responsibilities(expanded, loc), axis=-1)
    one_hot = jax.nn.one_hot(assigned, loc.shape[-2], dtype=weight.dtype)
    chosen = jnp.argmax(jnp.einsum("...j,...jk->...k", weight, one_hot), axis=-1)
    part = weight * (assigned == chosen[..., None])
    return jnp.einsum("...k,...kd->...d", part / jnp.sum(part, axis=-1, keepdims=True), loc)


@partial(jax.jit, static_argnums=1)
def _predict(key: PRNGKey, num_samples: int, mixture: Mixture, y: AnyArray, index: Int[AnyArray, " N"]) -> tuple[Array, ...]:
    columns = [(2 * step, 2 * step + 1) for step in range(PREDICTED)]
    steps = [marginal(mixture, pair) for pair in columns]
    step_nll = jnp.stack([-log_prob(step, y[:, pair]) for step, pair in zip(steps, np.array(columns), strict=True)], axis=1)
    likeliest = jnp.concatenate([likeliest_of(step) for step in steps], axis=1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    drawn = jax.vmap(lambda window_key, window: sample(window_key, window, (num_samples,)))(keys, mixture)
    return step_nll, -log_prob(mixture, y) / PREDICTED, likeliest, drawn


@jax.jit
def _baseline_nll(train: AnyArray, test: AnyArray) -> Float[Array, ""]:
    fitted = fit_marginal(jax.random.key(0), jnp.asarray(train).T, NUM_BASELINE_COMPONENTS, MIN_BASELINE_SCALE)
    return -jnp.mean(log_prob(Mixture(jnp.log(fitted.weights), Diagonal(fitted.loc, fitted.scale)), test))
