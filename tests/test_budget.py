"""A limit of time for a fit: rates by the time that is used, and trainings that end when it is used."""

import time
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.training.budget import RATE, Budget
from mdnjax.training.functions import TrainingInputs
from tests.commands import run

SETTINGS = {"model.hidden_sizes": [4], "model.num_components": 2, "model.experts": [], "model.embedding": "none"}
SETTINGS |= {"train.num_steps": 10**6, "train.report_every": 20, "train.patience": None, "ensemble.num_members": 2}


def budget_at(share, seconds=100.0):
    """A budget of which this share of the time for training, which began 20 seconds after the start, is used now."""
    budget = Budget(seconds)
    left = budget.deadline - budget.start
    budget.deadline = time.monotonic() + (1 - share) * (left - 20)
    return budget, budget.deadline - (left - 20)


@pytest.mark.parametrize(
    ("share_of_time", "share_of_steps", "used"), [(0.0, 0.0, 0.0), (0.5, 0.1, 0.5), (0.1, 0.8, 0.8), (2.0, 0.1, 1.0)]
)
def test_rates_fall_as_a_cosine_of_the_share_that_is_used(share_of_time, share_of_steps, used):
    budget, begin = budget_at(share_of_time)
    train: Any = {RATE: jnp.array([0.02, 0.01]), "x_noise": jnp.ones(2)}
    inputs: Any = TrainingInputs({"model": {}, "train": train}, None, None, None)  # pyright: ignore
    (changed,) = budget.with_rates((inputs,), np.array([0.02, 0.01], np.float32), share_of_steps, begin)
    expected = 0.5 * (1 + np.cos(np.pi * used))
    np.testing.assert_allclose(changed.numbers["train"][RATE], np.array([0.02, 0.01]) * expected, rtol=1e-3, atol=1e-7)
    assert changed.numbers["train"]["x_noise"] is train["x_noise"]
    assert budget.is_used() == (share_of_time >= 1)


def test_the_last_step_follows_from_the_speed():
    budget, begin = budget_at(0.25)
    assert budget.last_step(100, 10_000, begin) == pytest.approx(400, rel=0.02)
    assert budget.last_step(100, 300, begin) == 300


def test_a_fit_ends_when_its_budget_is_used():
    x = np.linspace(-1, 1, 60)
    seen = []
    observe = lambda step, loss, score: seen.append(step)  # noqa: E731
    predictor = mdn.fit(x, np.sin(3 * x), settings={**SETTINGS, "budget": 0.01}, observe=observe)
    assert seen == [20]  # at least the steps before the first report
    assert np.isfinite(predictor.log_prob(x, np.sin(3 * x))).all()
    with pytest.raises(ValueError, match="budget: got 0"):
        mdn.fit(x, np.sin(3 * x), settings={"budget": 0})


def test_a_benchmark_of_many_splits_has_no_budget(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "\n".join(f"{i},{i % 7}" for i in range(60)))
    process = run("uci", f"data.path={tmp_path / 't.csv'}", "data.target=y", "budget=5", f"output={tmp_path / 'out'}")
    assert process.returncode == 2
    assert process.stderr.strip() == "error: budget: got 5, expected null: the splits of a benchmark are trained together"
