"""Posteriors by a learnt likelihood, against exact posteriors, and the command that compares both methods."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

import mdnjax as mdn
from mdnjax.checkpoint import CheckpointError
from mdnjax.config.simulated import Simulated
from mdnjax.data import Dataset
from mdnjax.model_file import save
from mdnjax.posteriors import fit
from mdnjax.posteriors.success import fit_success
from mdnjax.posteriors.tempering import Effort
from mdnjax.training.selection import Candidates, SelectedCandidate
from tests.commands import assert_not_blank, assert_one_line_error, run

stats: Any = scipy.stats  # its type stubs know neither frozen laws nor covariances
RNG = np.random.default_rng(0)
SMALL = Effort(500, 30, 0.5)
TRAINING = ["train.num_steps=40", "train.report_every=20", "model.hidden_sizes=[4]", "ensemble.num_members=1"]
TRAINING += ["ensemble.rotate=false"]
QUICK = [*TRAINING, *(f"likelihood.{words}" for words in TRAINING), "likelihood.selection.num_components=[1,2]"]
QUICK += ["likelihood.num_particles=100", "likelihood.num_moves=5", "model.num_components=2"]
QUICK += ["num_draws=60", "num_ranks=19", "data.num_test=12"]
pytestmark = pytest.mark.usefixtures("floats_of_users")


COVARIANCE = np.array([[1, 0.6], [0.6, 1]])


def linear_simulations(num, trials, covariance=None):
    """Draws theta ~ N((0, 1), 1) and, for each trial, x = theta + noise of sd 1/2."""
    prior = mdn.Normal([0, 1], 1, ["a", "b"])
    if covariance is not None:
        prior = mdn.MultivariateNormal([0, 1], covariance, ["a", "b"])
    theta = prior.sample(jax.random.key(num), (num,))
    return prior, theta, theta[:, None] + 0.5 * np.random.default_rng(num).normal(size=(num, trials, 2))


SETTINGS = {
    "train.num_steps": 1000,
    "train.report_every": 500,
    "train.batch_size": 100,
    "model.hidden_sizes": [8],
    "model.num_components": 1,
}
SETTINGS |= {"ensemble.num_members": 1, "ensemble.rotate": False}
SETTINGS |= {f"likelihood.{key}": value for key, value in SETTINGS.items()}
SETTINGS |= {"likelihood.num_particles": 500, "likelihood.num_moves": 15}
NUM = 2010  # rows of all trainings below, of two inputs and two targets, so that they share one program


def conjugate(total, trials):
    """Returns the exact posterior, of correlated parameters, of trials with this sum: its mean and its covariance."""
    prior, covariance = np.linalg.inv(COVARIANCE), np.linalg.inv(np.linalg.inv(COVARIANCE) + trials / 0.25 * np.eye(2))
    return (prior @ [0, 1] + total / 0.25) @ covariance, covariance


def test_a_learnt_likelihood_of_trials_gives_the_exact_posterior_also_of_correlated_parameters(tmp_path):
    prior, theta, x = linear_simulations(NUM // 3, 3, COVARIANCE)
    posterior: Any = mdn.fit_posterior(theta, x, prior=prior, method="likelihood", settings=SETTINGS)
    assert posterior.predictor.columns.targets == ("x_1", "x_2")
    assert [column.name for column in posterior.predictor.columns.inputs] == ["a", "b"]
    for trials in (1, 4):  # any number of trials can be observed
        observed = np.array([[0.5, 1.5]] * trials)
        draws = posterior.sample(jax.random.key(0), observed, 500)
        mean, covariance = conjugate(observed.sum(axis=0), trials)
        np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.1)
        np.testing.assert_allclose(draws.std(axis=0), np.diag(covariance) ** 0.5, rtol=0.15)
        correlation = covariance[0, 1] / covariance[0, 0]
        assert np.corrcoef(draws.T)[0, 1] == pytest.approx(correlation, abs=0.15)
    mode = posterior.modes(observed)
    np.testing.assert_allclose(mode.y, mean[None], atol=0.1)
    assert mode.log_density[0] == pytest.approx(stats.multivariate_normal(mean, covariance).logpdf(mean), abs=0.5)
    difference = np.diff(posterior.log_prob(np.array([[0.5, 1.0], [0.2, 1.4]]), observed))
    assert difference == pytest.approx(exact_difference(observed), abs=0.5)
    mdn.save_posterior(tmp_path / "posterior.safetensors", posterior)
    loaded: Any = mdn.load_posterior(tmp_path / "posterior.safetensors")
    np.testing.assert_array_equal(loaded.log_prob(draws[:5], observed), posterior.log_prob(draws[:5], observed))
    _, theta, x = linear_simulations(60, 3, COVARIANCE)
    evaluated = posterior.evaluate(jax.random.key(1), Dataset(x, theta), 99)
    means, covariance = conjugate(x.sum(axis=1), 3)
    exact = stats.multivariate_normal([0, 0], covariance).logpdf(theta - means)
    assert evaluated.nll.mean() == pytest.approx(-exact.mean(), abs=0.2)
    assert 0.3 < evaluated.ranks.coverage(0.5) < 0.7
    assert max(evaluated.ranks.errors()) < 0.12


def test_parameters_and_results_far_from_zero_keep_their_digits():
    """In float32, 1.6e9 has steps of 128. The evidence is in units of x, whose sd is 1000."""
    prior = mdn.Box([1.6e9] * 2, [1.6e9 + 100] * 2)
    theta = prior.sample(jax.random.key(0), (NUM,))
    x = 1.7e9 + 1000 * (theta - 1.6e9) / 30 + 300 * RNG.normal(size=(NUM, 2))
    posterior: Any = mdn.fit_posterior(theta, x, prior=prior, method="likelihood", settings=SETTINGS)
    found = posterior.tempered(jax.random.key(1), np.full((1, 2), 1.7e9 + 1500.0), 500)
    np.testing.assert_allclose(found.draws[0].mean(axis=0) - 1.6e9, 45, atol=3)
    np.testing.assert_allclose(found.draws[0].std(axis=0), 9, rtol=0.3)
    assert found.log_evidence[0] == pytest.approx(2 * np.log(30 / 1000 / 100), abs=0.5)


def exact_difference(observed):
    first, second = (
        stats.multivariate_normal([0, 1], COVARIANCE).logpdf(theta) + stats.norm(theta, 0.5).logpdf(observed).sum()
        for theta in ([0.5, 1], [0.2, 1.4])
    )
    return second - first


def test_the_direct_posterior_answers_the_same_questions():
    prior, theta, x = linear_simulations(NUM, 1)
    posterior: Any = mdn.fit_posterior(theta, x[:, 0], prior=prior, settings=SETTINGS)
    draws = posterior.sample(jax.random.key(0), [0.5, 1.5], 2000)
    mean = (np.array([0, 1]) + np.array([0.5, 1.5]) / 0.25) / 5
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(posterior.modes([0.5, 1.5]).y[0], mean, atol=0.1)
    log_density = posterior.log_prob(mean[None], [0.5, 1.5])
    assert log_density == pytest.approx(stats.norm(0, 5**-0.5).logpdf([0, 0]).sum(), abs=0.2)
    assert posterior.sample(jax.random.key(2), [0.5, 1.5], (2, 3)).shape == (2, 3, 2)
    # Proposals are draws of the prior in the region whose density is exceeded by all but a thousandth of the draws.
    proposed = posterior.propose(jax.random.key(1), [0.5, 1.5], 2000)
    limit = (2 * np.log(1000) / 5) ** 0.5
    assert np.quantile(np.linalg.norm(proposed - mean, axis=1), 0.99) == pytest.approx(limit, rel=0.2)
    assert proposed.std(axis=0).min() > 1.2 * draws.std(axis=0).max()
    with pytest.raises(ValueError, match="propose: got a posterior without a prior"):
        mdn.DirectPosterior(posterior.predictor, None).propose(jax.random.key(1), [0.5, 1.5], 10)


@pytest.mark.parametrize(("method", "steps", "number"), [("posterior", 2000, 20), ("likelihood", 10_000, 1)])
def test_numbers_of_components_of_the_posterior_are_compared_after_fewer_steps(monkeypatch, method, steps, number):
    compared = []

    def choose(config, *_):
        compared.append((config.train.num_steps, config.selection.num_components))
        return Candidates((1, 20), np.array([0.05, 0]), SelectedCandidate(0, np.zeros(2), np.zeros(2)))

    monkeypatch.setattr(fit, "choose_num_components", choose)
    rows = Dataset(np.zeros((2, 1)), np.zeros((2, 1)))
    config = fit.with_chosen_components(fit.config_of(Simulated(method=method), mdn.Normal(0, 1)), method, rows, rows)
    assert (config.model.num_components, config.train.num_steps) == (number, 10_000)
    assert compared == [(steps, (1, 20) if method == "posterior" else (1, 8))]


def test_failures_that_depend_on_theta_are_a_factor_of_the_posterior(tmp_path):
    """Half of the simulations with a > 0 fail, so that an observation without information on a has a < 0 twice as often."""
    prior = mdn.Box([-1, -1], [1, 1], ["a", "b"])
    theta = prior.sample(jax.random.key(5), (3000,))
    fails = (theta[:, 0] > 0) & (RNG.random(3000) < 0.5)
    num = 1 + np.flatnonzero(~fails)[NUM - 1]
    theta, fails = theta[:num], fails[:num]
    x = np.where(fails[:, None], np.nan, theta[:, 1:] + 0.2 * RNG.normal(size=(num, 2)))
    posterior: Any = mdn.fit_posterior(theta, x, prior=prior, method="likelihood", missing="drop", settings=SETTINGS)
    z = (np.array([[-0.7, 0.3], [0.7, 0.3]]) - posterior.success.mean) / posterior.success.sd
    success = np.exp(posterior.success.log_prob(z, 1))
    np.testing.assert_allclose(np.exp(posterior.success.log_prob(z, 2)), success**2, rtol=1e-6)
    np.testing.assert_allclose(success, [1, 0.5], atol=0.08)
    draws = posterior.sample(jax.random.key(0), [0.1, 0.1], 500)
    assert np.mean(draws[:, 0] < 0) == pytest.approx(2 / 3, abs=0.08)
    path = tmp_path / "posterior.safetensors"
    mdn.save_posterior(path, posterior)
    loaded: Any = mdn.load_posterior(path)
    np.testing.assert_array_equal(loaded.log_prob(draws[:5], [0.1, 0.1]), posterior.log_prob(draws[:5], [0.1, 0.1]))
    assert (loaded.names, loaded.effort) == (("a", "b"), posterior.effort)
    save(path, posterior.predictor, {"posterior": '{"prior": null, "success": null, "effort": {}}'})
    with pytest.raises(CheckpointError, match="its posterior cannot be used: got a likelihood without a prior"):
        mdn.load_posterior(path)
    mdn.save(path, posterior.predictor)
    with pytest.raises(CheckpointError, match=r"got networks without a posterior, expected a file of mdnjax.save_posterior"):
        mdn.load_posterior(path)
    with pytest.raises(ValueError, match="expected a finite number"):
        mdn.fit_posterior(theta, x, prior=prior, method="likelihood", settings=SETTINGS)


def test_failures_by_chance_are_no_factor():
    theta = RNG.normal(size=(1000, 2))
    assert fit_success(theta, RNG.random(1000) < 0.8) is None
    assert fit_success(theta, theta[:, 0] > -2.5) is None  # too few failures


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "both"}, "expected 'posterior' or 'likelihood'"),
        ({"method": "likelyhood"}, "method"),
        ({"prior": mdn.Normal(0, 1)}, "got 1 parameters, expected 2"),
        ({"prior": mdn.Box([-1, -1], [0, 0])}, "density 0 in the prior"),
        ({"method": "posterior", "x": np.zeros((30, 2, 2))}, "expected method='likelihood'"),
        ({"x": np.zeros((29, 2))}, "got 30 rows of theta and 29 of x"),
        ({"x": np.full((30, 2), np.nan)}, "expected a finite number"),
        ({"missing": "ignore"}, "expected 'refuse' or 'drop'"),
    ],
)
def test_simulations_that_do_not_fit_together_are_refused(change, words):
    arguments = {"theta": RNG.normal(size=(30, 2)), "x": RNG.normal(size=(30, 2)), "prior": mdn.Normal([0, 0], 1)}
    arguments |= {"method": "likelihood", **change}
    with pytest.raises(ValueError, match=words):
        mdn.fit_posterior(arguments.pop("theta"), arguments.pop("x"), **arguments)


def test_the_command_compares_both_methods_on_trials_of_a_file(tmp_path):
    """The third result of each trial is constant, and is left out."""
    theta = RNG.uniform(-1, 1, (80, 2))
    x = np.concatenate([theta[:, None] + 0.3 * RNG.normal(size=(80, 3, 2)), np.full((80, 3, 1), 3.0)], axis=2)
    observed = x[:2] + np.array([[[0.0]], [[1.0]]]) * [0, 0, 1]
    np.savez(tmp_path / "s.npz", theta=theta, x=x, x_observed=observed)
    words = [f"data.path={tmp_path / 's.npz'}", "data.target_support=[-1,1]", f"output={tmp_path / 'run'}", "method=both"]
    done = run("posterior", *QUICK, *words)
    assert done.returncode == 0, done.stderr
    assert "7 parameters set aside is" in done.stdout
    assert "x_3: constant in all simulations, so left out" in done.stdout
    assert "observation 2 has another value there" in done.stdout
    runs = json.loads((tmp_path / "run" / "metrics.json").read_text())["runs"]
    assert {name: of_run["method"] for name, of_run in runs.items()} == {"72": "posterior", "72_likelihood": "likelihood"}
    assert np.isfinite([of_run["test_nll"] for of_run in runs.values()]).all()
    assert runs["72_likelihood"]["particles"]["exponent"] == [1, 1]
    with np.load(tmp_path / "run" / "72_likelihood.npz") as file:
        assert file["theta"].shape == (2, 60, 2)
        assert np.abs(file["theta"]).max() <= 1
    predictor = mdn.load(tmp_path / "run" / "72_likelihood.safetensors")
    posterior = mdn.LikelihoodPosterior(predictor, mdn.Box([-1, -1], [1, 1]), None, Effort(50, 5))
    assert posterior.sample(jax.random.key(0), x[0, :, :2], 50).shape == (50, 2)
    assert_not_blank(tmp_path / "run" / "figures" / "posteriors.png")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=likelihood"], ["data.target_support: got 'real'", "expected finite bounds"]),
        (["data.task=slcp"], ["data.task: got 'slcp' with data.path"]),
        (["data.trials=2"], ["data.trials: got 2, expected 3"]),
        (["method=likelihood", "data.target_support=[-0.5,0.5]"], ["simulations with theta outside of it"]),
        (["method=likelihood", "data.prior=normal", "data.target_support=[-1,1]"], ["data.prior: got 'normal' with"]),
        (["likelihood.train.loss=natural_em"], ["likelihood.train: loss", "expected 'nll'"]),
        (["likelihood.train.optimizer.options.b9=1"], ["likelihood.train.optimizer"]),
        (["method=likelihod"], ["expected one of 'posterior', 'likelihood' or 'both'; did you mean 'likelihood'"]),
    ],
)
def test_impossible_methods_are_one_line(tmp_path, words, expected):
    theta = RNG.uniform(-1, 1, (40, 2))
    np.savez(tmp_path / "s.npz", theta=theta, x=np.zeros((40, 3, 2)) + theta[:, None])
    done = run("posterior", *QUICK, f"data.path={tmp_path / 's.npz'}", f"output={tmp_path / 'run'}", *words)
    assert_one_line_error(done, *expected)


def test_simulations_in_rounds(tmp_path):
    """The second round is simulated for each observation; a file has no simulator."""
    np.savez(tmp_path / "observed.npz", x=[[0.5, 1.0]])
    words = ["data.task=gaussian_mixture", "data.num_simulations=[60]", "data.num_rounds=2", "method=likelihood"]
    words += [f"data.observations={tmp_path / 'observed.npz'}", "likelihood.model.num_components=1"]
    done = run("posterior", *QUICK, *words, f"output={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "run" / "metrics.json").read_text())["runs"]
    assert set(runs) == {"60_likelihood", "60_likelihood_2_rounds"}
    assert len(runs["60_likelihood_2_rounds"]["predictive_p_values"][0]) == 2
    assert np.load(tmp_path / "run" / "60_likelihood_2_rounds.npz")["theta"].shape == (1, 60, 2)
    assert_not_blank(tmp_path / "run" / "figures" / "corner.png")
    assert_not_blank(tmp_path / "run" / "figures" / "reproduced.png")
    np.savez(tmp_path / "s.npz", theta=RNG.random((60, 2)), x=RNG.normal(size=(60, 2)))
    done = run("posterior", *QUICK, f"data.path={tmp_path / 's.npz'}", "data.num_rounds=2", f"output={tmp_path / 'file'}")
    assert_one_line_error(done, "data.num_rounds: got 2 with data.path, expected 1")
