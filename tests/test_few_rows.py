"""The command that compares fits to few rows with least squares."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from experiments.few_rows import LAWS, scores_of
from tests.commands import assert_one_line_error, run
from tests.test_least_squares import SETTINGS


def test_the_command_writes_its_table(tmp_path, monkeypatch):
    fit = mdn.fit
    monkeypatch.setattr("mdnjax.fit", lambda x, y, seed: fit(x, y, seed=seed, settings=SETTINGS))  # with few small networks
    done = run("few_rows", "problems=[line]", "num_rows=[8]", "num_sets=2", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    ((law, rows, nll, constant, linear, above, inside, _),) = list(
        csv.reader((tmp_path / "out" / "few_rows.csv").read_text().splitlines())
    )[1:]
    assert (law, rows) == ("line", "8")
    assert float(above) == pytest.approx(float(nll) - min(float(constant), float(linear)), abs=2e-3)
    assert float(linear) < float(constant)
    assert float(above) < 0.5
    assert float(inside.removesuffix(" %")) > 75
    assert "| line | 8 |" in done.stdout


class StandardNormal:
    """A predictor of a standard normal for every row."""

    def log_prob(self, x, y):
        return -0.5 * y[:, 0] ** 2 - 0.5 * np.log(2 * np.pi)

    def __call__(self, x):
        return mdn.Mixture(jnp.zeros((len(x), 1)), mdn.Diagonal(jnp.zeros((len(x), 1, 1)), jnp.ones((len(x), 1, 1))))


def test_least_squares_without_a_degree_left_has_no_scores(monkeypatch):
    monkeypatch.setattr("mdnjax.fit", lambda x, y, seed: StandardNormal())
    scores = scores_of(LAWS["weak line of five"], 5, 0)
    assert np.isnan(scores).tolist() == [False, False, True, False, True]
    assert scores[3] == pytest.approx(0.9, abs=0.05)


def test_too_few_rows_are_refused(tmp_path):
    assert_one_line_error(run("few_rows", "num_rows=[4]", f"output={tmp_path / 'out'}"), "num_rows", "5")
