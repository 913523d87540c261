"""Simulations with draws of a prior: the same on any number of workers, failures as rows of NaN, and continued from a folder."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import distributed  # pyright: ignore[reportMissingImports]
import jax
import numpy as np
import pytest

import mdnjax as mdn
from experiments.cluster import NO_DASHBOARD

PRIOR = mdn.Box([-1, 1], [1, 2])
KEY = jax.random.key(3)


def simulator(theta, generator):
    """Fails for a negative first parameter in one of two ways."""
    if theta[0] < -0.5:
        raise ArithmeticError("no solution")
    return np.append(theta * generator.normal(size=2), np.inf if theta[0] < 0 else 1)


@pytest.fixture(scope="module")
def expected():
    with pytest.warns(UserWarning, match="of 40 simulations failed, such as simulation [0-9]+: "):
        return mdn.simulate(KEY, simulator, PRIOR, 40)


def test_failures_are_rows_of_nan_and_the_parameters_are_draws_of_the_prior(expected):
    theta, x = expected
    assert (theta.shape, x.shape) == ((40, 2), (40, 3))
    assert np.isfinite(PRIOR.log_prob(theta)).all()
    failed = theta[:, 0] < 0
    assert 0 < failed.sum() < 40
    assert np.isnan(x[failed]).all()
    assert np.isfinite(x[~failed]).all()
    noise = x[~failed, :2] / theta[~failed]
    assert len(np.unique(noise)) == noise.size


@pytest.mark.filterwarnings("ignore:.*simulations failed")
def test_workers_and_chunks_do_not_change_the_result(expected):
    with ThreadPoolExecutor(3) as threads:
        np.testing.assert_equal(mdn.simulate(KEY, simulator, PRIOR, 40, client=threads, chunk_size=7), expected)
    workers = {"processes": False, "n_workers": 2, "threads_per_worker": 1, **NO_DASHBOARD}
    with distributed.LocalCluster(**workers) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        np.testing.assert_equal(mdn.simulate(KEY, simulator, PRIOR, 40, client=client, chunk_size=7), expected)


@pytest.mark.filterwarnings("ignore:.*simulations failed")
def test_interrupted_simulations_continue_from_their_folder(expected, tmp_path):
    calls = []

    def interrupted(theta, generator):
        calls.append(theta)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return simulator(theta, generator)

    with pytest.raises(KeyboardInterrupt):
        mdn.simulate(KEY, interrupted, PRIOR, 40, path=tmp_path / "new", chunk_size=5)
    assert len([*(tmp_path / "new").glob("*.safetensors")]) == 2
    observed = []
    again = {"path": tmp_path / "new", "chunk_size": 4, "observe": lambda *numbers: observed.append(numbers)}
    np.testing.assert_equal(mdn.simulate(KEY, interrupted, PRIOR, 40, **again), expected)
    assert len(calls) == 13 + 30
    assert observed[0][0] == 14
    assert observed[-1] == (40, np.isnan(expected[1][:, 0]).sum())
    first, *_ = sorted((tmp_path / "new").glob("*.safetensors"))
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="its simulations are repeated: .*000000000"):
        np.testing.assert_equal(mdn.simulate(KEY, interrupted, PRIOR, 40, **again), expected)
    assert len(calls) == 13 + 30 + 5
    with pytest.raises(ValueError, match="holds simulations of another key, prior or num"):
        mdn.simulate(jax.random.key(4), interrupted, PRIOR, 40, path=tmp_path / "new")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda theta: 1 / 0, "all 9 simulations failed, such as simulation 0: ZeroDivisionError: division by zero"),
        (lambda theta: np.ones(2 + (theta[0] > 0)), r"got results of shapes \(., *\) and \(., *\), expected one shape"),
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 9])
def test_simulators_that_cannot_be_used_are_errors(function, words, chunk_size):
    with pytest.raises(ValueError, match=words):
        mdn.simulate(KEY, function, PRIOR, 9, chunk_size=chunk_size)
    with pytest.raises(ValueError, match="num, chunk_size: got 0 and 2, expected at least 1"):
        mdn.simulate(KEY, function, PRIOR, 0, chunk_size=2)


def test_a_simulator_may_be_a_function_of_theta_alone_with_numbers_as_results():
    theta, x = mdn.simulate(KEY, np.sum, PRIOR, 5)
    np.testing.assert_allclose(x, theta.sum(axis=1, keepdims=True))


def keyword(theta, *, rng: Any = None):
    return rng.normal(size=2) * theta


def optional(theta, steps=None, generator: Any = None):
    assert steps is None
    return generator.normal(size=2) * theta


def second(theta, noise):
    return noise.normal(size=2) * theta


def of_its_own(theta, rng=np.random.default_rng(1)):  # noqa: B008
    return rng.normal(size=2) * theta


def test_simulators_that_may_take_a_generator_get_one():
    """One with a default that is no None keeps it."""
    found = [mdn.simulate(KEY, each, PRIOR, 5)[1] for each in (keyword, optional, second)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert (mdn.simulate(KEY, of_its_own, PRIOR, 5)[1] != found[0]).all()


def test_one_call_at_a_time_uses_a_folder(tmp_path):
    """Calls of one process lock out each other like those of several."""

    def call_again(*_):
        mdn.simulate(jax.random.key(8), second, PRIOR, 5, path=tmp_path)

    with pytest.raises(ValueError, match=f"path: another call of simulate is using {tmp_path}, expected it to end first"):
        mdn.simulate(KEY, second, PRIOR, 5, path=tmp_path, observe=call_again)
    theta, _ = mdn.simulate(KEY, second, PRIOR, 5, path=tmp_path)
    assert theta.shape == (5, 2)
