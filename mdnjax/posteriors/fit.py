"""Learns a posterior from simulations in one call: `mdnjax.fit_posterior`, and what it shares with the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from mdnjax.config.load import resolve, settings_layer
from mdnjax.config.schema import Run
from mdnjax.config.simulated import Simulated
from mdnjax.data.columns import Column, Columns
from mdnjax.data.dataset import Dataset
from mdnjax.data.examples import as_numbers
from mdnjax.fitting import choose_num_components, fit_networks, with_num_components
from mdnjax.posteriors.direct import DirectPosterior
from mdnjax.posteriors.likelihood import THOROUGH, LikelihoodPosterior
from mdnjax.posteriors.posterior import Posterior, as_results
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.success import Success, fit_success
from mdnjax.posteriors.tempering import Effort, import_blackjax
from mdnjax.predictor import Predictor
from mdnjax.training.history import Observer, means_of
from mdnjax.types import Bool, Float

VALIDATION_SHARE = 0.1
SHARE_OF_STEPS = 0.2  # by which networks of p(theta|x) with few and with many components are compared
MIN_SIMULATIONS = 20
S = TypeVar("S", bound=Simulated)


def fit_posterior(
    theta: Any,
    x: Any,
    *,
    prior: Prior,
    method: str = "posterior",
    missing: str = "refuse",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    observe: Observer | None = None,
) -> Posterior:
    """Learns the posterior of parameters theta `[N, D]`, drawn from the prior, from their simulations x.

    Args:
        theta: Parameters of N simulations.
        x: Results `[N, X]`, or `[N, T, X]` for T independent trials with the same parameters (only with method "likelihood").
        prior: The law of theta: `Box`, `Normal`, `MultivariateNormal`, `LogUniform`, `LogNormal`, or a `Product` of them.
        method: "posterior" trains networks of p(theta|x), from which draws are immediate. "likelihood" trains networks of
            p(x|theta) and draws with particles, which takes seconds for an observation; it is better where the likelihood is
            simpler than the posterior.
        missing: "refuse" raises an error if results contain NaN. "drop" leaves out these simulations, which failed; with method
            "likelihood" the posterior then has the factor p(success|theta), if success depends on theta.
        settings: Changed keys of the configuration: {"train.num_steps": 3000, "likelihood.train.num_steps": 5000}.
        seed: Determines the validation rows, the initial parameters and the noise.
        observe: Called as observe(step, loss, validation NLL) at each report.
    Raises: ValueError if the simulations or the settings cannot be used, or training diverged.
    """
    changes = {"seed": seed, "method": method, **(settings or {})}
    config = resolve(Simulated, [settings_layer(changes, dict.fromkeys(changes, "settings"))])
    all_theta = as_numbers("theta", theta)
    if len(all_theta) != len(x):
        raise ValueError(f"theta, x: got {len(all_theta)} rows of theta and {len(x)} of x, expected the same number")
    is_success = _successes(x, missing)
    theta, x = (all_theta, x) if is_success.all() else (all_theta[is_success], np.asarray(x)[is_success])
    x = as_results(x)
    check_simulations(theta, x, prior, config.method)
    success = None
    if config.method == "likelihood":
        import_blackjax()
        success = fit_success(all_theta, is_success, config.seed, x.shape[1] if x.ndim == 3 else 1)
    theta = prior.parameters(prior.real(theta))  # rounding may have put parameters on the bounds
    return train_posterior(config, theta, x, prior, success, observe)


def train_posterior(
    config: Simulated,
    theta: Float[np.ndarray, "N D"],
    x: Float[np.ndarray, "N *trials X"],
    prior: Prior,
    success: Success | None = None,
    observe: Observer | None = None,
    validation_share: float = VALIDATION_SHARE,
) -> Posterior:
    """Trains the networks of the configuration's method; a share of the simulations is used for validation.

    Raises: ValueError if there are fewer than 20 simulations, or training diverged.
    """
    if len(theta) < MIN_SIMULATIONS:
        raise ValueError(f"theta: got {len(theta)} simulations, expected at least {MIN_SIMULATIONS}")
    order = np.random.default_rng(config.seed).permutation(len(theta))
    num = max(1, round(validation_share * len(order)))
    train, validation = (rows_of(config.method, theta[part], x[part]) for part in (order[num:], order[:num]))
    columns = columns_of(config.method, prior.names, x.shape[-1])
    run = with_chosen_components(config_of(config, prior), config.method, train, validation)
    fitted = fit_networks(run, train, validation, columns=columns, observe=observe and means_of(observe))
    if fitted.diverged:
        raise ValueError("training diverged: the loss was no longer finite")
    effort = Effort(config.likelihood.num_particles, config.likelihood.num_moves)
    return posterior_of(config.method, fitted.predictor, prior, success, effort)


def check_simulations(theta: np.ndarray, x: np.ndarray, prior: Prior, method: str) -> None:
    """Raises: ValueError if parameters, results, prior and method do not fit together."""
    if method == "both":
        raise ValueError("method: got 'both', expected 'posterior' or 'likelihood'")
    if theta.ndim != 2 or x.ndim not in (2, 3) or len(theta) != len(x):
        expected = "[N, D] and [N, X], or [N, T, X] for T trials"
        raise ValueError(f"theta, x: got shapes {theta.shape} and {x.shape}, expected {expected}")
    if x.ndim == 3 and method == "posterior":
        raise ValueError(f"x: got {x.shape[1]} trials, expected method='likelihood', which multiplies their likelihoods")
    if theta.shape[1] != len(prior.names):
        raise ValueError(f"prior: got {len(prior.names)} parameters, expected {theta.shape[1]}, the columns of theta")
    if (outside := ~np.isfinite(prior.log_prob(theta))).any():
        row = int(outside.argmax())
        raise ValueError(f"theta: got {theta[row]} in row {row}, which has density 0 in the prior ({outside.sum()} such rows)")


def rows_of(method: str, theta: Float[np.ndarray, "N D"], x: Float[np.ndarray, "N *trials X"]) -> Dataset:
    """Returns rows to train on: theta given x, or each trial of x given theta."""
    if method == "posterior":
        return Dataset(x.reshape(len(x), -1), theta)
    trials = x.reshape(len(x), -1, x.shape[-1])
    return Dataset(np.repeat(theta, trials.shape[1], axis=0), trials.reshape(-1, x.shape[-1]))


def columns_of(method: str, names: tuple[str, ...], num_results: int) -> Columns:
    """Names the inputs and the targets of the networks: the parameters, and x_1, x_2, ..."""
    results = tuple(f"x_{i + 1}" for i in range(num_results))
    inputs, targets = (results, names) if method == "posterior" else (names, results)
    return Columns(tuple(map(Column, inputs)), targets)


def config_of(config: Simulated, prior: Prior | None) -> Run:
    """Returns the run of the networks that the method trains; the targets of a posterior are bounded like the prior."""
    if config.method == "likelihood":
        data = config.data.model_copy(update={"target_support": "real"})
        sections = {name: getattr(config.likelihood, name) for name in ("model", "train", "ensemble", "selection")}
        return config.model_copy(update={**sections, "data": data})
    return config if prior is None else with_support(config, prior)


def with_chosen_components(config: Run, method: str, train: Dataset, validation: Dataset) -> Run:
    """Returns the run with its number of components, selected with the validation rows if it is auto.

    Networks of p(theta|x) are compared after fewer steps, since many components of many parameters take long. The best
    number is taken, not the smallest within a standard error, because many components gain more from the remaining steps.
    """
    if config.model.num_components != "auto":
        return config
    if method == "likelihood":
        return with_num_components(config, choose_num_components(config, train, validation).chosen)
    num = max(config.train.report_every, round(SHARE_OF_STEPS * config.train.num_steps))
    steps = min(num, config.train.num_steps)
    shorter = config.model_copy(update={"train": config.train.model_copy(update={"num_steps": steps})})
    return with_num_components(config, choose_num_components(shorter, train, validation).best)


def with_support(config: S, prior: Prior) -> S:
    """Returns the configuration with the bounds of the prior as those of the targets."""
    support = prior.support if np.isfinite(prior.support).any() else "real"
    return config.model_copy(update={"data": config.data.model_copy(update={"target_support": support})})


def _successes(x: Any, missing: str) -> Bool[np.ndarray, " N"]:
    """Returns which simulations have finite results; all, if those that have not are to be refused later."""
    if missing not in ("refuse", "drop"):
        raise ValueError(f"missing: got {missing!r}, expected 'refuse' or 'drop'")
    if missing == "refuse":
        return np.ones(len(x), bool)
    return np.asarray(np.isfinite(np.asarray(x, np.float64)).reshape(len(x), -1).all(axis=1))


def posterior_of(
    method: str, predictor: Predictor, prior: Prior | None, success: Success | None = None, effort: Effort = THOROUGH
) -> Posterior:
    """Returns the posterior of trained networks."""
    if method == "posterior":
        return DirectPosterior(predictor, prior)
    assert prior is not None
    return LikelihoodPosterior(predictor, prior, success, effort)
