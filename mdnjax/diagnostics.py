"""What may be wrong with a trained mixture density network, in numbers and in words that say what helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Component, Full, Isotropic, Warped
from mdnjax.mixture import Mixture, weights
from mdnjax.types import AnyArray, Array, Float

MIN_WEIGHT = 0.001  # of all, below which a component is called dead
AT_FLOOR = 1.1  # times the floor
MAX_SHARE_AT_FLOOR = 0.05  # of the weight


class Diagnosis(NamedTuple):
    """Numbers of one network over the inputs it was shown.

    num_effective is the mean of exp(-sum_k w_k log w_k), the number of equal components that would leave as much open;
    num_in_use is the same of the mean weights over all inputs; dead are the components whose mean weight is below 0.001;
    share_at_floor is the share of the weight whose component has a scale below 1.1 times the smallest possible, in any target.
    """

    num_components: int
    num_effective: float
    num_in_use: float
    dead: tuple[int, ...]
    share_at_floor: float


def diagnose(mixture: Mixture, smallest_scale: Float[AnyArray, "..."]) -> Diagnosis:
    """Looks at mixtures `[N]` of one network; `smallest_scale` is that of each target, in the units of the mixture."""
    weight = np.asarray(weights(mixture), np.float64)
    mean_weight = weight.mean(axis=0)
    low = np.asarray(scales_of(mixture.component)) <= AT_FLOOR * np.asarray(smallest_scale)
    share = float(np.mean(np.sum(weight * low.any(axis=-1), axis=1)))
    dead = tuple(int(k) for k in np.flatnonzero(mean_weight < MIN_WEIGHT))
    return Diagnosis(weight.shape[1], float(_perplexity(weight).mean()), float(_perplexity(mean_weight)), dead, share)


def remedies(diagnosis: Diagnosis) -> Iterator[str]:
    """A sentence for each thing that looks wrong, with what helps."""
    num_dead = len(diagnosis.dead)
    if num_dead and num_dead < diagnosis.num_components - 1:
        yield (
            f"dead components: {num_dead} of {diagnosis.num_components} (mean weight below {MIN_WEIGHT}); fewer do as well "
            "(model.num_components, or auto), and train.init.name=data or train.entropy_bonus=0.02 keep more of them in use"
        )
    if diagnosis.num_components > 1 and diagnosis.num_in_use < 1 + 10 * MIN_WEIGHT:
        yield (
            f"one component of {diagnosis.num_components} has all the weight: the mixture has collapsed to a single hill; "
            "start from the data with train.init.name=data, or lower train.optimizer.learning_rate"
        )
    if diagnosis.share_at_floor > MAX_SHARE_AT_FLOOR:
        yield (
            f"{100 * diagnosis.share_at_floor:.0f} % of the weight is in components at the scale floor: if targets repeat or the "
            "network overfits, more train.x_noise or a larger model.scale_floor helps; if data are that exact, a smaller floor"
        )


def _perplexity(weight: Float[np.ndarray, "*batch K"]) -> Float[np.ndarray, "*batch"]:
    return np.asarray(np.exp(-np.sum(weight * np.log(np.maximum(weight, np.finfo(float).tiny)), axis=-1)))


def scales_of(component: Component) -> Float[Array, "N K D"]:
    """What the floor bounds: the scale of each target, of correlated ones given those after it."""
    if isinstance(component, Warped):
        return scales_of(component.component)
    if isinstance(component, Full):
        return 1 / jnp.diagonal(component.precision_tril, axis1=-2, axis2=-1)
    if isinstance(component, Isotropic):
        return component.scale[..., None]
    return component.scale
