"""By which factor the scales of a pooled mixture are multiplied, so that it is not too wide.

A mixture of predictive distributions is wider than they are, and its error is smaller than theirs. If each of them is as wide as
its own errors, the mixture is too wide. Source: Gneiting and Ranjan (2013), Combining predictive distributions: the
spread-adjusted linear pool, whose factor maximises the likelihood of rows that no network was trained on.

Here such rows exist for the mixture of the settings, but not for the whole mixture: the networks of a setting hold out different
rows. Its factor is extrapolated: if pooling the settings reduces the best factor from a to b, pooling the networks of each
setting reduces it further, by (b / a)^EXTRAPOLATION.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from mdnjax.data.dataset import mean_over_rows
from mdnjax.types import Float

# Validation losses are computed with the scales multiplied by each of these factors.
SCALE_FACTORS = np.exp(0.1 * np.arange(-12, 9)).astype(np.float32)
UNCHANGED = 12  # the place of the factor 1
# Chosen on rows left out of the training rows of boston, concrete, energy and yacht, and on five simulated laws, where each of
# 0.25, 0.5 and 0.75 is better than 0 and 1.
EXTRAPOLATION = 0.5
MIN_FACTOR = 0.3


def scale_factor(
    log_prob: Float[np.ndarray, "F C V"],
    weights: Float[np.ndarray, " C"],
    example_weight: Float[np.ndarray, " V"] | None,
    rotate: bool,
) -> float:
    """Returns the factor of a mixture of C settings, at most 1, from log densities of V validation rows by SCALE_FACTORS.

    Args: with `rotate` each row is a validation row of one network of a setting, otherwise of all of them.
    """
    weights = weights / np.sum(weights)
    used = weights > 0
    pooled = np.asarray(logsumexp(log_prob[:, used], axis=1, b=weights[used][:, None]))
    single = np.tensordot(log_prob[:, used], weights[used], axes=(1, 0))
    of_pool, of_single = (_best(mean_over_rows(values, example_weight)) for values in (pooled, single))
    further = min(of_pool / of_single, 1.0) ** EXTRAPOLATION if rotate else 1.0
    return float(np.clip(min(of_pool, 1.0) * further, MIN_FACTOR, 1.0))


def _best(scores: Float[np.ndarray, " F"]) -> float:
    """Returns the factor with the highest score, by a parabola through the highest score and its neighbours."""
    place = int(np.clip(np.argmax(scores), 1, len(scores) - 2))
    before, highest, after = scores[place - 1 : place + 2]
    curvature = before - 2 * highest + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float(np.exp(np.log(SCALE_FACTORS[place]) + 0.1 * np.clip(shift, -1, 1)))
