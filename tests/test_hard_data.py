"""Training on difficult data gives a finite, plausible mixture with every optimiser."""

import jax
import numpy as np
import pytest

from mdnjax.config import Config, load
from mdnjax.data import Dataset, Splits, make_scaler, to_training_units
from mdnjax.data.dataset import joined
from mdnjax.data.notes import notes_on, outliers
from mdnjax.ensemble import Networks
from mdnjax.predictor import make_predictor
from mdnjax.training import functions
from mdnjax.training.train import train_one

OPTIMIZERS = {
    "adam": ["train.optimizer.clip_norm=1.0"],
    "lbfgs": ["train.optimizer.name=lbfgs", "train.x_noise=0"],
}


def plain_data(num=50):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((num, 2))
    return Dataset(x.astype(np.float32), (x[:, :1] + 0.3 * generator.standard_normal((num, 1))).astype(np.float32))


def difficult_data(name):
    x, y, _ = plain_data()
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
    many = Splits(plain, plain, joined(*[plain] * 5))
    assert list(notes_on(many)) == []
    (few,) = notes_on(Splits(plain_data(30), plain_data(10), many.test))
    assert few.startswith("40 rows for 2 inputs are few")
    (tests,) = notes_on(Splits(plain, plain, plain_data(4)))
    assert tests.startswith("4 test rows are few: the share of them inside of an interval is known to about 25 percentage points")
    y = np.where(np.arange(len(plain.y))[:, None] % 2 == 0, 0.0, plain.y)
    (atom,) = notes_on(Splits(Dataset(plain.x, y), Dataset(plain.x, y), many.test), ["size", "b", "rain"])
    assert atom.startswith("target 'rain' is 0 in 50 % of the rows")
    x = plain.x.copy()
    x[2:, 0] = 7.0
    validation = Dataset(np.where([True, False], np.float32(7.0), plain.x), plain.y)
    (constant,) = notes_on(Splits(Dataset(x, plain.y), validation, many.test), ["size", "b", "rain"])
    assert constant.startswith("input 'size' is 7 in all but 2 of")


def test_an_outlier_is_noted_with_its_row():
    assert list(outliers(plain_data())) == []
    assert list(outliers(difficult_data("constant column"))) == []
    assert list(outliers(difficult_data("repeated targets"))) == []
    (target,) = outliers(difficult_data("outlier"))
    assert "target 0 is 1e+08 in row 8" in target
    (column,) = outliers(difficult_data("outlying input"))
    assert "input 0 is 1e+08 in row 8" in column
