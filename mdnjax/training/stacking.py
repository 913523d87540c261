"""Weights of densities in a mixture by validation rows: of the networks of each setting, and of least squares for few rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import logsumexp

from mdnjax.config.schema import Run
from mdnjax.data.dataset import joined, mean_over_rows
from mdnjax.data.scaler import to_training_units
from mdnjax.least_squares import NAMES, LeastSquares, fit_least_squares, log_probs
from mdnjax.training.inputs import Task, rotated_split
from mdnjax.training.selection import stacking_weights
from mdnjax.training.spread import UNCHANGED, scale_factor
from mdnjax.types import Bool, Float

MIN_LOG_PROB = -1e4  # used where the density underflows to 0
MAX_ROWS_OF_LEAST_SQUARES = 200
# Chosen on simulated data of 5 to 50 rows (`python -m experiments.few_rows` draws others of the same laws).
COST_OF_NETWORKS = 8.0  # nats by which networks must explain all validation rows better than least squares
ROWS_OF_PRIOR = 0.1  # rows that only the constant explains, and as many that only least squares explains


class Stack(NamedTuple):
    """The weights of C settings and of least squares in the mixture of each of G tasks, and the NLL of the validation rows.

    `scale_factor` multiplies the scales of the networks' components.
    """

    setting_weights: Float[np.ndarray, "G C"]
    least_squares: LeastSquares | None
    validation_nll: Float[np.ndarray, " G"]
    scale_factor: Float[np.ndarray, " G"]


def stack_settings(
    tasks: Sequence[Task],
    losses: Float[np.ndarray, "R F V"],
    finite: Bool[np.ndarray, " R"],
    curves: Float[np.ndarray, "R reports"],
) -> Stack:
    """Weights the settings, and least squares where there are few rows, by the likelihood of the validation rows.

    Args: `losses` are those of the validation rows of each network by `SCALE_FACTORS`, ordered by task, setting and network; a
    setting has weight 0 if a network of it is not `finite`, unless this is the case for all settings of the task. `curves` are
    the validation scores of the networks at each report.
    """
    losses, stretched = losses[:, UNCHANGED], losses
    config, row_weights = tasks[0].config, [_validation_weight(task) for task in tasks]
    fits = [_fit_all_rows(task) for task in tasks] if uses_least_squares(tasks[0]) else None
    if fits is not None and config.train.keep == "best":
        losses = losses + optimism_of(curves, config.ensemble.num_members)[:, None]
    log_prob = _row_log_probs(config, losses, finite, len(tasks))
    num_settings = log_prob.shape[1]
    if fits is None:
        weights = np.array([stacking_weights(*of_task) for of_task in zip(log_prob, row_weights, strict=True)])
    else:
        others = np.array([_out_of_fold(task, fit) for task, fit in zip(tasks, fits, strict=True)])
        costly = np.concatenate([log_prob - COST_OF_NETWORKS / _num_rows(tasks[0]), others], axis=1)
        weights = np.array([stacking_weights(*_with_prior(*of_task)) for of_task in zip(costly, row_weights, strict=True)])
        log_prob = np.concatenate([log_prob, others], axis=1)  # the NLL has no costs
    pooled = np.asarray(logsumexp(log_prob, axis=1, b=weights[..., None]))
    nll = -np.array([mean_over_rows(*of_task) for of_task in zip(pooled, row_weights, strict=True)])
    of_settings, of_others = weights[:, :num_settings], weights[:, num_settings:]
    if fits is None:
        return Stack(of_settings, None, nll, _scale_factors(tasks, stretched, finite, of_settings))
    stacked = [fit._replace(weight=weight) for fit, weight in zip(fits, of_others, strict=True)]
    joint = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *stacked)
    return Stack(of_settings, joint, nll, np.ones(len(tasks)))


def _scale_factors(
    tasks: Sequence[Task], losses: Float[np.ndarray, "R F V"], finite: Bool[np.ndarray, " R"], weights: Float[np.ndarray, "G C"]
) -> Float[np.ndarray, " G"]:
    """Returns the factor of the scales of each task, or ones if the configuration wants none."""
    config = tasks[0].config
    if not config.selection.adjust_scales:
        return np.ones(len(tasks))
    of_factors = [_row_log_probs(config, losses[:, place], finite, len(tasks)) for place in range(losses.shape[1])]
    rotate = config.ensemble.rotate and config.ensemble.num_members > 1
    log_prob, rows = np.stack(of_factors, axis=1), [_validation_weight(task) for task in tasks]
    return np.array([scale_factor(*of_task, rotate) for of_task in zip(log_prob, weights, rows, strict=True)])


def _with_prior(log_prob: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Adds rows that only one of the last densities explains, those of least squares, unless it could not be fitted."""
    usable = np.flatnonzero(np.any(log_prob > MIN_LOG_PROB, axis=1))
    others = [index for index in range(len(log_prob) - len(NAMES), len(log_prob)) if index in usable]
    prior = np.where(np.arange(len(log_prob))[:, None] == np.array(others), 0.0, MIN_LOG_PROB)
    weight = np.ones(log_prob.shape[1]) if weight is None else weight / np.mean(weight)
    return np.append(log_prob, prior, axis=1), np.append(weight, np.full(len(others), ROWS_OF_PRIOR))


def optimism_of(curves: Float[np.ndarray, "R reports"], num_members: int) -> Float[np.ndarray, " R"]:
    """Returns how much lower the validation score of each network is than at the step that the others of its ensemble choose.

    The step of a network is chosen by its own validation rows, which makes its score on them too low: with few rows by more than
    a nat. A score at a step that other rows choose is not too low. Networks that have ended keep their last score.
    """
    last = np.maximum.accumulate(np.where(np.isfinite(curves), np.arange(curves.shape[1]), 0), axis=1)
    filled = np.nan_to_num(np.take_along_axis(curves, last, axis=1), nan=-MIN_LOG_PROB, posinf=-MIN_LOG_PROB)
    filled = np.minimum(filled, -MIN_LOG_PROB).reshape(-1, num_members, curves.shape[1])
    others = np.sum(filled, axis=1, keepdims=True) - filled
    chosen = np.take_along_axis(filled, np.argmin(others, axis=2)[..., None], axis=2)[..., 0]
    return (chosen - np.min(filled, axis=2)).ravel() if num_members > 1 else np.zeros(len(curves))


def uses_least_squares(task: Task) -> bool:
    """Returns whether least squares is pooled with the networks of a task: it has few rows, and components that can be joined.

    It is not with censored rows, since Student's distribution is that of targets which are all observed.
    """
    config = task.config
    wanted = config.selection.least_squares and bool(config.selection.settings) and config.model.family == "diagonal"
    return wanted and task.train.censoring is None and _num_rows(task) < MAX_ROWS_OF_LEAST_SQUARES


def _num_rows(task: Task) -> int:
    return len(task.train.x) + len(task.validation.x)


def _row_log_probs(config: Run, losses: np.ndarray, finite: np.ndarray, num_tasks: int) -> Float[np.ndarray, "G C V"]:
    """Returns the log density of each validation row by the networks of each setting."""
    shape = (num_tasks, config.selection.num_settings, config.ensemble.num_members)
    log_prob = -losses.astype(np.float64).reshape(*shape, -1)
    if config.ensemble.rotate:  # a row is a validation row of one network, or of none
        log_prob = log_prob.reshape(*shape[:2], -1)
    else:
        log_prob = np.asarray(logsumexp(log_prob, axis=2)) - np.log(config.ensemble.num_members)
    usable = np.all(finite.reshape(shape), axis=2)
    usable[~np.any(usable, axis=1)] = True
    log_prob = np.where(usable[..., None], np.nan_to_num(log_prob, nan=-np.inf), -np.inf)
    return np.maximum(log_prob, MIN_LOG_PROB)


def _turns(task: Task) -> Iterator[tuple]:
    """Yields the train and validation rows of each network, or once if all networks have the same."""
    for turn in range(task.config.ensemble.num_members if task.config.ensemble.rotate else 1):
        yield rotated_split(task.train, task.validation, turn)


def _validation_weight(task: Task) -> np.ndarray | None:
    """Returns the weights of the validation rows of all networks, in the order of their losses."""
    if task.validation.weight is None:
        return None
    return np.concatenate([validation.weight for _, validation in _turns(task)])


def _fit_all_rows(task: Task) -> LeastSquares:
    whole = to_training_units(task.scaler, joined(task.train, task.validation))
    return fit_least_squares(whole.x, whole.y, whole.weight)


def _out_of_fold(task: Task, whole: LeastSquares) -> Float[np.ndarray, "S V"]:
    """Returns the log densities of validation rows by fits to the other rows; a fit to too few rows counts as the constant."""
    found = []
    for parts in _turns(task):
        train, validation = (to_training_units(task.scaler, part) for part in parts)
        fit = fit_least_squares(train.x, train.y, train.weight)
        values = log_probs(fit, validation)
        found.append(np.where(fit.weight[:, None] > 0, values, values[:1]))
    return np.where(whole.weight[:, None] > 0, np.maximum(np.concatenate(found, axis=1), MIN_LOG_PROB), MIN_LOG_PROB)
