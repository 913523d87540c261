"""How well paths are foreseen: nats per step, and metres between the true path and the likeliest, or the best of some draws."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.trajectories.frame import dataset_of, frame_of, straight_on, to_world
from experiments.trajectories.walks import OBSERVED, PREDICTED, Scene
from mdnjax.components import Diagonal
from mdnjax.mixture import Mixture, log_prob, responsibilities, weights
from mdnjax.predictor import Predictor
from mdnjax.statistics import marginal, sample
from mdnjax.training.initialise import fit_marginal
from mdnjax.types import AnyArray, Array, Float, Int, PRNGKey

NUM_BASELINE = 5  # components of the mixture without inputs
# Of that, in metres, as of the network: the files tell no less, and what is repeated exactly would have any density.
MIN_SCALE = 0.01


class Foreseen(NamedTuple):
    """What is said of each window: nats of each step by itself and of the whole path per step, and places in the world.

    `likeliest` is the most probable mode of the place at each step, `drawn` are paths drawn whole.
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
    """Means over windows: nats per step, in metres, and the displacement of three predictions."""

    nll: float
    final_nll: float
    joint_nll: float
    baseline_nll: float
    likeliest: Displacement
    best: Displacement
    constant_velocity: Displacement


def foresee(predictor: Predictor, paths: np.ndarray, key: PRNGKey, num_samples: int) -> Foreseen:
    """Asks the network about paths `[N, 20, 2]`; a draw depends on its window's number and the key."""
    x, y = dataset_of(paths)
    question = partial(_asked, key, num_samples)
    step_nll, joint_nll, likeliest, drawn = predictor.map_rows(question, x, y, np.arange(len(x)), most=2**11)
    frame = frame_of(paths)
    return Foreseen(step_nll, joint_nll, to_world(frame, likeliest), to_world(frame, np.moveaxis(drawn, 1, 0)))


def displacement(places: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average over the 12 steps, and final distance in metres, of places `[*shape, N, 12, 2]` from paths `[N, 20, 2]`."""
    distance = np.linalg.norm(places - paths[:, OBSERVED:], axis=-1)
    return distance.mean(axis=-1), distance[..., -1]


def score(scene: Scene, foreseen: Foreseen, baseline: Float[np.ndarray, " T"]) -> Score:
    """The scores of a scene; of the draws the best counts, by either distance for itself."""

    def means(places: np.ndarray) -> Displacement:
        average, final = (np.min(np.atleast_2d(distance), axis=0) for distance in displacement(places, scene.test))
        return Displacement(float(average.mean()), float(final.mean()))

    nats = (foreseen.step_nll, foreseen.step_nll[:, -1], foreseen.joint_nll, baseline)
    places = (means(each) for each in (foreseen.likeliest, foreseen.drawn, straight_on(frame_of(scene.test))))
    nll, final_nll, joint_nll, without_inputs = (float(values.mean()) for values in nats)
    return Score(nll, final_nll, joint_nll, without_inputs, *places)  # pyright: ignore[reportCallIssue]


def mean_score(scores: list[Score]) -> Score:
    """Means over scenes, each as much as any other."""

    def mean(name: str) -> Any:
        return np.mean([getattr(score, name) for score in scores], axis=0).tolist()

    values: dict[str, Any] = {name: mean(name) for name in ("nll", "final_nll", "joint_nll", "baseline_nll")}
    values |= {name: Displacement(*mean(name)) for name in ("likeliest", "best", "constant_velocity")}
    return Score(**values)


def baseline_nll(scene: Scene) -> Float[np.ndarray, " T"]:
    """Nats of each step by what knows no input: five Gaussians, by EM, on how those of the other scenes deviate at that step."""
    known, asked = (dataset_of(part).y.reshape(-1, PREDICTED, 2) for part in (scene.train, scene.test))
    return np.array([_baseline(known[:, step], asked[:, step]) for step in range(PREDICTED)])


def likeliest_of(mixture: Mixture) -> Float[Array, "*batch D"]:
    """The mean of the components that lead to the most probable mode, without the ascent to its exact place.

    Each component leads to the one that is most responsible for its location; the mode is taken that most weight leads to.
    """
    loc, weight = mixture.component.loc, weights(mixture)  # pyright: ignore[reportAttributeAccessIssue]
    one_more = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, mixture.logits.ndim - 1), mixture)
    leads = jnp.argmax(responsibilities(one_more, loc), axis=-1)
    one_hot = jax.nn.one_hot(leads, loc.shape[-2], dtype=weight.dtype)
    chosen = jnp.argmax(jnp.einsum("...j,...jk->...k", weight, one_hot), axis=-1)
    part = weight * (leads == chosen[..., None])
    return jnp.einsum("...k,...kd->...d", part / jnp.sum(part, axis=-1, keepdims=True), loc)


@partial(jax.jit, static_argnums=1)
def _asked(key: PRNGKey, num_samples: int, mixture: Mixture, y: AnyArray, number: Int[AnyArray, " N"]) -> tuple[Array, ...]:
    places = [(2 * step, 2 * step + 1) for step in range(PREDICTED)]
    steps = [marginal(mixture, place) for place in places]
    step_nll = jnp.stack([-log_prob(one, y[:, place]) for one, place in zip(steps, np.array(places), strict=True)], axis=1)
    likeliest = jnp.concatenate([likeliest_of(one) for one in steps], axis=1)
    keys = jax.vmap(lambda own: jax.random.fold_in(key, own))(number)
    drawn = jax.vmap(lambda own, one: sample(own, one, (num_samples,)))(keys, mixture)
    return step_nll, -log_prob(mixture, y) / PREDICTED, likeliest, drawn


@jax.jit
def _baseline(known: AnyArray, asked: AnyArray) -> Float[Array, ""]:
    fitted = fit_marginal(jax.random.key(0), jnp.asarray(known).T, NUM_BASELINE, MIN_SCALE)
    return -jnp.mean(log_prob(Mixture(jnp.log(fitted.weights), Diagonal(fitted.loc, fitted.scale)), asked))
