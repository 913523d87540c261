"""Training on difficult data gives a finite, plausible mixture with every optimiser."""

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.config import Config, load
from mdnjax.data import Dataset, Splits, make_scaler, to_training_units
from mdnjax.data.centre import centre_of, wild_values, without_wild_values
from mdnjax.data.notes import codes, copied_rows, notes_on, outliers
from mdnjax.ensemble import Networks
from mdnjax.predictor import make_predictor
from mdnjax.training import functions
from mdnjax.training.train import train_one

OPTIMIZERS = {
    "adam": ["train.optimizer.clip_norm=1.0"],
    "lbfgs": ["train.optimizer.name=lbfgs", "train.x_noise=0"],
}


def plain_data(num=50, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((num, 2))
    return Dataset(x.astype(np.float32), (x[:, :1] + 0.3 * generator.standard_normal((num, 1))).astype(np.float32))


def difficult_data(name):
    x, y = plain_data()[:2]
    if name == "outlier":
        y[7] = 1e8
    if name == "outlying input":
        x[7, 0] = 1e8
    changes = {
        "repeated targets": (x, np.round(y)),
        "one target": (x, 0 * y + 3),
        "constant column": (x * np.array([1, 0], np.float32), y),
        "duplicate column": (x[:, [0, 0]], y),
        "offsets": (x + np.float32(1e6), y - np.float32(1e6)),
        "tiny": (x * np.float32(1e-20), y * np.float32(1e-20)),
        "huge": (x * np.float32(1e15), y * np.float32(1e15)),
    }
    return Dataset(*changes.get(name, (x, y)))


NAMES = ["plain", "outlier", "outlying input", "repeated targets", "one target", "constant column", "duplicate column"]
NAMES += ["offsets", "tiny", "huge"]


def train(data, *words):
    """Trains a network on data that are also its validation rows."""
    config = load(Config, None, ["train.num_steps=60", "model.num_components=4", "train.init.name=data", *words])
    scaler = make_scaler(data, True)
    scaled = to_training_units(scaler, data)
    model, shape, numbers = functions.split_sections(config.model, config.train)
    inputs = functions.make_training_inputs(numbers, jax.random.key(0), scaled, scaled)
    fitted = train_one(functions.make_training_functions(model, shape, 2, 1), config.train, inputs)
    params = jax.tree.map(lambda leaf: leaf[None], fitted.state.params)
    return fitted, make_predictor(config.model, Networks(params), scaler)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_gives_a_plausible_mixture(name, optimizer):
    data = difficult_data(name)
    fitted, predictor = train(data, *OPTIMIZERS[optimizer])
    assert not fitted.diverged
    assert np.isfinite(fitted.history.loss).all()
    assert fitted.history.loss[-1] <= fitted.history.loss[0] + 1e-3
    assert np.isfinite(predictor.nll(data)).all()
    low, high = float(data.y.min()), float(data.y.max())
    margin = 2 * (high - low) + 1e-2 * abs(high)
    mean = predictor.mean(data.x)
    assert ((mean >= low - margin) & (mean <= high + margin)).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_points_are_enough_to_train(optimizer):
    fitted, predictor = train(plain_data(5), *OPTIMIZERS[optimizer])
    assert not fitted.diverged
    assert np.isfinite(predictor.nll(plain_data(5))).all()


def test_what_makes_scores_less_trustworthy_is_noted():
    plain = plain_data()
    many = Splits(plain, plain_data(50, seed=1), plain_data(250, seed=2))
    assert list(notes_on(many)) == []
    (few,) = notes_on(Splits(plain_data(30), plain_data(10, seed=1), many.test))
    assert few.startswith("40 rows for 2 inputs are few")
    (tests,) = notes_on(Splits(plain, many.validation, plain_data(4, seed=2)))
    assert tests.startswith("4 test rows are few: the share of them inside of an interval is known to about 25 percentage points")
    y = np.where(np.arange(len(plain.y))[:, None] % 2 == 0, 0.0, plain.y)
    (atom,) = notes_on(Splits(Dataset(plain.x, y), Dataset(many.validation.x, y), many.test), ["size", "b", "rain"])
    assert atom.startswith("target 'rain' is 0 in 50 % of the rows")
    x = plain.x.copy()
    x[2:, 0] = 7.0
    validation = Dataset(np.where([True, False], np.float32(7.0), plain.x), plain.y)
    (constant,) = notes_on(Splits(Dataset(x, plain.y), validation, many.test), ["size", "b", "rain"])
    assert constant.startswith("input 'size' is 7 in all but 2 of")


def test_what_has_no_gap_is_not_wild():
    """Heavy tails, indicators, rounded numbers and what is as frequent as one row in fifty keep their mean and sd."""
    generator = np.random.default_rng(0)
    frequent = np.where(np.arange(400) % 40 == 0, 1e6, generator.standard_normal(400))
    columns = [generator.standard_t(2, 400), np.exp(2 * generator.standard_normal(400)), generator.integers(0, 3, 400)]
    values = np.column_stack([*columns, np.arange(400) == 3, 7 * np.ones(400), frequent, generator.poisson(0.1, 400)])
    assert not wild_values(values).any()
    mean, sd, low, high = centre_of(values, 1.0)
    np.testing.assert_allclose([mean, sd], [values.mean(axis=0), np.where(values.std(axis=0) > 0, values.std(axis=0), 1)])
    np.testing.assert_array_equal([low, high], [values.min(axis=0), values.max(axis=0)])
    assert not wild_values(np.array([[0.0], [1], [2], [1e9]])).any()  # too few rows to call one wild


@pytest.mark.parametrize("value", [1e3, -1e300])
def test_units_are_those_without_the_wild_values(value):
    tame = np.random.default_rng(0).standard_normal((150, 2))
    values = np.insert(tame, [10, 70], [value, 0.0], axis=0)
    wild = wild_values(values)
    assert np.flatnonzero(wild.any(axis=1)).tolist() == [10, 71]
    assert not wild[:, 1].any()
    weight = np.arange(152.0)
    for found, known in ((centre_of(values, 1.0), centre_of(tame, 1.0)), (centre_of(values, 1.0, weight), None)):
        known = known or centre_of(np.delete(values, [10, 71], axis=0), 1.0, np.delete(weight, [10, 71]))
        np.testing.assert_allclose([part[0] for part in found], [part[0] for part in known], rtol=1e-12)
    limited = without_wild_values(values, wild)
    np.testing.assert_array_equal(limited[[10, 71], 0], [tame[:, 0].max() if value > 0 else tame[:, 0].min()] * 2)
    np.testing.assert_array_equal(np.delete(limited, [10, 71], axis=0), tame)


WILD_SETTINGS = {"selection.settings": [], "ensemble.num_members": 1, "train.num_steps": 400, "train.report_every": 50}
WILD_SETTINGS |= {"model.hidden_sizes": [16], "model.num_components": 3, "model.experts": []}


def test_one_wild_value_changes_no_other_row_by_much(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1150, 2))
    y = x[:, 0] + 0.5 * np.sin(2 * x[:, 1]) + 0.3 * generator.normal(size=1150)
    rows, new = slice(150), slice(150, None)

    def fitted(x, y):
        predictor = mdn.fit(x[rows], y[rows], settings=WILD_SETTINGS, seed=1)
        low, high = predictor.intervals(x[new], [0.9])[:, 0, :, 0].T
        return predictor, np.array([np.median(high - low), np.sqrt(np.mean((predictor.mean(x[new])[:, 0] - y[new]) ** 2))])

    _, plain = fitted(x, y)
    wild_x, wild_y = x.copy(), y.copy()
    wild_x[7, 1], wild_y[7] = 1e9, 1e6
    with pytest.warns(UserWarning, match=r"in row 7 \(from 0\)"):
        (of_x, found_x), (_, found_y) = fitted(wild_x, y), fitted(x, wild_y)
    np.testing.assert_allclose(found_x / plain, 1, atol=0.2)
    np.testing.assert_allclose(found_y / plain, 1, atol=0.2)
    mean, sd = of_x.mean(wild_x[7:8])[0, 0], of_x.sd(wild_x[7:8])[0, 0]
    assert abs(mean) < 6
    assert sd < 6
    mdn.save(tmp_path / "m.safetensors", of_x)
    assert mdn.load(tmp_path / "m.safetensors").mean(wild_x[7:8])[0, 0] == mean
    far = np.array([[0.3, 1e9], [0.3, 1e6], [0.3, -1e9]])
    np.testing.assert_array_equal(of_x.mean(far)[0], of_x.mean(far)[1])
    np.testing.assert_allclose(jax.jit(of_x)(far).logits, of_x(far).logits, rtol=1e-4, atol=1e-4)


def test_an_outlier_is_noted_with_its_row():
    assert list(outliers(plain_data())) == []
    assert list(outliers(difficult_data("constant column"))) == []
    assert list(outliers(difficult_data("repeated targets"))) == []
    (target,) = outliers(difficult_data("outlier"))
    assert "target 0 is 1e+08 in row 8" in target
    assert "no other value is near it, so that training counts it as one of the farthest others" in target
    x, y = plain_data()[:2]
    (both,) = outliers(Dataset(x, np.where(np.arange(50)[:, None] == 7, 1e6, np.where(np.arange(50)[:, None] == 9, 2e5, y))))
    assert "other values lie between, so that it counts as it is" in both
    (column,) = outliers(difficult_data("outlying input"))
    assert "input 0 is 1e+08 in row 8" in column
    (first,) = outliers(difficult_data("outlier"), first_row=0)
    assert "in row 7 (from 0)" in first


def test_copies_of_rows_are_noted_unless_they_are_equal_by_chance():
    plain, test = plain_data(), plain_data(seed=1)
    assert list(copied_rows(plain, test)) == []
    half = Dataset(*(np.concatenate([a[:10], b[:10]]) for a, b in zip(plain[:2], test[:2], strict=True)))
    (shared,) = copied_rows(plain, half)
    assert shared.startswith("10 of 20 test rows have an exact copy among the training rows")
    five = Dataset(*(np.tile(part, (5, 1)) for part in plain[:2]))
    (share,) = copied_rows(five, test)
    assert share.startswith("67 % of the rows are copies of other rows")  # 200 copies of 300 rows
    dice = np.random.default_rng(0).integers(1, 7, (300, 2)).astype(float)
    assert list(copied_rows(Dataset(dice[:200, :1], dice[:200, 1:]), Dataset(dice[200:, :1], dice[200:, 1:]))) == []


WHOLE = np.random.default_rng(0).integers(18, 91, 300)  # such as ages
MEASURED = np.random.default_rng(1).normal(30, 5, 300)
CODES = {
    "999": WHOLE,
    "-1": WHOLE,
    "0": WHOLE,
    "9999": MEASURED,
    "-999": MEASURED,
    "9": WHOLE % 3,
    "-99": WHOLE % 2,
    "99.9": MEASURED,
}


@pytest.mark.parametrize("code", CODES)
def test_an_extreme_value_that_repeats_far_from_all_others_may_be_a_code(code):
    values = np.where(np.arange(300) % 30 == 7, float(code), CODES[code])
    nothing = values[:, None][:, :0]
    (note,) = codes(Dataset(values[:, None], nothing), ["a"])
    assert note.startswith(f"input 'a' is {code} in 10 rows and from ")
    assert note.endswith(f"set data.missing_values=[{code}] and data.missing=impute")
    (target,) = codes(Dataset(nothing, values[:, None]), ["a"])
    assert target.startswith(f"target 'a' is {code}")
    assert "data.missing" not in target
    once = np.where(np.arange(300) == 7, float(code), CODES[code])
    assert list(codes(Dataset(once[:, None], nothing))) == []


COUNTS = np.random.default_rng(0).poisson(1.0, 300)
NO_CODES = {
    "zero or one": WHOLE % 2,
    "counts": COUNTS,
    "many zeros": np.where(WHOLE < 60, 0, COUNTS * 3),
    "a lattice": 10 * (WHOLE % 7),
    "a score from -1 to 8": WHOLE % 10 - 1,
    "a rounded measurement": np.round(MEASURED),
    "amounts, of which most are 0": np.where(WHOLE < 60, 0, np.exp(MEASURED / 10)) * (MEASURED > 25),
    "a limit that values are cut at": np.minimum(MEASURED, 33),
    "a heavy tail": np.exp(MEASURED - 30),
    "one city": np.where(WHOLE < 22, 7300, WHOLE),
}


@pytest.mark.parametrize("name", NO_CODES)
def test_an_ordinary_column_has_no_code(name):
    values = np.asarray(NO_CODES[name], np.float64)[:, None]
    assert list(codes(Dataset(values, values))) == []
