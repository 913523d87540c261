"""Candidates for further simulations: draws of a prior restricted to where a posterior is."""

from __future__ import annotations

import jax
import numpy as np
from scipy.linalg import solve_triangular

from mdnjax.posteriors.priors import Prior
from mdnjax.types import Float, PRNGKey

MARGIN = 0.1  # by which the ellipsoid reaches beyond the farthest draw, as a share of its distance
MIN_VARIANCE = 1e-12  # of the numbers of the real line along any direction, as a share of the largest one


def draws_near(key: PRNGKey, prior: Prior, draws: Float[np.ndarray, "S D"], num: int) -> Float[np.ndarray, "A D"]:
    """Returns draws of the prior restricted to an ellipsoid around the draws of a posterior; of `num` candidates those accepted.

    Bounded parameters are in the box of `Prior.within`. The others belong to numbers z with the density p(z) of standard normal
    ones. Candidates z = c + F b are uniform in the ellipsoid |b| <= r and accepted with probability p(z) / (p(c) exp(r |F^T c|)),
    which is at most 1 because log p is below its tangent at c. Most are accepted if the posterior is narrower than the prior,
    of whose own draws next to none would be in the ellipsoid then.
    """
    box_key, key = jax.random.split(key)
    generator, free = np.random.default_rng(np.asarray(jax.random.key_data(key))), ~prior.is_bounded
    z, num_free = prior.real(prior.within(draws).sample(box_key, (num,))), int(free.sum())
    centre, factor, radius = _ellipsoid(prior.real(draws)[:, free])
    direction = generator.normal(size=(num, num_free))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    z[:, free] = centre + radius * (generator.random((num, 1)) ** (1 / num_free) * direction) @ factor.T
    log_share = 0.5 * (centre @ centre - np.sum(z[:, free] ** 2, axis=1)) - radius * np.linalg.norm(factor.T @ centre)
    return prior.parameters(z[np.log(generator.random(num)) < log_share])


def _ellipsoid(z: Float[np.ndarray, "S F"]) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, "F F"], float]:
    """Returns the centre c, the factor F and the radius r of an ellipsoid c + F b with |b| <= r that contains all z."""
    centre, covariance = z.mean(axis=0), np.atleast_2d(np.cov(z.T))
    factor = np.linalg.cholesky(covariance + MIN_VARIANCE * np.trace(covariance) * np.eye(len(centre)))
    distance = np.linalg.norm(solve_triangular(factor, (z - centre).T, lower=True), axis=0)
    return centre, factor, (1 + MARGIN) * float(distance.max())
