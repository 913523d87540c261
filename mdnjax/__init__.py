"""Conditional density estimation with mixture density networks, as pure functions in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from mdnjax.calibration import recalibrate
from mdnjax.components import FAMILIES, Diagonal, Full, Isotropic, Laplace, LowRank, StudentT, Support, Warped
from mdnjax.deprecated import PUBLIC_NAMES, warn_of
from mdnjax.diagnostics import Diagnosis, diagnose, remedies
from mdnjax.evaluation import Evaluation, evaluate, permutation_importance
from mdnjax.export import export_model
from mdnjax.fit_examples import fit
from mdnjax.guarantees import (
    conformal,
    guaranteed_bounds,
    guaranteed_intervals,
    guaranteed_regions,
    in_guaranteed_region,
    with_guarantee,
)
from mdnjax.mixture import Mixture, affine, locations, log_prob, log_weights, num_targets, prob, responsibilities, warp, weights
from mdnjax.model import Model, make_mdn, make_mdn_on, make_model
from mdnjax.model_file import load, save
from mdnjax.networks import Network, make_mlp
from mdnjax.outside import likeness, unlike_training
from mdnjax.posteriors.checks import Predicted, predictive_check, sbc
from mdnjax.posteriors.direct import DirectPosterior
from mdnjax.posteriors.file import load_posterior, save_posterior
from mdnjax.posteriors.fit import fit_posterior
from mdnjax.posteriors.likelihood import LikelihoodPosterior
from mdnjax.posteriors.posterior import Posterior
from mdnjax.posteriors.priors import Box, LogNormal, LogUniform, MultivariateNormal, Normal, Prior, Product
from mdnjax.posteriors.simulations import simulate
from mdnjax.predictor import Predictor
from mdnjax.quadrature import Estimate
from mdnjax.recurrent import Recurrent, make_recurrent
from mdnjax.runtime import use_compile_cache
from mdnjax.scores import calibration_error, cde_loss, coverage, crps, crps_by_quadrature, energy_score, hdr_coverage, nll, pit
from mdnjax.slices import Slice, Slices, evaluate_slices
from mdnjax.statistics import (
    Modes,
    Region,
    align,
    box_prob,
    branches,
    cdf,
    central_interval,
    condition,
    covariance,
    entropy,
    entropy_bounds,
    entropy_by_samples,
    expected_shortfall,
    hdr,
    hdr_level,
    hdr_mass,
    hdr_mass_by_samples,
    highest_mode,
    interval_prob,
    kurtosis,
    marginal,
    mean,
    median,
    modes,
    pool,
    quantile,
    reduce,
    sample,
    sample_with_gradient,
    skewness,
    split_variance,
    survival,
    temper,
    variance,
)
from mdnjax.table_of_predictions import predict_table
from mdnjax.to_numpyro import to_numpyro
from mdnjax.training.optimizers import make_optimizer
from mdnjax.training.population import train_loop
from mdnjax.training.steps import Batch, TrainState, init_state, init_steady_state, make_steady_step, make_train_step

if TYPE_CHECKING:
    from mdnjax import plots
    from mdnjax.estimator import MDNRegressor

__version__ = "0.1.0"

__all__ = ["FAMILIES", "Batch", "Box", "Diagnosis", "Diagonal", "DirectPosterior", "Estimate", "Evaluation", "Full"]
__all__ += ["Isotropic", "Laplace", "LikelihoodPosterior", "LogNormal", "LogUniform", "LowRank", "MDNRegressor", "Mixture"]
__all__ += ["Model", "Modes", "MultivariateNormal", "Network", "Normal", "Posterior", "Predicted", "Predictor", "Prior"]
__all__ += ["Product", "Recurrent", "Region", "Slice", "Slices", "StudentT", "Support", "TrainState", "Warped"]
__all__ += ["affine", "align", "box_prob", "branches", "calibration_error", "cde_loss", "cdf", "central_interval"]
__all__ += ["condition", "conformal", "covariance", "coverage", "crps", "crps_by_quadrature", "diagnose", "energy_score"]
__all__ += ["entropy", "entropy_bounds", "entropy_by_samples", "evaluate", "evaluate_slices", "expected_shortfall"]
__all__ += ["export_model", "fit", "fit_posterior", "guaranteed_bounds", "guaranteed_intervals", "guaranteed_regions", "hdr"]
__all__ += ["hdr_coverage", "hdr_level", "hdr_mass", "hdr_mass_by_samples", "highest_mode", "in_guaranteed_region"]
__all__ += [
    "init_state",
    "init_steady_state",
    "interval_prob",
    "kurtosis",
    "likeness",
    "load",
    "load_posterior",
    "locations",
    "log_prob",
]
__all__ += ["log_weights", "make_mdn", "make_mdn_on", "make_mlp", "make_model", "make_optimizer", "make_recurrent"]
__all__ += ["make_steady_step", "make_train_step", "marginal", "mean", "median", "modes", "nll", "num_targets"]
__all__ += ["permutation_importance", "pit", "plots", "pool", "predictive_check", "prob", "quantile", "recalibrate", "reduce"]
__all__ += ["remedies", "responsibilities", "sample", "sample_with_gradient", "save", "save_posterior", "sbc", "simulate"]
__all__ += [
    "skewness",
    "split_variance",
    "survival",
    "temper",
    "to_numpyro",
    "train_loop",
    "unlike_training",
    "use_compile_cache",
    "variance",
]
__all__ += ["predict_table", "warp", "weights", "with_guarantee"]


def __dir__() -> list[str]:
    """Returns the public names and no others."""
    return sorted([*__all__, "__doc__", "__version__"])


def __getattr__(name: str) -> Any:
    """Imports `MDNRegressor` and `plots` on first use, which need more packages, and resolves deprecated names with a warning."""
    if name in PUBLIC_NAMES:
        warn_of(f"mdnjax.{name}", f"mdnjax.{PUBLIC_NAMES[name]}")
        return globals()[PUBLIC_NAMES[name]]
    if name == "plots":
        return importlib.import_module("mdnjax.plots")
    if name != "MDNRegressor":
        raise AttributeError(f"module 'mdnjax' has no attribute {name!r}")
    try:
        from mdnjax.estimator import MDNRegressor
    except ImportError as error:
        raise ImportError(f"MDNRegressor needs scikit-learn: pip install -e '.[tabular]' ({error})") from error
    return MDNRegressor
