"""Recalibration: its laws by closed forms, when it is used, and the same distribution through every door."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from scipy import stats

import mdnjax as mdn
from mdnjax import Diagonal, Mixture
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler
from mdnjax.data.units import own_units
from mdnjax.ensemble import untrained
from mdnjax.observed import Observed
from mdnjax.predictor import make_predictor
from mdnjax.recalibration import Recalibration, fit_recalibration, normal_scores
from mdnjax.statistics.quantiles import quantile_at_score
from tests.commands import assert_one_line_error, run

RNG = np.random.default_rng(0)
MAP = Recalibration(np.array([0.3, 0.7]), np.array([0.5, -0.2]), np.array([2.0, 0.7]), np.array(0.1), np.array(100.0))
NUM = 6


@pytest.fixture(scope="module")
def gaussians():
    """Gaussians, and the mixtures that they become: for a Gaussian F, G(Phi^-1(F)) is a mixture of Gaussians."""
    loc, scale = RNG.normal(size=NUM), np.exp(RNG.normal(size=NUM))
    before = Mixture(jnp.zeros((NUM, 1)), Diagonal(*(jnp.asarray(values, np.float32)[:, None, None] for values in (loc, scale))))
    locs, scales = (loc[:, None] + scale[:, None] * MAP.loc, scale[:, None] * MAP.scale)
    logits = jnp.asarray(np.tile(np.log(MAP.weight), (NUM, 1)))
    after = Mixture(logits, Diagonal(*(jnp.asarray(values)[..., None] for values in (locs, scales))))
    return before, after, (loc + 3 * scale * RNG.normal(size=NUM))[:, None]


def test_a_recalibrated_gaussian_is_the_mixture_that_the_map_says(gaussians):
    before, after, y = gaussians
    observed, units = Observed(recalibration=MAP), own_units(1)
    np.testing.assert_allclose(observed.log_prob(before, units, y), after.log_prob(y), rtol=1e-4, atol=1e-4)
    for found, expected in zip(observed.moments(before, units), (after.mean(), after.variance()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    scores = observed.scores(before, units, y)
    np.testing.assert_allclose(scores.crps, mdn.crps(after, y), rtol=3e-3)
    np.testing.assert_allclose(scores.pit, mdn.pit(after, y), atol=1e-5)
    levels = np.array([0.001, 0.3, 0.5, 0.9999])
    expected = np.asarray(after[:, None].quantile(levels))[..., 0]
    np.testing.assert_allclose(observed.mixture_quantiles(before, levels), expected, rtol=1e-4, atol=1e-4)
    ends = np.asarray(observed.mixture_intervals(before, np.array([0.5, 0.99])))
    np.testing.assert_allclose(ends, after[:, None].central_interval(np.array([0.5, 0.99])), rtol=1e-4, atol=1e-4)
    drawn = np.asarray(observed.mixture_draws(jax.random.key(0), before, 5000))[..., 0]
    assert all(stats.kstest(ndtr, "uniform").pvalue > 1e-3 for ndtr in np.asarray(mdn.pit(after, drawn[..., None])).T)


def test_normal_scores_are_exact_far_away(gaussians):
    before = gaussians[0]
    z = np.linspace(-60, 60, NUM)
    y = np.asarray(before.mean())[:, 0] + z * np.sqrt(np.asarray(before.variance())[:, 0])
    np.testing.assert_allclose(normal_scores(before, y[:, None]), z, rtol=1e-4, atol=1e-4)
    ends = np.copysign(np.inf, z)
    np.testing.assert_array_equal(quantile_at_score(before, ends)[:, 0], ends)


@pytest.mark.parametrize("level", [1e-12, 0.2, 1 - 1e-12])
def test_the_map_and_its_inverse_agree(level):
    z = MAP.inverse(np.array([level]))
    np.testing.assert_allclose(MAP.weight @ stats.norm.cdf((z - MAP.loc) / MAP.scale), level, rtol=1e-9)
    np.testing.assert_allclose(MAP.scores(z), stats.norm.ppf(level), rtol=1e-9)
    assert MAP.inverse(np.array([0.0, 1.0])).tolist() == [-np.inf, np.inf]


def test_a_map_is_used_where_it_gains_and_hardly_ever_else():
    assert sum(not fit_recalibration(RNG.normal(size=100)).is_identity for _ in range(40)) <= 2
    wide = fit_recalibration(2 * RNG.normal(size=400))
    assert not wide.is_identity
    np.testing.assert_allclose(np.sqrt(wide.weight @ (wide.scale**2 + wide.loc**2)), 2, rtol=0.15)
    assert wide.gain == pytest.approx(1.5 - np.log(2), abs=0.3)  # E[z^2] / 2 - 1 / 2 - log 2 for z from N(0, 4)
    assert fit_recalibration(5 * RNG.normal(size=10)).is_identity  # too few rows
    z, weight = RNG.normal(size=400), np.repeat([2.0, 0.0], 200)
    z[200:] += 9  # rows that do not count
    assert fit_recalibration(z, weight).is_identity


def predictor_of(num_targets=1, family: Any = "diagonal"):
    model = Model(num_components=2, hidden_sizes=(3,), scale_floor=0.3, family=family)
    x, y = RNG.normal(size=(200, 2)), 3 + 2 * RNG.normal(size=(200, num_targets))
    return make_predictor(model, untrained(model, 2, num_targets), make_scaler(Dataset(x, y), True))


def test_every_door_has_the_recalibrated_distribution(tmp_path):
    x, y = RNG.normal(size=(150, 2)), 4 + 8 * RNG.normal(size=(2, 150))
    plain = predictor_of()
    predictor = mdn.recalibrate(plain, x, y[0])
    before, after = (mdn.evaluate(model, x, y[1]) for model in (plain, predictor))
    assert after.nll < before.nll - 0.5
    assert after.crps[0] < before.crps[0]
    assert abs(after.coverage[0][1] - 0.8) < abs(before.coverage[0][1] - 0.8)
    np.testing.assert_allclose(after.nll, -np.mean(predictor.log_prob(x, y[1])), rtol=1e-4)
    ends = predictor.intervals(x, [0.8])[:, 0, :, 0]
    np.testing.assert_allclose(ends, predictor.quantiles(x, [0.1, 0.9])[..., 0], rtol=1e-5)
    drawn = predictor.sample(jax.random.key(0), x, 2000)[..., 0]
    np.testing.assert_allclose(drawn.mean(), predictor.mean(x).mean(), atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=1), predictor.sd(x)[:, 0], rtol=0.15)
    mdn.save(tmp_path / "m.safetensors", predictor)
    loaded = mdn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.quantiles(x, [0.1, 0.9])[..., 0], predictor.quantiles(x, [0.1, 0.9])[..., 0])
    with jax.enable_x64(True):
        program = jax.export.deserialize(bytearray(mdn.export_model(predictor, quantiles=(0.1, 0.9))))
        exported = program.call(x)
    np.testing.assert_allclose(exported["quantiles"], ends, rtol=1e-4)
    np.testing.assert_allclose(exported["sd"], predictor.sd(x), rtol=1e-3)
    scores = mdn.conformal(predictor, x, y[1])
    np.testing.assert_array_equal(scores.density, mdn.conformal(plain, x, y[1]).density)  # guarantees are those before the map
    assert predictor.recalibration is not None
    wrong = predictor.recalibration._replace(scale=-predictor.recalibration.scale)
    mdn.save(tmp_path / "wrong.safetensors", replace(predictor, recalibration=wrong))
    with pytest.raises(ValueError, match="recalibration: got components without positive weights"):
        mdn.load(tmp_path / "wrong.safetensors")


def test_what_cannot_be_recalibrated_is_refused():
    x = RNG.normal(size=(30, 2))
    with pytest.raises(ValueError, match="recalibrate: got 2 targets, expected one"):
        mdn.recalibrate(predictor_of(2), x, RNG.normal(size=(30, 2)))
    with pytest.raises(ValueError, match="recalibrate: got components of Student's t"):
        mdn.recalibrate(predictor_of(family="student_t"), x, RNG.normal(size=30))


def test_a_table_of_whole_numbers_is_refused_before_training(tmp_path):
    x = RNG.normal(size=(160, 2))
    path = tmp_path / "t.csv"
    pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "n": np.rint(x[:, 1])}).to_csv(path)
    table = [f"data.path={path}", "data.target=n", f"output={tmp_path / 'run'}", "data.recalibrate=true"]
    assert_one_line_error(run("tabular", *table), "expected a share of the rows")
    done = run("tabular", *table, "data.calibration_share=0.3")
    assert_one_line_error(done, "data.recalibrate: got a target with a lattice of values", "data.lattice=false")


def test_predictions_of_a_file_are_recalibrated(tmp_path):
    predictor = replace(predictor_of(), recalibration=MAP)
    x = RNG.normal(size=(150, 2))
    rows, y = {"x0": x[:, 0], "x1": x[:, 1]}, RNG.normal(size=150)
    model, path = tmp_path / "m.safetensors", tmp_path / "t.csv"
    mdn.save(model, predictor)
    pandas.DataFrame({**rows, "y": y}).to_csv(path)
    output = [f"output={tmp_path / 'p.csv'}", "quantiles=[0.1]", "density_at=y"]
    assert_one_line_error(run("predict", model, path, "regions=[0.9]", *output), "expected guarantee=true")
    process = run("predict", model, path, "modes=1", *output)
    assert process.returncode == 0, process.stderr
    assert "note: modes are those of the mixtures before recalibration" in process.stdout
    written = pandas.read_csv(tmp_path / "p.csv")
    found = {"mean": predictor.mean(rows), "sd": predictor.sd(rows), "quantile_0.1": predictor.quantiles(rows, [0.1])[:, 0]}
    for name, values in found.items():
        np.testing.assert_allclose(written[name], values[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(written["log_density"], predictor.log_prob(rows, y), rtol=1e-3, atol=1e-3)


def test_the_command_shows_scores_before_and_after(tmp_path):
    process = run("recalibration", "num_draws=2", "num_rows=[100]", f"output={tmp_path / 'r'}")
    assert process.returncode == 0, process.stderr
    table: Any = pandas.read_csv(tmp_path / "r" / "recalibration.csv").set_index("prediction")
    narrow = table.loc["half as wide"]
    assert narrow["map used"] == "100 %"
    assert narrow["NLL after"] < narrow["NLL before"] - 0.2
    assert table.loc["right", "NLL after"] == pytest.approx(table.loc["right", "NLL before"], abs=0.05)
