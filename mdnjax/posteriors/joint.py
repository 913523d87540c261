"""The joint density of parameters and one observation, as a value that compiled functions take.

Posteriors of networks with the same shapes share their compiled programs, since a program has the networks as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from mdnjax.config import schema
from mdnjax.config.numbers import split
from mdnjax.data.scaler import relative_transform
from mdnjax.ensemble import predict_compiled
from mdnjax.mixture import log_prob
from mdnjax.posteriors.law import units_of
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.success import Success
from mdnjax.predictor import Predictor


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Joint:
    """log p(theta) + log p(x|theta), by networks of p(x|theta), whose inputs are parameters and whose targets are x.

    Parameters are those that belong to numbers z of the law; observations are in the units in which the networks predict.
    `limits` are those of the networks' inputs.
    """

    networks: Any  # Networks; not annotated, since jax calls the constructor with leaves of any type
    numbers: Any
    transform: Any  # TargetTransform
    limits: Any
    law: Any  # Law
    units: Any  # ParameterUnits
    success: Any  # Success or None
    success_units: Any
    shape: schema.Model = field(metadata={"static": True})

    def log_likelihood(self, trials: Any, z: Any) -> Any:
        """Computes log p(x|theta) of trials `[T, X]`, and log p(success|theta) if it depends on theta."""
        inputs = jnp.clip(self.law.standardised(self.units, z), *self.limits).astype(z.dtype)
        mixture = predict_compiled(self.shape, self.numbers, self.networks, self.transform, inputs)
        log_likelihood = jnp.sum(jax.vmap(lambda x: log_prob(mixture, x))(trials))
        if self.success is None:
            return log_likelihood
        return log_likelihood + self.success.log_prob(self.law.standardised(self.success_units, z), len(trials))

    def log_density(self, trials: Any, z: Any) -> Any:
        """Computes log p(theta) + log p(x|theta) of parameters and trials, up to a constant."""
        return self.log_likelihood(trials, z) + self.law.relative_log_prob(z)


def joint_of(predictor: Predictor, prior: Prior, success: Success | None) -> Joint:
    """Returns the joint density of the networks of a likelihood and a prior."""
    scaler, (shape, numbers) = predictor.scaler, split(predictor.model)
    units, limits = units_of(prior.law, scaler.x_mean, scaler.x_sd), (scaler.x_low, scaler.x_high)
    success_units = None if success is None else units_of(prior.law, success.mean, success.sd)
    networks, transform = predictor.networks, relative_transform(scaler)
    return Joint(networks, numbers, transform, limits, prior.law, units, success, success_units, shape)
