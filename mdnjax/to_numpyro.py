"""Converts a mixture to a distribution of numpyro, for use in a probabilistic program (`pip install -e '.[numpyro]'`)."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from mdnjax.components import Component, Diagonal, Full, Isotropic, Laplace, LowRank, Support, Warped
from mdnjax.mixture import Mixture


def to_numpyro(mixture: Mixture) -> Any:
    """Returns the same p(y|x) as a numpyro distribution of batch shape `[*batch]` and event shape `[D]`.

    It is a `MixtureSameFamily`, or on a bounded support a `TransformedDistribution` of one.
    Raises: ImportError if numpyro is not installed; ValueError if the targets have different supports.
    """
    import numpyro.distributions as dist

    if isinstance(mixture.component, Warped):
        on_real_line = to_numpyro(Mixture(mixture.logits, mixture.component.component))
        return dist.TransformedDistribution(on_real_line, _transforms(dist, mixture.component.support))
    return dist.MixtureSameFamily(dist.CategoricalLogits(mixture.logits), _component(dist, mixture.component))


def _component(dist: Any, component: Component) -> Any:
    match component:
        case Isotropic():
            return dist.Normal(component.loc, component.scale[..., None]).to_event(1)
        case Diagonal():
            return dist.Normal(component.loc, component.scale).to_event(1)
        case Laplace():
            return dist.Laplace(component.loc, component.scale).to_event(1)
        case Full():
            precision = component.precision_tril @ jnp.swapaxes(component.precision_tril, -1, -2)
            return dist.MultivariateNormal(component.loc, precision_matrix=precision)
        case LowRank():
            return dist.LowRankMultivariateNormal(component.loc, component.factor, component.scale**2)
    return dist.StudentT(component.df, component.loc, component.scale).to_event(1)  # pyright: ignore


def _transforms(dist: Any, support: Support) -> list[Any]:
    if len(set(zip(*support, strict=True))) > 1:
        raise ValueError(f"to_numpyro: got targets with different supports, {support}, expected the same support for all targets")
    low, high = support.low[0], support.high[0]
    parts = {
        (True, True): [dist.transforms.SigmoidTransform(), dist.transforms.AffineTransform(low, high - low)],
        (True, False): [dist.transforms.ExpTransform(), dist.transforms.AffineTransform(low, 1.0)],
        (False, True): [
            dist.transforms.AffineTransform(0.0, -1.0),
            dist.transforms.ExpTransform(),
            dist.transforms.AffineTransform(high, -1.0),
        ],
        (False, False): [],
    }[math.isfinite(low), math.isfinite(high)]
    return [dist.transforms.IndependentTransform(part, 1) for part in parts]
