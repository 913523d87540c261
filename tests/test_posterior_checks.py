"""Tests of what all posteriors answer, and of their checks, by a posterior that is known exactly."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.posteriors.checks import nearest_ranks, predicted, problems_near
from mdnjax.posteriors.maxima import find_maxima
from mdnjax.posteriors.posterior import Evaluated, as_shape, in_shape
from mdnjax.posteriors.ranks import Ranks

NOISE = 0.5
PRIOR = mdn.Normal([0, 1], 1, ["rate", "size"])
OBSERVED = np.array([0.5, 1.5])


@dataclass(frozen=True, eq=False)
class Exact(mdn.Posterior):
    """The posterior of x = theta + noise, shifted by an error, and moved by another where x_1 is above 1."""

    error: float = 0.0
    local_error: float = 0.0

    @property
    def names(self):
        return PRIOR.names

    def moments(self, x):
        mean = (np.array([0, 1]) + x / NOISE**2) / (1 + 1 / NOISE**2)
        sd = (1 + 1 / NOISE**2) ** -0.5
        return mean + sd * (self.error + self.local_error * (x[..., :1] > 1)), sd

    def sample(self, key, x, shape):
        mean, sd = self.moments(np.asarray(x))
        draws = np.random.default_rng(np.asarray(jax.random.key_data(key))).normal(size=(*as_shape(shape), 2))
        return mean + sd * draws

    def log_prob(self, theta, x):
        mean, sd = self.moments(x)
        return np.sum(-0.5 * ((theta - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi)), axis=1)

    def modes(self, x):
        raise NotImplementedError

    def propose(self, key, x, num):
        raise NotImplementedError

    def evaluate(self, key, test, num):
        draws = np.stack([self.sample(part, x, num) for part, x in zip(jax.random.split(key, len(test.x)), test.x, strict=True)])
        below = np.sum(draws < test.y[:, None], axis=1)
        mean = self.moments(test.x)[0]
        distances = (np.sum((values - mean) ** 2, axis=-1) for values in (np.moveaxis(draws, 1, 0), test.y))
        return Evaluated(Ranks(below, np.sum(np.less(*distances), axis=0), num), np.zeros(len(test.x)), np.asarray(test.x))


def posterior(**errors: float) -> Any:
    return Exact(None, PRIOR, **errors)  # pyright: ignore


def simulate(theta):
    return theta + NOISE * np.random.default_rng(5).normal(size=theta.shape)


def test_ranks_are_uniform_for_the_exact_posterior_alone():
    key = jax.random.key(0)
    assert not mdn.sbc(key, posterior(), simulate, 300).ranks.problems(PRIOR.names)
    found = mdn.sbc(key, posterior(error=1.0), simulate, 300).ranks.problems(PRIOR.names)
    *of_parameters, of_regions = found
    assert [sentence.split(" are shifted")[0] for sentence in of_parameters] == [
        f"the posteriors of {name}" for name in PRIOR.names
    ]
    assert of_regions.startswith("highest-density regions contain another share of true parameters: ")


def test_simulations_that_fail_have_no_rank():
    def fails_often(theta):
        return np.where(theta[:, :1] > 0, np.nan, simulate(theta))

    assert 100 < len(mdn.sbc(jax.random.key(0), posterior(), fails_often, 300).x) < 200
    with pytest.raises(ValueError, match=r"sbc: got no simulation with finite results among 30"):
        mdn.sbc(jax.random.key(0), posterior(), lambda theta: np.nan * theta, 30)
    with pytest.raises(ValueError, match=r"simulator: got results of shape \(30,\), expected \[30, X\]"):
        mdn.sbc(jax.random.key(0), posterior(), lambda theta: theta[:, 0], 30)


def test_an_error_in_one_place_is_found_there_and_nowhere_else():
    evaluated = mdn.sbc(jax.random.key(1), posterior(local_error=1.5), simulate, 1000)
    found = problems_near(evaluated, np.array([[1.5, 1.0], [-1.0, 1.0]]), PRIOR.names)
    assert [len(each) for each in found] == [3, 0]
    near = nearest_ranks(evaluated, [1.5, 1.0])
    assert near.below.shape == (100, 2)
    brute = np.argsort(np.sum(((evaluated.x - [1.5, 1.0]) / evaluated.x.std(axis=0)) ** 2, axis=1))[:100]
    np.testing.assert_array_equal(near.below, evaluated.ranks.below[brute])


def test_simulations_with_draws_reproduce_the_observation_unless_the_posterior_is_wrong():
    right = mdn.predictive_check(jax.random.key(2), posterior(), simulate, OBSERVED)
    assert right.simulated.shape == (2000, 2)
    assert min(right.p_values()) > 0.1
    assert right.problems() == []
    wrong = mdn.predictive_check(jax.random.key(2), posterior(error=6), simulate, OBSERVED)
    assert len(wrong.problems()) == 2
    assert wrong.problems()[0].startswith("x_1 = 0.5 lies outside of all 2000 simulations with draws of the posterior")
    assert wrong.p_values() == pytest.approx([2 / 2001] * 2)
    results = np.repeat(simulate(PRIOR.sample(jax.random.key(0), (5,)))[:, None], 3, axis=1)
    trials = predicted(lambda _: results, np.zeros((5, 2)), results[0])
    assert trials.names == ("the mean of x_1", "the mean of x_2", "the sd of x_1", "the sd of x_2")
    np.testing.assert_allclose(trials.observed, [*results[0, 0], 0, 0], atol=1e-12)
    with pytest.raises(ValueError, match=r"x: got shape \(3,\), expected \(2,\)"):
        predicted(simulate, np.zeros((5, 2)), np.zeros(3))


def test_shapes_of_draws_marginals_and_data_sets_of_arviz():
    key = jax.random.key(3)
    draws = posterior().sample(key, OBSERVED, 6)
    np.testing.assert_array_equal(in_shape(draws, as_shape((2, 3))), draws.reshape(2, 3, 2))
    np.testing.assert_array_equal(posterior().marginal(key, OBSERVED, "size", 6), draws[:, 1:])
    np.testing.assert_array_equal(posterior().marginal(key, OBSERVED, ["size", "rate"], 6), draws[:, ::-1])
    with pytest.raises(ValueError, match=r"names: got 'sise', expected parameters: rate, size; did you mean 'size'\?"):
        posterior().marginal(key, OBSERVED, "sise", 6)
    with pytest.raises(ValueError, match="shape: got 0, expected a positive number"):
        posterior().sample(key, OBSERVED, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of ArviZ itself
        dataset = posterior().to_arviz(key, OBSERVED, 6)
    np.testing.assert_array_equal(dataset["size"].values, draws[None, :, 1])


def test_the_corner_plot_names_its_parameters_and_marks_the_truth(tmp_path):
    figure = posterior().plot(jax.random.key(4), OBSERVED, truth=[0.3, 1.2], num=500)
    labels = {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes}
    assert {"rate", "size"} <= labels
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert any(np.isclose(place, 0.3) for place in lines)
    with pytest.raises(ValueError, match=r"truth: got shape \(3,\), expected \[2\]"):
        posterior().plot(jax.random.key(4), OBSERVED, truth=[0, 0, 0])


def test_ascents_find_all_peaks_and_their_shares():
    places, shares = np.array([[0.0, 0.0], [4.0, 1.0]]), np.array([0.3, 0.7])
    sd = np.array([0.2, 1.0])
    generator = np.random.default_rng(0)
    which = generator.random(200) > shares[0]
    draws = places[which.astype(int)] + sd[which.astype(int), None] * generator.normal(size=(200, 2))

    def log_density(z):
        squares = jnp.sum(((z - places) / sd[:, None]) ** 2, axis=1)
        return jax.nn.logsumexp(jnp.log(shares) - 0.5 * squares - 2 * jnp.log(sd))

    peaks = find_maxima(jax.tree_util.Partial(log_density), draws)
    order = np.argsort(peaks.z[:, 0])
    np.testing.assert_allclose(peaks.z[order], places, atol=0.01)
    np.testing.assert_allclose(peaks.mass[order], [np.mean(~which), np.mean(which)], atol=0.05)
