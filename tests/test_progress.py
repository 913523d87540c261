"""What one sees while waiting: the progress of trainings, and a word about whatever else takes long."""

import time

import numpy as np

import mdnjax as mdn
from mdnjax import progress
from mdnjax.ensemble import num_networks
from mdnjax.training.history import Report


def lines_of(reports, capsys, monkeypatch, num_steps=300):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_PLAIN_LINES", 0.0)
    monkeypatch.setattr(progress, "MAX_SILENT_SECONDS", 60.0)
    with progress.training_progress("mixture", num_steps) as observe:
        for report in reports:
            observe(report)
    return capsys.readouterr().err.splitlines()


def report(step, losses, scores, running, diverged=None):
    count = len(losses)
    diverged = np.zeros(count, bool) if diverged is None else np.array(diverged)
    return Report(step, np.array(losses), np.array(scores), diverged, np.array(running))


def test_networks_that_have_stopped_do_not_count_and_the_best_score_so_far_is_kept(capsys, monkeypatch):
    nan = np.nan
    reports = [
        report(100, [2.0, 3.0, 4.0], [1.5, 2.0, 2.5], [True] * 3),
        report(200, [1.0, 2.0, 3.0], [1.75, 9.0, 2.25], [False, False, True]),
        report(300, [nan, nan, 2.5], [1.75, 9.0, 2.0], [False] * 3),
    ]
    first, second, third = lines_of(reports, capsys, monkeypatch)
    assert first == "mixture: step 100/300  3 of 3 networks  best NLL 2"
    assert second.startswith("mixture: step 200/300  1 of 3 networks  up to ")
    assert " s left  best NLL 2  " in second
    assert second.endswith(" steps/s")
    assert third == "mixture: step 300/300  none of 3 networks  best NLL 2"


def test_a_single_network_shows_its_score_and_its_loss(capsys, monkeypatch):
    reports = [report(100 * i, [2.0], [1.0 + i % 2], [i < 3]) for i in (1, 2, 3)]
    first, second, third = lines_of(reports, capsys, monkeypatch)
    assert first == "mixture: step 100/300  validation NLL 2 (best 2)  loss 2"
    assert " s left  validation NLL 1 (best 1)  loss 2  " in second
    assert third == "mixture: step 300/300  validation NLL 2 (best 1)  loss 2"


def test_the_end_of_trainings_that_stopped_or_diverged_is_told(capsys, monkeypatch):
    stopped = report(200, [np.nan] * 2, [1.0, 2.0], [False] * 2)
    assert lines_of([stopped], capsys, monkeypatch) == ["mixture: step 200/300  none of 2 networks  best NLL 1.5"]
    diverged = report(200, [np.nan], [np.nan], [False], [True])
    assert lines_of([diverged], capsys, monkeypatch) == ["mixture: step 200/300  no finite loss"]


def test_a_line_that_is_wider_than_the_terminal_loses_whole_parts_from_its_end():
    text = f"fit: step 175/1000{progress.pace(75, 825, 1.0, 'steps', 'up to ', more='  best NLL 5.534')}"
    assert text == "fit: step 175/1000  up to 11 s left  best NLL 5.534  75 steps/s"
    assert progress.fitting(text, len(text)) == text
    assert progress.fitting(text, len(text) - 1) == "fit: step 175/1000  up to 11 s left  best NLL 5.534"
    assert progress.fitting(text, 40) == "fit: step 175/1000  up to 11 s left"
    assert progress.fitting(text, 5) == "fit: "


def test_the_innermost_activity_speaks_after_a_silence(capsys, monkeypatch):
    monkeypatch.setattr(progress, "MAX_SILENT_SECONDS", 0.1)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_PLAIN_LINES", 0.1)
    with progress.running("outer"):
        with progress.running("inner") as rename:
            time.sleep(0.4)
            rename("renamed")
            time.sleep(0.4)
        time.sleep(0.4)
    said = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert list(dict.fromkeys(said)) == ["inner", "renamed", "outer"]


def test_a_short_activity_says_nothing(capsys):
    with progress.running("short"):
        pass
    assert capsys.readouterr().err == ""


def test_the_estimator_shows_its_progress_and_keeps_the_curves(capsys):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 2))
    small = {"hidden_sizes": (5,), "num_members": 2, "num_steps": 50, "settings": {"train.report_every": 25, "model.experts": []}}
    regressor = mdn.MDNRegressor(random_state=0, verbose=1, **small).fit(x, x[:, 0])
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "step" in line][-1].startswith("MDNRegressor: step 50/50")
    loss, report_steps, scores = regressor.history_
    assert report_steps.tolist() == [25, 50]
    assert loss.shape[1] == 50
    assert len(loss) == len(scores) == num_networks(regressor.predictor_.networks)
    assert np.isfinite(loss[:, 0]).all()
    mdn.MDNRegressor(random_state=0, **small).fit(x, x[:, 0])
    assert capsys.readouterr().err == ""
