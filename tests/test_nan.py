"""NaN in, NaN out: every statistic of a mixture with a NaN is NaN, and the other rows are not affected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import Diagonal, Full, Laplace, StudentT, Support

KEY, Y = jax.random.key(0), jnp.full((5, 1), 0.5)
CASES = {
    "diagonal": (lambda loc, scale: Diagonal(loc, scale), None),
    "full": (lambda loc, scale: Full(loc, 1 / scale[..., None]), None),
    "laplace": (lambda loc, scale: Laplace(loc, scale), None),
    "student_t": (lambda loc, scale: StudentT(loc, scale, jnp.full_like(loc, 5.0)), None),
    "positive": (lambda loc, scale: Diagonal(loc, scale), Support((0.0,), (np.inf,))),
    "box": (lambda loc, scale: Diagonal(loc, scale), Support((0.0,), (2.0,))),
}
OF_DRAWS = {"sample", "energy_score"}
OF_LOCATION_ALONE = {"mean", "locations"}  # a NaN scale does not affect these, except on a support
STATISTICS = {
    "mean": mdn.mean,
    "variance": mdn.variance,
    "covariance": mdn.covariance,
    "skewness": mdn.skewness,
    "kurtosis": mdn.kurtosis,
    "cdf": lambda mixture: mdn.cdf(mixture, Y),
    "survival": lambda mixture: mdn.survival(mixture, Y),
    "interval_prob": lambda mixture: mdn.interval_prob(mixture, Y - 0.4, Y + 1),
    "log_prob": lambda mixture: mdn.log_prob(mixture, Y),
    "prob": lambda mixture: mdn.prob(mixture, Y),
    "responsibilities": lambda mixture: mdn.responsibilities(mixture, Y),
    "pit": lambda mixture: mdn.pit(mixture, Y),
    "nll": lambda mixture: mdn.nll(mixture, Y),
    "sample": lambda mixture: mdn.sample(KEY, mixture),
}
# These search, integrate or draw, which takes long to compile.
SLOW = {
    "modes": lambda mixture: locations_and_masses(mdn.modes(mixture)),
    "highest_mode": mdn.highest_mode,
    "hdr_mass": lambda mixture: mdn.hdr_mass(mixture, Y),
    "entropy": lambda mixture: mdn.entropy(mixture).value,
    "crps": lambda mixture: mdn.crps(mixture, Y),
    "cde_loss": lambda mixture: mdn.cde_loss(mixture, Y),
    "expected_shortfall": lambda mixture: mdn.expected_shortfall(mixture, 0.1),
    "median": mdn.median,
    "quantile": lambda mixture: mdn.quantile(mixture, 0.3),
    "central_interval": lambda mixture: mdn.central_interval(mixture, 0.9),
    "box_prob": lambda mixture: mdn.box_prob(mixture, Y - 0.4, Y + 1).value,
    "hdr_mass_by_samples": lambda mixture: mdn.hdr_mass_by_samples(KEY, mixture, Y, 64).value,
    "entropy_by_samples": lambda mixture: mdn.entropy_by_samples(KEY, mixture, 64).value,
    "energy_score": lambda mixture: mdn.energy_score(KEY, mixture, Y, 16).value,
}
# Each slow statistic is tested with a family on the whole line and with one on a support.
SLOW_OF_CASE = {
    "diagonal": ("modes", "highest_mode", "hdr_mass", "entropy", "median", "central_interval", "box_prob"),
    "full": ("central_interval", "hdr_mass_by_samples", "entropy_by_samples", "energy_score", "box_prob"),
    "laplace": ("crps", "cde_loss", "expected_shortfall", "quantile", "hdr_mass_by_samples"),
    "student_t": ("median", "box_prob"),
    "positive": ("quantile", "entropy", "cde_loss", "entropy_by_samples", "box_prob"),
    "box": (
        *("modes", "highest_mode", "hdr_mass", "crps", "expected_shortfall", "median", "central_interval"),
        *("hdr_mass_by_samples", "energy_score"),
    ),
}


def locations_and_masses(modes):
    """Returns the location, mass and log density of the highest mode, rows first."""
    return jnp.concatenate([modes.y[..., 0], modes.mass, modes.log_density], axis=-1)[:, :1]


def test_every_slow_statistic_is_tested_on_the_line_and_on_a_support():
    for on_support in (False, True):
        cases = [case for case, (_, support) in CASES.items() if (support is not None) == on_support]
        assert {name for case in cases for name in SLOW_OF_CASE[case]} == set(SLOW)


@pytest.mark.parametrize("bad", range(3), ids=["logits", "loc", "scale"])
def test_probabilities_up_to_infinity_are_nan_too(bad):
    leaves = [np.zeros((1, 2)), np.zeros((1, 2, 2)), np.ones((1, 2, 2))]
    leaves[bad][0, 0] = np.nan
    y = np.full((1, 2), np.inf)
    for component in (Diagonal(*leaves[1:]), Full(leaves[1], 1 / leaves[2][..., None] * np.array([[1.0, 0.0], [0.5, 1.0]]))):
        mixture = mdn.Mixture(*jax.tree.map(jnp.asarray, (leaves[0], component)))
        first = mdn.marginal(mixture, (0,))
        values = [mdn.cdf(first, y[:, :1]), mdn.survival(first, y[:, :1]), mdn.box_prob(mixture, -y, y).value]
        assert np.isnan(values).all()
        assert not mdn.log_prob(mixture, y) > -np.inf


@pytest.mark.parametrize("case", CASES)
def test_statistics_of_a_mixture_with_a_nan_are_nan(case):
    """The second row has a NaN among its logits, the third among its locations, the fourth among its scales.

    The fifth row has a NaN location in a component of weight 0, which is never drawn.
    """
    make, support = CASES[case]
    generator = np.random.default_rng(0)
    logits, loc, scale = generator.normal(size=(5, 3)), generator.normal(size=(5, 3, 1)), generator.uniform(0.5, 1, (5, 3, 1))
    logits[1, 0], loc[2, 1], scale[3, 2], logits[4, 1], loc[4, 1] = np.nan, np.nan, np.nan, -np.inf, np.nan
    mixture = mdn.Mixture(jnp.asarray(logits), make(jnp.asarray(loc), jnp.asarray(scale)))

    def statistics(mixture):
        mixture = mixture if support is None else mdn.warp(mixture, support)
        functions = STATISTICS | {name: SLOW[name] for name in SLOW_OF_CASE[case]}
        return {name: function(mixture) for name, function in functions.items()}

    for name, values in jax.jit(statistics)(mixture).items():
        values = np.asarray(values).reshape(5, -1)
        assert np.isfinite(values[0]).all(), name
        wrong = values[[1, 2, 4]] if name in OF_LOCATION_ALONE and support is None else values[1:]
        wrong = wrong[:-1] if name in OF_DRAWS else wrong
        assert np.isnan(wrong).all(), (name, wrong)
