"""Tests of the data sources with an exact density, against published entropies, Monte Carlo and numerical integrals."""

import numpy as np
import pytest

from mdnjax.data import SOURCES, robot_arm

# Published entropy and its accuracy; inputs x at which the density is integrated over y, and the range of y.
KNOWN = {
    "sinusoid": (1.28800943736, 1e-8, [-5.0, 3.3], (-10.5, 10.5)),
    "bishop_curve": (-1.282348, 1e-6, [-0.05, 0.31, 0.5, 0.97], (0.0, 1.0)),
    "econ_density": (1.95376, 1e-5, [0.0, 2.0], (-60.0, 60.0)),
    "arma_jump": (-1.36006, 1e-5, [-0.4, 0.2], (-3.0, 3.0)),
    "skew_normal": (-1.61640, 1e-5, [-1.0, 0.0, 1.3], (-3.0, 3.0)),
}


@pytest.fixture(scope="module", params=KNOWN)
def problem(request):
    make_splits, truth = SOURCES[request.param]
    return request.param, truth, make_splits(0, num_train=200_000, num_validation=10, num_test=10).train


def test_entropy_agrees_with_the_published_value(problem):
    name, truth, _ = problem
    assert truth.entropy() == pytest.approx(KNOWN[name][0], abs=KNOWN[name][1])


def test_entropy_agrees_with_the_mean_nll_of_draws(problem):
    _, truth, draws = problem
    nll = -truth.log_prob(draws.x, draws.y)
    assert np.isfinite(nll).all()
    assert nll.mean() == pytest.approx(truth.entropy(), abs=5 * nll.std() / np.sqrt(len(nll)) + 1e-5)


def test_the_exact_density_integrates_to_one_and_has_the_mean_of_nearby_draws(problem):
    name, truth, draws = problem
    _, _, places, (low, high) = KNOWN[name]
    node, weight = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(low, high, 2001)
    y = (edges[:-1, None] + (high - low) / 4000 * (1 + node)).reshape(-1, 1)
    for x in places:
        mass = np.exp(truth.log_prob(np.full_like(y, x), y)).reshape(-1, 20) @ weight * (high - low) / 4000
        assert mass.sum() == pytest.approx(1, abs=1e-3 if name == "bishop_curve" else 1e-9)  # its density has jumps
        near = draws.y[np.abs(draws.x[:, 0] - x) < 0.02 * draws.x.std(), 0]
        mean = mass @ (edges[:-1] + edges[1:]) / 2
        assert mean == pytest.approx(near.mean(), abs=6 * near.std() / np.sqrt(len(near)) + 0.02 * draws.y.std())


def test_floor_mse_agrees_with_the_variance_within_thin_slices_of_x(problem):
    _, truth, draws = problem
    order = np.argsort(draws.x[:, 0])
    slices = np.array_split(draws.y[order, 0].astype(float), 2000)
    assert truth.floor_mse() == pytest.approx(np.mean([part.var(ddof=1) for part in slices]), rel=0.02)


@pytest.mark.parametrize("name", SOURCES)
def test_parts_are_reproducible_and_independent(name):
    make_splits, _ = SOURCES[name]
    a = make_splits(3, num_train=50, num_validation=20, num_test=30)
    b = make_splits(3, num_train=60, num_validation=20, num_test=30)
    np.testing.assert_array_equal(a.validation.x, b.validation.x)
    np.testing.assert_array_equal(a.test.y, b.test.y)
    everything = np.concatenate([part.x[:, 0] for part in a])
    assert len(np.unique(everything)) == len(everything)
    assert not np.array_equal(a.train.x, make_splits(4, num_train=50, num_validation=20, num_test=30).train.x)


def test_both_solutions_of_the_arm_reach_its_position():
    draws = robot_arm.make_splits(0, num_train=20_000, num_validation=1, num_test=1).train
    found = robot_arm.solutions(draws.x)
    error = np.nanmin(np.abs(found - draws.y[:, None]).max(axis=2), axis=1)
    assert error.max() < 2e-3  # rounding to float32 matters where both solutions meet
    exists = np.isfinite(found[..., 0])
    assert exists.any(axis=1).all()
    reached = robot_arm.hand(np.where(exists[..., None], found, draws.y[:, None]))
    np.testing.assert_allclose(reached, np.broadcast_to(draws.x[:, None], reached.shape), atol=1e-6)
    assert exists.all(axis=1).mean() == pytest.approx(robot_arm.share_of_two(), abs=0.015)


def test_exact_values_of_the_arm_agree_with_monte_carlo():
    """Monte Carlo is in float64, and takes the mean of the solutions as the conditional mean."""
    assert robot_arm.share_of_two() == pytest.approx(0.689, abs=0.002)
    assert robot_arm.rms_of_conditional_mean() == pytest.approx(0.0583, abs=2e-4)
    angles = np.random.default_rng(1).uniform(robot_arm.LOW, robot_arm.HIGH, (200_000, 2))
    position = robot_arm.hand(angles)
    miss = np.sum((robot_arm.hand(np.nanmean(robot_arm.solutions(position), axis=1)) - position) ** 2, axis=1)
    assert np.sqrt(miss.mean()) == pytest.approx(robot_arm.rms_of_conditional_mean(), rel=0.01)


def test_a_position_out_of_reach_has_no_solution():
    assert np.isnan(robot_arm.solutions(np.array([[2.0, 0.0], [0.1, 0.1]]))).all()
