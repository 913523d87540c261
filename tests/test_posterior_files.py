"""Simulations and reference posteriors in files: which rows are used, what is wrong with a file, scores by references."""

import bz2
from typing import Any

import numpy as np
import pytest
import scipy.stats

import mdnjax as mdn
from experiments.command import CONFIGS, UserError
from experiments.posterior.__main__ import study
from experiments.posterior.problem import splits_of
from experiments.posterior.schema import Posterior, Simulations
from experiments.posterior.simulations import make_problem
from experiments.posterior.tasks import DESIGN
from mdnjax.config import load
from tests.commands import assert_not_blank, run
from tests.test_posterior import TINY

stats: Any = scipy.stats  # its type stubs know no covariances
RNG = np.random.default_rng(0)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


ROWS = np.arange(60)[:, None]
THETA, X = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 2))


def test_all_numbers_of_simulations_use_the_same_first_rows(tmp_path):
    path = write(tmp_path / "s.npz", theta=THETA, x=X)
    problem = make_problem(Simulations(path=str(path), num_simulations=(20, 50)), 0, 10)
    assert (len(problem.test.x), len(problem.simulations.x), problem.sizes) == (6, 54, (20, 50))
    small, large = (splits_of(problem, num, 0.1) for num in problem.sizes)
    assert [len(part.x) for part in small] == [18, 2, 6]
    assert [len(part.x) for part in large] == [45, 5, 6]
    np.testing.assert_array_equal(small.validation.x, large.validation.x[:2])
    rows = {tuple(row) for part in large for row in part.y}
    assert len(rows) == 56  # no test row is trained on


BAD = {
    "rows": ({"theta": THETA[:50], "x": X}, [], ["got 50 rows of theta and 60 of x"]),
    "names": ({"thetas": THETA, "x": X}, [], ["expected one named 'theta'; did you mean 'thetas'?"]),
    "nan": (
        {"theta": THETA, "x": np.where(np.arange(60)[:, None] == 7, np.nan, X)},
        [],
        ["x: got nan in row 7", "1 such rows"],
    ),
    "inf": (
        {"theta": THETA * np.where(ROWS > 57, np.inf, 1), "x": X},
        [],
        ["in row 58", "2 such rows of 60"],
    ),
    "axes": ({"theta": THETA, "x": X[..., None, None]}, [], ["x: got shape (60, 2, 1, 1), expected rows and columns"]),
    "text": ({"theta": THETA.astype(str), "x": X}, [], ["expected numbers"]),
    "few": ({"theta": THETA[:20], "x": X[:20]}, [], ["got 20 simulations"]),
    "more": ({"theta": THETA, "x": X}, ["data.num_simulations=[55]"], ["got 60 simulations", "enough for 55"]),
    "observed": ({"theta": THETA, "x": X, "x_observed": X[:, :1]}, [], ["x_observed: got shape (60, 1), expected [M, 2]"]),
    "box": ({"theta": THETA, "x": X}, ["data.target_support=[0, 1]"], ["data.target_support", "expected 0 < y < 1"]),
    "pairs": ({"theta": THETA, "x": X}, ["data.target_support=[[0, 1]]"], ["got 1 pairs of bounds", "each of 3 targets"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_raise_one_line_errors(name, tmp_path):
    arrays, words, expected = BAD[name]
    path = write(tmp_path / "s.npz", **arrays)
    words = [*words, f"data.path={path}", f"output={tmp_path / 'never'}"]
    with pytest.raises(UserError) as caught:
        study(load(Posterior, CONFIGS / "posterior.yaml", words), False)
    assert all(part in str(caught.value) for part in expected), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "never").exists()


def test_bad_reference_folders_raise_errors(tmp_path):
    with pytest.raises(UserError, match="expected a folder with num_observation_1"):
        make_problem(Simulations(root=str(tmp_path)), 0, 10)
    path = str(write(tmp_path / "s.npz", theta=THETA, x=X))
    with pytest.raises(UserError, match=r"data\.observations: got 'o\.npz' with data\.root, expected null"):
        make_problem(Simulations(root=str(tmp_path), path=path, observations="o.npz"), 0, 10)
    reference_folder(tmp_path, 1, X[:1], THETA[:, :2])
    with pytest.raises(UserError, match=r"draws of shape \(60, 2\), expected \(1, 2\) and 3 columns, as the simulations"):
        make_problem(Simulations(root=str(tmp_path), path=path), 0, 10)


def reference_folder(root, number, observation, draws):
    folder = root / f"num_observation_{number}"
    folder.mkdir(parents=True)
    for name, rows in (("observation.csv", observation), ("reference_posterior_samples.csv", draws)):
        text = "\n".join([",".join(f"c{i}" for i in range(rows.shape[1])), *(",".join(map(repr, row)) for row in rows.tolist())])
        if name.startswith("reference"):
            (folder / f"{name}.bz2").write_bytes(bz2.compress(text.encode()))
        else:
            (folder / name).write_text(text)


def test_a_task_without_statistics_reads_the_raw_observations_of_the_other_task(tmp_path):
    spikes, theta = RNG.integers(0, 2, (1, 100)).astype(float), RNG.normal(size=(60, 10))
    folder = tmp_path / "bernoulli_glm" / "files"
    reference_folder(folder, 1, spikes @ DESIGN, theta)
    few: Any = {"root": str(tmp_path), "num_simulations": (300,), "num_test": 2}
    problem = make_problem(Simulations(task="bernoulli_glm", **few), 0, 10)
    np.testing.assert_allclose(problem.observed, spikes @ DESIGN)
    with pytest.raises(UserError, match=r"data\.root: cannot read .*num_observation_1/observation_raw\.csv: No such file"):
        make_problem(Simulations(task="bernoulli_glm_raw", **few), 0, 10)
    (folder / "num_observation_1" / "observation.csv").rename(folder / "num_observation_1" / "observation_raw.csv")
    with pytest.raises(UserError, match=r"an observation of shape \(1, 10\) and .* expected \(1, 100\) and 10 columns"):
        make_problem(Simulations(task="bernoulli_glm_raw", **few), 0, 10)
    with pytest.raises(UserError, match=r"data\.root: got .*, expected a folder with num_observation_1"):
        make_problem(Simulations(task="bernoulli_glm", **{**few, "root": str(tmp_path / "never")}), 0, 10)


def test_the_prior_of_a_file_may_be_correlated(tmp_path):
    theta = THETA @ np.array([[1, 0.5, 0], [0, 1, 0], [0.2, 0, 2]])
    path = str(write(tmp_path / "s.npz", theta=theta, x=X))
    data = Simulations(path=path, prior="multivariate_normal")
    prior: Any = make_problem(data, 0, 10, "likelihood").prior
    law = stats.multivariate_normal(theta.mean(axis=0), np.cov(theta.T, bias=True))
    np.testing.assert_allclose(prior.log_prob(theta), law.logpdf(theta))
    write(tmp_path / "s.npz", theta=theta[:, [0, 1, 0]], x=X)
    with pytest.raises(
        UserError, match=r"data\.prior: the theta of .*s\.npz: MultivariateNormal: .* expected a positive definite"
    ):
        make_problem(data, 0, 10, "likelihood")


def test_simulations_of_a_file_are_scored_by_reference_posteriors(tmp_path):
    path = write(tmp_path / "s.npz", theta=THETA, x=X)
    for number in (1, 2, 10):
        reference_folder(tmp_path / "root", number, X[[number]], THETA + number)
    problem = make_problem(Simulations(root=str(tmp_path / "root"), path=str(path)), 0, 10)
    np.testing.assert_allclose(problem.observed, X[[1, 2, 10]])
    assert problem.references is not None
    assert [round(float(np.mean(draws - THETA))) for draws in problem.references] == [1, 2, 10]
    words = [f"data.path={path}", f"data.root={tmp_path / 'root'}", f"output={tmp_path / 'run'}"]
    done = run("posterior", *TINY, *words)
    assert done.returncode == 0, done.stderr
    assert "C2ST" in done.stdout
    assert_not_blank(tmp_path / "run" / "figures" / "c2st.png")


def test_failed_simulations_are_left_out_and_bounds_are_moved_inside(tmp_path):
    theta = np.clip(np.abs(THETA) / 5, 0.001, 0.999)
    theta[3, 1], theta[4, 0] = 1.0, np.float32(0.0)
    x = np.where(np.arange(60)[:, None] == 7, np.nan, X)
    path = str(write(tmp_path / "s.npz", theta=theta, x=x))
    data = Simulations(path=path, missing="drop", target_support=(0.0, 1.0))
    problem = make_problem(data, 0, 10)
    assert problem.notes == (
        "1 of 60 simulations (1.7 %) have missing numbers and are left out",
        "2 simulations have a theta on a bound of its support, by rounding; it was moved inside",
    )
    y = np.concatenate([problem.simulations.y, problem.test.y])
    assert len(y) == 59
    assert 0 < y.min() < y.max() < 1
    with pytest.raises(UserError, match=r"data\.missing=drop leaves out failed simulations"):
        make_problem(data.model_copy(update={"missing": "refuse"}), 0, 10)


def test_the_command_with_simulations_of_a_file(tmp_path):
    theta = np.clip(THETA / 5, -0.99, 1.99)
    offset = np.array([1.7e9, 0])  # at this offset float32 loses the digits of x
    path = write(tmp_path / "s.npz", theta=theta, x=offset + X, x_observed=np.add(offset, [[0.0, 0.1], [9.0, 0.0]]))
    bounds = [[-1, 2], [-1.5, 2], [-1, 2.5]]
    done = run("posterior", *TINY, f"data.path={path}", f"data.target_support={bounds}", f"output={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "note: observation 2 is outside of what was simulated" in done.stdout
    with np.load(tmp_path / "run" / "54.npz") as file:
        assert file["theta"].shape == (2, 50, 3)
        low, high = np.array(bounds).T
        assert ((file["theta"] > low) & (file["theta"] < high)).all()
        predictor = mdn.load(tmp_path / "run" / "54.safetensors")
        names = [column.name for column in predictor.columns.inputs]
        assert (names, predictor.columns.targets) == (["x_1", "x_2"], ("theta_1", "theta_2", "theta_3"))
        np.testing.assert_allclose(predictor.scaler.x_mean, np.mean(offset + X, axis=0), atol=0.5)
        np.testing.assert_allclose(predictor.scaler.x_sd, np.std(X, axis=0), atol=0.5)
        assert predictor.mean(dict(zip(names, file["x"].T, strict=True))).shape == (2, 3)
    assert_not_blank(tmp_path / "run" / "figures" / "posteriors.png")
