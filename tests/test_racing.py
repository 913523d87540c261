"""Settings that are far behind others end early: the rule on made-up curves, the same decisions in threads, and a whole fit."""

import threading

import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.training.racing import MARGIN, Race

STEPS = np.arange(25, 1001, 25)


def race_of(curves, num_tasks=1):
    """Runs a race of trainings with these best scores, one for each setting, and returns the steps at which they end."""
    num = len(curves) // num_tasks
    race = Race(np.repeat(np.arange(num_tasks), num), np.tile(np.arange(num), num_tasks), 1000, 25)
    ended = np.full(len(curves), 1000)
    for step in STEPS:
        best = np.array([curve(min(step, end)) for curve, end in zip(curves, ended, strict=True)])
        continuing = race.continuing(range(len(curves)), int(step), best)
        ended = np.where(~continuing & (ended == 1000), step, ended)
    return ended


def falling(start, per_doubling):
    return lambda step: start - per_doubling * np.log2(step / 25)


def test_a_setting_ends_if_it_cannot_come_near_the_best_one():
    flat, far, slow = falling(1.0, 0.0), falling(2.0, 0.0), falling(1.0 + MARGIN / 2, 0.0)
    assert race_of([flat, far, slow]).tolist() == [1000, 100, 1000]  # at a tenth of the steps


def test_a_setting_that_falls_fast_goes_on_although_it_is_behind():
    # At the end it would be 1.3; if it fell three times as fast, it would be below 1, until the last doubling of the steps.
    assert race_of([falling(1.0, 0.0), falling(4.0, 0.5)])[1] > 500
    late = race_of([falling(1.0, 0.0), lambda step: 3.0 - 0.5 * np.log2(min(step, 200) / 25)])[1]
    assert 200 < late < 1000


def test_tasks_have_races_of_their_own():
    curves = [falling(1.0, 0.0), falling(2.0, 0.0), falling(5.0, 0.0), falling(4.0, 0.0)]
    assert race_of(curves, num_tasks=2).tolist() == [1000, 100, 100, 1000]


def test_scores_that_are_not_finite_end_a_setting_and_no_other():
    assert race_of([falling(1.0, 0.0), lambda _: np.inf, lambda _: np.inf]).tolist() == [1000, 100, 100]
    assert race_of([lambda _: np.inf, lambda _: np.inf]).tolist() == [1000, 1000]


def test_threads_wait_for_each_other_and_decide_alike():
    curves = [falling(1.0, 0.0), falling(2.0, 0.0), falling(3.0, 0.5), falling(1.02, 0.0)]
    race, found = Race(np.zeros(4, int), np.arange(4), 1000, 25), {}

    def run(part, delay):
        for step in STEPS:
            delay.wait(0.001)
            best = np.array([curves[i](step) for i in part])
            continuing = race.continuing(part, int(step), best)
            found.update({(i, int(step)): bool(goes_on) for i, goes_on in zip(part, continuing, strict=True)})

    event = threading.Event()
    threads = [threading.Thread(target=run, args=(part, event)) for part in ((0, 2), (1, 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = race_of(curves)
    first = {i: min([step for (j, step), goes_on in found.items() if j == i and not goes_on], default=1000) for i in range(4)}
    assert [first[i] for i in range(4)] == expected.tolist()


def test_a_part_that_has_ended_or_failed_lets_the_others_go_on():
    race = Race(np.zeros(2, int), np.arange(2), 1000, 25)
    race.end((0,), 25, np.array([1.0]))
    assert [bool(race.continuing((1,), int(step), np.array([9.0]))[0]) for step in (50, 75, 100)] == [True, True, False]
    race = Race(np.zeros(2, int), np.arange(2), 1000, 25)
    race.stop()
    assert race.continuing((1,), 100, np.array([9.0])).all()


@pytest.mark.parametrize("num_steps", [1, 3])
def test_few_steps_have_no_race(num_steps):
    race = Race(np.zeros(2, int), np.arange(2), num_steps, 25)
    assert race.steps == []


def test_a_fit_takes_fewer_steps_and_keeps_its_weights():
    x = np.linspace(-2, 2, 120)
    y = np.sin(3 * x) + 0.05 * np.random.default_rng(0).standard_normal(120)
    noise = [{"train.x_noise": 0.01}, {"train.x_noise": 3.0}]
    settings = {"selection.settings": noise, "ensemble.num_members": 1, "train.num_steps": 400, "train.report_every": 10}
    settings |= {"model.hidden_sizes": [16], "model.num_components": 2, "model.experts": [], "selection.least_squares": False}
    steps, weights = [], []
    for racing in (False, True):
        config = mdn.fit_examples.make_config({**settings, "train.patience": None, "selection.racing": racing}, "test")
        rows, columns = mdn.data.examples.examples_of_arrays(x, y)
        fitted = mdn.fit_examples.fit_rows(config, rows, columns)
        steps.append(fitted.population.state.step.tolist())
        weights.append(fitted.selected.setting_weights[0])
    assert steps[0] == [400, 400]
    assert steps[1][0] == 400
    assert steps[1][1] < 100
    np.testing.assert_allclose(weights[0], weights[1], atol=0.02)
