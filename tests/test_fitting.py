"""Fits of arrays and tables in one call, the selected number of components, resumed training, and errors."""

import jax
import numpy as np
import optax
import pandas
import pytest

import mdnjax as mdn
from mdnjax.data import Dataset
from mdnjax.fit_examples import make_config
from mdnjax.fitting import choose_num_components, fit_networks

SMALL = {
    "train.num_steps": 40,
    "train.report_every": 20,
    "model.hidden_sizes": [8],
    "model.num_components": 2,
    "ensemble.num_members": 1,
}
SMALL |= {"selection.settings": [], "train.x_noise": 0, "model.experts": [], "model.embedding": "none"}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 2))
Y = X[:, 0] + 0.1 * RNG.normal(size=80)


def test_arrays_and_tables_give_the_same_predictor():
    reports = []
    predictor = mdn.fit(X, Y, settings=SMALL, observe=lambda *report: reports.append(report))
    assert [step for step, *_ in reports] == [20, 40]
    table = pandas.DataFrame(X, columns=["a", "b"])
    others = [mdn.fit(table.assign(y=Y), "y", settings=SMALL), mdn.fit({"a": X[:, 0], "b": X[:, 1]}, Y, settings=SMALL)]
    for other in others:
        np.testing.assert_array_equal(other.mean(table), predictor.mean(X))
    assert others[0].columns.targets == ("y",)
    assert np.sqrt(np.mean((predictor.mean(X)[:, 0] - Y) ** 2)) < 0.5
    assert repr(predictor) == "Predictor(y0 from x0, x1; 1 networks of 2 diagonal components)"


def test_columns_that_are_left_out_are_a_warning():
    table = {"a": X[:, 0], "one": np.ones(80), "kind": np.array(["u", "v"] * 40), "y": Y}
    with pytest.warns(UserWarning, match="column 'one' is left out: it is 1 in every row"):
        predictor = mdn.fit(table, "y", settings=SMALL)
    assert [column.name for column in predictor.columns.inputs] == ["a", "kind"]
    evaluation = mdn.evaluate(predictor, table, Y)
    assert evaluation.nll == pytest.approx(-np.mean(predictor.log_prob(table, Y[:, None])), abs=1e-5)
    assert evaluation.rmse[0] == pytest.approx(np.sqrt(np.mean((predictor.mean(table)[:, 0] - Y) ** 2)), rel=1e-5)


def test_the_number_of_components_can_be_selected_automatically():
    settings = {**SMALL, "model.num_components": "auto", "selection.num_components": [1, 2]}
    assert mdn.fit(X, Y, settings=settings).model.num_components in (1, 2)
    regressor = mdn.MDNRegressor(num_components="auto", random_state=0, num_steps=40, num_members=1, hidden_sizes=(8,))
    regressor.settings = {
        key: value for key, value in settings.items() if not key.startswith(("model.num", "model.hid", "ensemble", "train.num"))
    }
    assert regressor.fit(X, Y).predictor_.model.num_components in (1, 2)


def test_candidates_are_scored_on_the_validation_rows():
    config = make_config({**SMALL, "selection.num_components": [1, 2]}, "a test")
    train, validation = Dataset(X[:60], Y[:60, None]), Dataset(X[60:], Y[60:, None])
    observed = []
    found = choose_num_components(config, train, validation, observe=observed.append)
    assert observed == [1, 2] == list(found.numbers)
    fitted = fit_networks(config, train, validation)
    assert found.validation_nll[1] == pytest.approx(float(np.mean(fitted.predictor.nll(validation))), rel=1e-6)
    assert fitted.selected.validation_nll[0] == pytest.approx(float(np.mean(fitted.predictor.nll(validation))), rel=1e-5)
    assert fitted.leading.history.validation_scores[-1] >= fitted.selected.validation_nll[0] - 1e-6
    assert not fitted.diverged


WRONG_ARGUMENTS = {
    "got 80 rows of x and 79 of y": (X, Y[1:], {}),
    "x: got values that are not numbers": (np.array([["a", "b"]] * 80), Y, {}),
    "x: got nan in row 3, column 2": (np.where(np.arange(160).reshape(80, 2) == 5, np.nan, X), Y, {}),
    "y: got dates or times, expected numbers": (X, np.arange(80).astype("datetime64[s]"), {}),
    "expected at least 5": (X[:4], Y[:4], {}),
    "got column 'z', expected one of 'a'": ({"a": X[:, 0]}, "z", {}),
    "did you mean 'train.x_noise'|x_nois": (X, Y, {"train.x_nois": 1}),
}


@pytest.mark.parametrize("expected", WRONG_ARGUMENTS)
def test_wrong_arguments_are_an_error_before_training(expected):
    x, y, settings = WRONG_ARGUMENTS[expected]
    with pytest.raises(ValueError, match=expected):
        mdn.fit(x, y, settings={**SMALL, **settings})
    if "dates" in expected:
        with pytest.raises(ValueError, match=expected):
            mdn.MDNRegressor().fit(x, y)


def test_a_finished_state_cannot_be_trained_further():
    state = mdn.init_state(optax.sgd(0.1), {"w": jax.numpy.zeros(())})
    step = lambda state, _: (state._replace(step=state.step + 1), state.params["w"])  # noqa: E731
    half = mdn.train_loop(step, state, (None,), num_steps=10, report_every=5).state
    with pytest.raises(ValueError, match="got 10 for a state that has taken 10 steps"):
        mdn.train_loop(step, half, (None,), num_steps=10, report_every=5)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    # The rate of the recommended schedule depends on the number of steps, and the best state may be the first one.
    several = {**SMALL, "ensemble.num_members": 3, "train.optimizer.schedule": "constant_schedule", "train.keep": "last"}
    path = tmp_path / "run.training"
    straight = mdn.fit(X, Y, settings=several)
    mdn.fit(X, Y, settings={**several, "train.num_steps": 20}, training_file=path)
    steps = []
    resumed = mdn.fit(X, Y, settings=several, training_file=path, observe=lambda step, *_: steps.append(step))
    assert steps == [40]
    np.testing.assert_array_equal(resumed.mean(X), straight.mean(X))
    with pytest.raises(ValueError, match="got 40 for trainings that have taken 40 steps, expected more"):
        mdn.fit(X, Y, settings=several, training_file=path)
    for x, settings in ((X + 1, several), (X, {**several, "model.scale_floor": 0.5})):
        with pytest.raises(ValueError, match=r"got a training with other (examples|model); choose another file"):
            mdn.fit(x, Y, settings={**settings, "train.num_steps": 60}, training_file=path)
    (tmp_path / "damaged").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot read"):
        mdn.fit(X, Y, settings={**several, "train.num_steps": 60}, training_file=tmp_path / "damaged")


def test_finished_trainings_are_unchanged_and_the_history_is_complete():
    config = make_config({**SMALL, "ensemble.num_members": 3, "train.patience": 1, "train.num_steps": 60}, "a test")
    train, validation = Dataset(X[:60], Y[:60, None]), Dataset(X[60:], Y[60:, None])
    first = fit_networks(config, train, validation)
    last_steps = np.asarray(first.population.state.step)
    longer = config.model_copy(update={"train": config.train.model_copy(update={"num_steps": 100, "patience": None})})
    if last_steps.max() < 60:
        pytest.skip("all trainings stopped early")
    second = fit_networks(longer, train, validation, start=first.population)
    after = np.asarray(second.population.state.step)
    np.testing.assert_array_equal(after, np.where(last_steps == 60, 100, last_steps))
    loss = second.population.history.loss
    np.testing.assert_array_equal(loss[:, : first.population.history.loss.shape[1]], first.population.history.loss)
    assert np.isfinite(loss[last_steps == 60]).all()
    assert np.isnan(loss[last_steps < 60][:, 60:]).all()
    assert second.population.history.report_steps.tolist() == [20, 40, 60, 80, 100]


MASKED = np.ma.array(Y, mask=Y > 1)
WRONG_DATA = {
    "y: got nan in row": (X, MASKED),
    "x: got nan in row": (np.ma.array(X, mask=X > 1), Y),
    "y: got complex numbers": (X, Y + 1j),
    "y: target 0 is 1 in every row": (X, np.ones(80)),
    "columns of different lengths": ({"a": Y, "b": Y[:3]}, Y),
    "columns of different lengths, expected the same number of rows: 80 of 'a', 160": ({"a": Y}, np.append(Y, Y)),
    "got target 'a' twice": ({"a": Y, "b": Y**2}, ["a", "a"]),
    "two columns of the same name": ({1: Y, "1": Y**2}, Y),
    "got a value of type dict": ({"a": Y, "b": [{"z": 1}] * 80}, Y),
    "got no rows": ({"a": Y[:0]}, "a"),
    "at least one column": (X[:, :0], Y),
}


@pytest.mark.parametrize("expected", WRONG_DATA)
def test_wrong_data_are_an_error(expected):
    x, y = WRONG_DATA[expected]
    with pytest.raises(ValueError, match=expected):
        mdn.fit(x, y, settings=SMALL)


def test_names_of_targets_do_not_clash_and_numbers_may_be_numpys(tmp_path):
    settings = {**SMALL, "train.num_steps": np.int64(20)}
    predictor = mdn.fit({"y0": X[:, 0], "b": X[:, 1]}, Y, settings=settings, seed=int(np.int64(3)))
    assert predictor.columns.targets == ("y_0",)
    mdn.save(tmp_path / "m.safetensors", predictor)
    np.testing.assert_array_equal(mdn.load(tmp_path / "m.safetensors").mean({"y0": X[:, 0], "b": X[:, 1]}), predictor.mean(X))
    for y in (np.zeros((1, 1)), np.zeros((80, 2)), Y[:2]):
        with pytest.raises(ValueError, match=r"y: got shape .*, expected \[80, 1\], as many rows as x has|y: got shape"):
            predictor.log_prob(X, y)
    with pytest.raises(ValueError, match="levels: got"):
        predictor.intervals(X, [90])
