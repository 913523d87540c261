"""Statistics of mixtures, one file for each kind; each is also a method of `Mixture`."""

from mdnjax.mixture import as_methods
from mdnjax.statistics.entropy import entropy, entropy_bounds, entropy_by_samples
from mdnjax.statistics.modes import Modes, branches, highest_mode, modes
from mdnjax.statistics.moments import covariance, kurtosis, mean, skewness, split_variance, variance
from mdnjax.statistics.pooling import align, pool, reduce
from mdnjax.statistics.probabilities import box_prob, cdf, interval_prob, survival
from mdnjax.statistics.quantiles import central_interval, expected_shortfall, median, quantile
from mdnjax.statistics.regions import Region, hdr, hdr_level, hdr_mass, hdr_mass_by_samples
from mdnjax.statistics.samples import sample, sample_with_gradient, temper
from mdnjax.statistics.targets import condition, marginal

as_methods(mean, variance, covariance, skewness, kurtosis, split_variance, median, quantile, central_interval, expected_shortfall)
as_methods(
    cdf, survival, interval_prob, box_prob, entropy, entropy_bounds, modes, highest_mode, branches, hdr, hdr_level, hdr_mass
)
as_methods(temper, condition, marginal, pool, reduce, align)
as_methods(sample, sample_with_gradient, entropy_by_samples, hdr_mass_by_samples, key_first=True)

__all__ = [
    "Modes",
    "Region",
    "align",
    "box_prob",
    "branches",
    "cdf",
    "central_interval",
    "condition",
    "covariance",
    "entropy",
    "entropy_bounds",
    "entropy_by_samples",
    "expected_shortfall",
    "hdr",
    "hdr_level",
    "hdr_mass",
    "hdr_mass_by_samples",
    "highest_mode",
    "interval_prob",
    "kurtosis",
    "marginal",
    "mean",
    "median",
    "modes",
    "pool",
    "quantile",
    "reduce",
    "sample",
    "sample_with_gradient",
    "skewness",
    "split_variance",
    "survival",
    "temper",
    "variance",
]
