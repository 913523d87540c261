"""Tests of posteriors: two moons against its exact density, two-sample scores with known values, ranks, and the command."""

import bz2
import json
from fnmatch import fnmatch
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

import mdnjax as mdn
from experiments import report
from experiments.posterior import figures
from experiments.posterior.__main__ import FILES
from experiments.posterior.problem import Problem
from mdnjax.c2st import c2st
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler, two_moons
from mdnjax.ensemble import Networks, params_like
from mdnjax.outside import outside
from mdnjax.posteriors.ranks import Ranks, rank
from mdnjax.predictor import make_predictor
from tests.commands import assert_not_blank, run

stats: Any = scipy.stats  # its type stubs know no covariances
RNG = np.random.default_rng(0)
TINY = ["train.num_steps=6", "train.report_every=3", "train.batch_size=20", "ensemble.num_members=1", "ensemble.rotate=false"]
TINY += ["model.num_components=2", "model.hidden_sizes=[4]", "data.num_test=30", "num_draws=50", "num_ranks=19"]


def test_exact_draws_have_the_exact_density():
    """The share of draws in each cell of the square is the integral of exp(log_prob) over it."""
    x = np.array([0.1, 0.9])  # the square cuts the crescents of this observation
    draws = two_moons.draw_posterior(np.random.default_rng(1), x, 40_000)
    assert np.abs(draws).max() <= 1
    grid = (np.arange(720) + 0.5) / 360 - 1
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    near = (
        np.hypot((places.sum(axis=1)) / 2**0.5, np.diff(places)[:, 0] / 2**0.5 - 0.9) < 0.5
    )  # outside of this, the density is 0
    density = np.zeros(len(places))
    density[near] = np.exp(two_moons.log_prob(np.broadcast_to(x, (near.sum(), 2)), places[near]))
    assert density.sum() / 360**2 == pytest.approx(1, abs=2e-3)
    cells = density.reshape(24, 30, 24, 30).sum(axis=(1, 3)) / 360**2
    counts = np.histogram2d(*draws.T, bins=24, range=[[-1, 1], [-1, 1]])[0] / len(draws)
    np.testing.assert_allclose(counts, cells, atol=5 * np.sqrt(cells.max() / len(draws)))


def test_simulations_have_the_exact_posterior():
    """The rank of the true theta_1 among exact draws is uniform."""
    data = two_moons.make_splits(5, num_train=300, num_validation=1, num_test=1).train
    generator = np.random.default_rng(2)
    ranks = [(two_moons.draw_posterior(generator, x, 99)[:, 0] < y[0]).sum() for x, y in zip(data.x, data.y, strict=True)]
    assert stats.kstest((np.array(ranks) + 0.5) / 100, "uniform").pvalue > 0.01


def test_entropy_and_floor_of_the_mean_squared_error_agree_with_draws():
    data = two_moons.make_splits(6, num_train=20_000, num_validation=1, num_test=1).train
    nll = -two_moons.log_prob(data.x, data.y)
    assert nll.mean() == pytest.approx(two_moons.entropy(), abs=4 * nll.std() / len(nll) ** 0.5)
    draws = np.stack([two_moons.draw_posterior(RNG, x, 200) for x in data.x[:500].astype(float)])
    variance = draws.var(axis=1, ddof=1).mean(axis=1)
    assert variance.mean() == pytest.approx(two_moons.floor_mse(), abs=4 * variance.std() / 500**0.5)


def test_an_impossible_observation_has_no_posterior():
    with pytest.raises(ValueError, match="expected one that parameters in the square can give"):
        two_moons.draw_posterior(RNG, np.array([3.0, 3.0]), 10)


def test_two_sample_scores_with_known_values():
    points = RNG.normal(size=(2, 1000, 1))
    assert c2st(*points) == pytest.approx(0.5, abs=0.04)
    assert c2st(points[0], points[1] + 2) == pytest.approx(0.8413, abs=0.03)  # Phi(1), the best possible accuracy
    scale, shift = np.array([1e4]), np.array([-3e5])  # the score does not depend on the units
    assert c2st(points[0] * scale + shift, points[1] * scale + shift) == pytest.approx(c2st(*points), abs=1e-6)
    with pytest.raises(ValueError, match="as many of each"):
        c2st(points[0], points[1, :5])


def test_ranks_of_draws_of_the_mixture_itself_are_uniform():
    model = Model(num_components=3, hidden_sizes=(4,), family="full")
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(leaf.dtype), params_like(model, 2, 2, 1))
    x = RNG.normal(size=(400, 2)).astype(np.float32)
    predictor = make_predictor(model, Networks(params), make_scaler(Dataset(x, x), standardise=False))
    mixture = predictor(x)
    y = np.asarray(mdn.sample(jax.random.key(1), mixture))
    ranks = rank(predictor, Dataset(x, y), jax.random.key(2), 199)
    for column in (*ranks.below.T, ranks.above):
        assert column.min() >= 0
        assert column.max() <= 199
        assert stats.kstest((column + 0.5) / 200, "uniform").pvalue > 1e-3
    assert max(ranks.errors()) < 0.06
    assert ranks.coverage(0.9) == pytest.approx(0.9, abs=0.06)
    shifted = rank(predictor, Dataset(x, y + 3), jax.random.key(2), 199)
    assert min(shifted.errors()) > 0.1
    assert ranks.problems(["a", "b"]) == []
    found = [words.split(":")[0] for words in shifted.problems(["a", "b"])]
    assert found[:2] == [f"the posteriors of {name} are shifted" for name in "ab"]
    assert found[2:] == ["highest-density regions contain another share of true parameters"]
    narrow = Ranks(np.where(RNG.random((400, 1)) < 0.5, 0, 199), ranks.above, 199)
    assert "too narrow" in narrow.problems(["a"])[0]


def test_observations_outside_of_the_simulations_are_reported():
    simulated = RNG.uniform(-1, 1, (500, 2)) * [1, 100]
    names = ["x_1", "x_2"]
    assert not [*outside(simulated, simulated[:5] + 1e-3, names)]
    beyond, hollow = outside(simulated[np.abs(simulated[:, 0]) > 0.5], np.array([[0.9, 250.0], [0.0, 0.0]]), names).values()
    assert "observation 1" in beyond
    assert "x_2 is 250, but was simulated from -9" in beyond
    assert "each of its numbers is in the simulated range" in hollow


def test_draws_of_a_single_parameter_are_plotted_as_a_histogram(tmp_path):
    ranks = Ranks(RNG.integers(0, 20, (50, 1)), RNG.integers(0, 20, 50), 19)
    evaluation = figures.PosteriorEvaluation(50, [RNG.normal(size=(300, 1)) for _ in range(2)], ranks, [])
    empty = Dataset(np.zeros((0, 1)), np.zeros((0, 1)))
    drawn = dict(figures.draw([evaluation], Problem(empty, empty, np.zeros((2, 1)), None, None, (50,))))
    assert set(drawn) == {"posteriors", "ranks", "coverage", "corner"}
    report.write_figures(tmp_path, drawn.items())
    assert_not_blank(tmp_path / "posteriors.png")


def test_the_command_with_two_moons(tmp_path):
    root = tmp_path / "root"
    for number in (1, 2):
        folder = root / f"num_observation_{number}"
        folder.mkdir(parents=True)
        (folder / "observation.csv").write_text("data_1,data_2\n-0.2,0.1\n")
        draws = two_moons.draw_posterior(RNG, np.array([-0.2, 0.1]), 60)
        np.savetxt(tmp_path / "draws.csv", draws, delimiter=",", header="parameter_1,parameter_2", comments="")
        (folder / "reference_posterior_samples.csv.bz2").write_bytes(bz2.compress((tmp_path / "draws.csv").read_bytes()))
    words = ["data.num_simulations=[60]", f"data.root={root}", f"output={tmp_path / 'run'}"]
    done = run("posterior", *TINY, *words)
    assert done.returncode == 0, done.stderr
    assert "C2ST" in done.stdout
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["runs"]
    assert len(found["60"]["c2st"]) == 2
    assert found["60"]["truth_nll"] < -3
    for name in ("posteriors", "ranks", "coverage", "c2st"):
        assert_not_blank(tmp_path / "run" / "figures" / f"{name}.png")
    written = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path for path in written if not any(fnmatch(path, pattern) for pattern in FILES)} == {"config.yaml"}
