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
# Statistics that search or integrate along the line compile slowly, so that these cases leave them out: similar ones test them.
WITHOUT_LINE_STATISTICS = {"full", "student_t", "positive"}
OF_DRAWS = {"sample", "energy_score"}
OF_LOCATION_ALONE = {"mean", "locations"}  # a NaN scale does not affect these, except on a support


def line_statistics(mixture):
    """Returns the statistics that search or integrate along the whole line, rows first."""
    modes = mdn.modes(mixture)
    return {
        "modes": jnp.concatenate([modes.y[..., 0], modes.mass, modes.log_density], axis=-1)[:, :1],
        "highest_mode": mdn.highest_mode(mixture),
        "hdr_mass": mdn.hdr_mass(mixture, Y),
        "entropy": mdn.entropy(mixture).value,
        "crps": mdn.crps(mixture, Y),
        "cde_loss": mdn.cde_loss(mixture, Y),
        "expected_shortfall": mdn.expected_shortfall(mixture, 0.1),
    }


def other_statistics(mixture):
    """Returns every other statistic."""
    return {
        "mean": mdn.mean(mixture),
        "variance": mdn.variance(mixture),
        "covariance": mdn.covariance(mixture),
        "skewness": mdn.skewness(mixture),
        "kurtosis": mdn.kurtosis(mixture),
        "median": mdn.median(mixture),
        "quantile": mdn.quantile(mixture, 0.3),
        "central_interval": mdn.central_interval(mixture, 0.9),
        "cdf": mdn.cdf(mixture, Y),
        "survival": mdn.survival(mixture, Y),
        "interval_prob": mdn.interval_prob(mixture, Y - 0.4, Y + 1),
        "box_prob": mdn.box_prob(mixture, Y - 0.4, Y + 1).value,
        "log_prob": mdn.log_prob(mixture, Y),
        "prob": mdn.prob(mixture, Y),
        "responsibilities": mdn.responsibilities(mixture, Y),
        "hdr_mass_by_samples": mdn.hdr_mass_by_samples(KEY, mixture, Y, 64).value,
        "entropy_by_samples": mdn.entropy_by_samples(KEY, mixture, 64).value,
        "energy_score": mdn.energy_score(KEY, mixture, Y, 16).value,
        "pit": mdn.pit(mixture, Y),
        "nll": mdn.nll(mixture, Y),
        "sample": mdn.sample(KEY, mixture),
    }


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
        return {**other_statistics(mixture), **({} if case in WITHOUT_LINE_STATISTICS else line_statistics(mixture))}

    for name, values in jax.jit(statistics)(mixture).items():
        values = np.asarray(values).reshape(5, -1)
        assert np.isfinite(values[0]).all(), name
        wrong = values[[1, 2, 4]] if name in OF_LOCATION_ALONE and support is None else values[1:]
        wrong = wrong[:-1] if name in OF_DRAWS else wrong
        assert np.isnan(wrong).all(), (name, wrong)
