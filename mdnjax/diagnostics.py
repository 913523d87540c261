"""Finds problems of trained mixture density networks, such as dead components or scales at the floor, and suggests remedies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import Component, Full, Isotropic
from mdnjax.config.schema import Run, Train
from mdnjax.mixture import Mixture, weights
from mdnjax.statistics.line import unwarped
from mdnjax.types import AnyArray, Array, Float

MIN_WEIGHT = 0.001  # a component with a smaller mean weight is dead
AT_FLOOR = 1.1  # scales up to this multiple of the floor count as at the floor
MAX_SHARE_AT_FLOOR = 0.05  # share of the weight above which a note is given


class Diagnosis(NamedTuple):
    """How a network uses its components, over the inputs of `diagnose`.

    num_effective is the mean over inputs of exp(-sum_k w_k log w_k), the number of equal weights with the same entropy;
    num_in_use is the same for the mean weights over all inputs; num_dead counts the components whose mean weight is below 0.001;
    share_at_floor is the share of the weight in components whose scale, in any target, is at most 1.1 times the smallest allowed.
    """

    num_components: int
    num_effective: float
    num_in_use: float
    num_dead: int
    share_at_floor: float


def diagnose(mixture: Mixture, smallest_scale: Float[AnyArray, "..."]) -> Diagnosis:
    """Summarises the mixtures `[N]` that one network predicts.

    `smallest_scale` is the smallest allowed scale of each target, in the units of the mixture.
    """
    weight = np.asarray(weights(mixture), np.float64)
    mean_weight = weight.mean(axis=0)
    at_floor = np.asarray(scales_of(mixture.component)) <= AT_FLOOR * np.asarray(smallest_scale)
    share = float(np.mean(np.sum(weight * at_floor.any(axis=-1), axis=1)))
    num_dead = int(np.count_nonzero(mean_weight < MIN_WEIGHT))
    return Diagnosis(weight.shape[1], float(_perplexity(weight).mean()), float(_perplexity(mean_weight)), num_dead, share)


def remedies(diagnosis: Diagnosis, config: Run | None = None) -> Iterator[str]:
    """Yields a note for each problem: what was seen, what it means and what to do.

    Args: with the configuration of the run, nothing is advised that is set already.
    """
    train = config.train if config else Train()
    from_data = [] if train.init.name == "data" else ["train.init.name=data"]
    bonus: Any = train.entropy_bonus
    in_use = [*from_data, f"train.entropy_bonus={2 * bonus or 0.02:g}"]
    num_dead, num = diagnosis.num_dead, diagnosis.num_components
    if num_dead and num_dead < num - 1:
        yield (
            f"dead components: {num_dead} of {num} (mean weight below {MIN_WEIGHT}), which the network does not use, so that "
            f"they only cost time; lower model.num_components to {num - num_dead} or set it to auto, or keep more components in "
            f"use by {' or '.join(in_use)}"
        )
    if num > 1 and diagnosis.num_in_use < 1 + 10 * MIN_WEIGHT:
        advice = [*(f"start from the data by {name}" for name in from_data), f"try train.entropy_bonus={2 * bonus or 0.02:g}"]
        yield (
            f"one component of {num} has all the weight, so the others are unused and the mixture is a single component; "
            f"{', '.join(advice)}, or lower train.optimizer.learning_rate; if one component is enough, set model.num_components=1"
        )
    if diagnosis.share_at_floor > MAX_SHARE_AT_FLOOR:
        settings = config.selection.settings if config else ()
        place = " in selection.settings" * any("model.scale_floor" in setting for setting in settings)
        yield (
            f"{100 * diagnosis.share_at_floor:.0f} % of the weight is in components at the scale floor, so the floor determines "
            "their width, and the NLL would change with it; if targets repeat or the network overfits, raise train.x_noise or "
            f"model.scale_floor{place}; if the data are more precise than the floor, lower model.scale_floor{place}; compare "
            "models by CRPS"
        )


def _perplexity(weight: Float[np.ndarray, "*batch K"]) -> Float[np.ndarray, "*batch"]:
    """Returns exp(-sum_k w_k log w_k)."""
    return np.asarray(np.exp(-np.sum(weight * np.log(np.maximum(weight, np.finfo(float).tiny)), axis=-1)))


def scales_of(component: Component) -> Float[Array, "N K D"]:
    """Returns the scales that the floor bounds: of each target, and for `Full` components of each target given those after it."""
    on_line = unwarped(component)
    if isinstance(on_line, Full):
        return 1 / jnp.diagonal(on_line.precision_tril, axis1=-2, axis2=-1)
    if isinstance(on_line, Isotropic):
        return on_line.scale[..., None]
    return on_line.scale
