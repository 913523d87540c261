"""Conditional density estimation with mixture density networks, as pure functions in JAX."""

from mdnjax.components import FAMILIES, Diagonal
from mdnjax.mixture import (
    Mixture,
    affine,
    cdf,
    log_prob,
    log_weights,
    mean,
    responsibilities,
    sample,
    variance,
    weights,
)
from mdnjax.model import Model, make_mdn, make_model
from mdnjax.networks import Network, make_mlp
from mdnjax.optimizers import make_optimizer
from mdnjax.population import fit
from mdnjax.scores import coverage, crps, nll, pit
from mdnjax.train import Batch, TrainState, init_state, make_train_step
from mdnjax.trained import load

__all__ = [
    "FAMILIES",
    "Batch",
    "Diagonal",
    "Mixture",
    "Model",
    "Network",
    "TrainState",
    "affine",
    "cdf",
    "coverage",
    "crps",
    "fit",
    "init_state",
    "load",
    "log_prob",
    "log_weights",
    "make_mdn",
    "make_mlp",
    "make_model",
    "make_optimizer",
    "make_train_step",
    "mean",
    "nll",
    "pit",
    "responsibilities",
    "sample",
    "variance",
    "weights",
]
